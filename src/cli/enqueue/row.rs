//! A line of the input: what its values mean. Pure.

use std::fmt;

use crate::clock::parse_seconds;
use crate::named_enum::named_enum;
use crate::queue::NewSubmission;
use crate::submission::{CertificateId, VerifyType};

named_enum! {
    /// A column of a table.
    pub(super) enum Column {
        /// The certificate's ID.
        CertificateId = "certificate_id",
        /// How its domain is validated.
        VerifyType = "verify_type",
        /// 0 to 3; higher goes first.
        Priority = "priority",
        /// Not before.
        DueAt = "due_at",
        /// The caller's key.
        Reference = "reference",
    }
}

/// Other names for the column of IDs, in lowercase and without separators.
const ID_HEADERS: [&str; 5] = ["certificateid", "certificateids", "certid", "certids", "id"];
/// Longer values are cut in messages.
const MAX_SHOWN: usize = 64;
/// The highest priority.
const HIGHEST_PRIORITY: u8 = 3;

/// A line, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number in the file, from 1. None: an argument.
    pub(super) number: Option<u64>,
    pub(super) entry: Entry,
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Submission(NewSubmission),
    Refused(Refusal),
    /// A column header in a list. It would pass for an ID.
    Header(String),
}

/// Why a line is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The column, if it is a table and the fault is in one.
    pub(super) column: Option<Column>,
    /// The value, as it is in the file.
    pub(super) value: String,
    /// The reason, with the value in it.
    pub(super) reason: String,
}

/// The values of a line that has none of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Defaults {
    pub(super) verify_type: Option<VerifyType>,
    pub(super) priority: u8,
    pub(super) due_at: Option<i64>,
    pub(super) reference: Option<String>,
}

impl Column {
    /// The column with this header; upper and lower case, and separators, don't matter.
    pub(super) fn of_header(header: &str) -> Option<Self> {
        let plain = plain(header);
        let is_same = |column: &Self| self::plain(column.as_str()) == plain;
        let id = ID_HEADERS.contains(&plain.as_str()).then_some(Self::CertificateId);
        id.or_else(|| Self::ALL.into_iter().find(is_same))
    }
}

fn plain(header: &str) -> String {
    header.chars().filter(|letter| !matches!(letter, '_' | '-' | ' ')).collect::<String>().to_ascii_lowercase()
}

impl Defaults {
    /// The submission with this ID.
    pub(super) fn submission(&self, certificate_id: CertificateId) -> NewSubmission {
        let Self { verify_type, priority, due_at, reference } = self.clone();
        NewSubmission { certificate_id, verify_type, priority, due_at, reference }
    }

    /// What a line of a list is, or an argument.
    pub(super) fn of_id(&self, text: &str) -> Entry {
        match text.parse() {
            Ok(id) => Entry::Submission(self.submission(id)),
            Err(error) => Entry::Refused(Refusal { column: None, value: text.to_owned(), reason: reason(&error) }),
        }
    }

    /// What a line of a table is. Blanks around the values don't count; an empty value is the default.
    pub(super) fn of_values<'a>(&self, values: impl Iterator<Item = (Column, &'a str)>) -> Entry {
        let (mut row, mut id) = (self.clone(), None);
        for (column, value) in values {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let accepted = match column {
                Column::CertificateId => value.parse().map(|parsed| id = Some(parsed)).map_err(|error| reason(&error)),
                Column::VerifyType => verify_type(value).map(|parsed| row.verify_type = Some(parsed)),
                Column::Priority => priority(value).map(|parsed| row.priority = parsed),
                Column::DueAt => due_at(value).map(|parsed| row.due_at = Some(parsed)),
                Column::Reference => {
                    row.reference = Some(value.to_owned());
                    Ok(())
                }
            };
            if let Err(reason) = accepted {
                return Entry::Refused(Refusal { column: Some(column), value: value.to_owned(), reason });
            }
        }
        match id {
            Some(id) => Entry::Submission(row.submission(id)),
            None => Entry::Refused(Refusal {
                column: Some(Column::CertificateId),
                value: String::new(),
                reason: "certificate_id is empty".to_owned(),
            }),
        }
    }
}

fn reason(error: &impl fmt::Display) -> String {
    error.to_string()
}

fn verify_type(value: &str) -> Result<VerifyType, String> {
    value.parse().map_err(|_| format!("verify_type {} is none of {}", shown(value), VerifyType::NAMES.join(", ")))
}

fn priority(value: &str) -> Result<u8, String> {
    let parsed = value.parse().ok().filter(|priority| *priority <= HIGHEST_PRIORITY);
    parsed.ok_or_else(|| format!("priority {} is no number from 0 to {HIGHEST_PRIORITY}", shown(value)))
}

fn due_at(value: &str) -> Result<i64, String> {
    parse_seconds(value).map_err(|_| {
        format!(
            "due_at {} is neither unix seconds nor a time with its zone, such as 2026-12-01T00:00:00Z",
            shown(value)
        )
    })
}

/// A value for a message: escaped, and shortened.
pub(super) fn shown(value: &str) -> String {
    format!("{:?}", value.chars().take(MAX_SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults { priority: 1, reference: Some("spring".to_owned()), ..Defaults::default() }
    }

    fn refused(values: &[(Column, &str)]) -> Refusal {
        match defaults().of_values(values.iter().copied()) {
            Entry::Refused(refusal) => refusal,
            entry @ (Entry::Submission(_) | Entry::Header(_)) => panic!("{entry:?}"),
        }
    }

    #[test]
    fn headers_are_recognized_in_any_spelling() {
        for (header, column) in [
            ("certificate_id", Some(Column::CertificateId)),
            ("Certificate ID", Some(Column::CertificateId)),
            ("CertId", Some(Column::CertificateId)),
            ("Verify-Type", Some(Column::VerifyType)),
            ("DUE AT", Some(Column::DueAt)),
            ("owner", None),
            ("", None),
        ] {
            assert_eq!(Column::of_header(header), column, "{header}");
        }
    }

    #[test]
    fn values_are_trimmed_and_empty_ones_are_the_defaults() {
        let values = [
            (Column::Reference, "  "),
            (Column::CertificateId, " abcb1234 "),
            (Column::VerifyType, "DNS"),
            (Column::Priority, ""),
            (Column::DueAt, "2026-12-01T00:00:00Z"),
        ];
        let expected = NewSubmission {
            certificate_id: "abcb1234".parse().unwrap(),
            verify_type: Some(VerifyType::Dns),
            priority: 1,
            due_at: Some(1_796_083_200),
            reference: Some("spring".to_owned()),
        };
        assert_eq!(defaults().of_values(values.into_iter()), Entry::Submission(expected));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_column_and_what_is_accepted() {
        let id = (Column::CertificateId, "abcb1234");
        for (values, reason) in [
            (
                vec![(Column::CertificateId, "a b")],
                "invalid certificate ID \"a b\": expected 1–64 characters of A-Z a-z 0-9 _ -",
            ),
            (
                vec![id, (Column::VerifyType, "dns")],
                "verify_type \"dns\" is none of DNS_AUTO, DNS, FILE, DNS_PROXY, FILE_PROXY",
            ),
            (vec![id, (Column::Priority, "4")], "priority \"4\" is no number from 0 to 3"),
            (
                vec![id, (Column::DueAt, "01.12.2026")],
                "due_at \"01.12.2026\" is neither unix seconds nor a time with its zone, such as 2026-12-01T00:00:00Z",
            ),
        ] {
            let refusal = refused(&values);
            assert_eq!(refusal.reason, reason);
            assert_eq!(
                (refusal.column, refusal.value.as_str()),
                values.last().map(|(column, value)| (Some(*column), *value)).unwrap()
            );
        }
        assert_eq!(refused(&[(Column::Reference, "spring")]).reason, "certificate_id is empty");
    }
}
