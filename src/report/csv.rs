//! A record for each certificate, as spreadsheets read it: UTF-8 with a byte order mark, CRLF.
//! <https://www.rfc-editor.org/rfc/rfc4180>.

use std::io::{self, Write};

use super::outcome::{Outcome, Sent, todo};
use crate::clock::UnixMillis;
use crate::queue::{Story, UntrustedText};

/// Without it, spreadsheets take the text for another encoding.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The columns. The first four are among those that `enqueue --file` reads.
const COLUMNS: [&str; 24] = [
    "certificate_id",
    "verify_type",
    "priority",
    "reference",
    "state",
    "outcome",
    "order_id",
    "status",
    "status_text",
    "current_status",
    "current_status_text",
    "current_status_at",
    "current_status_message",
    "error_code",
    "error_message",
    "reason",
    "to_do",
    "tries",
    "commits",
    "readbacks",
    "request_id",
    "enqueued_at",
    "changed_at",
    "decided_at",
];

/// Writes records.
pub struct CsvReport<W: Write>(csv::Writer<W>);

impl<W: Write> CsvReport<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(BYTE_ORDER_MARK)?;
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        writer.write_record(COLUMNS)?;
        Ok(Self(writer))
    }

    /// Writes a certificate.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&mut self, story: &Story) -> io::Result<()> {
        let (row, sent) = (&story.row, Sent::of(story));
        let text = |text: &Option<UntrustedText>| text.as_deref().map(cell).unwrap_or_default();
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let record: [String; COLUMNS.len()] = [
            row.certificate_id.to_string(),
            text(&row.verify_type),
            number(row.priority),
            text(&row.reference),
            row.state.to_string(),
            Outcome::of(story).as_str().to_owned(),
            text(&row.order_id),
            number(row.status),
            text(&row.status_text),
            number(row.current_status),
            text(&row.current_status_text),
            at(row.current_status_at),
            text(&row.current_status_message),
            text(&row.error_code),
            text(&row.error_message),
            text(&row.reason),
            todo(story).unwrap_or_default(),
            row.tries.to_string(),
            sent.commits.to_string(),
            sent.readbacks.to_string(),
            text(&row.request_id),
            at(Some(row.created_at)),
            at(row.changed_at()),
            at(row.finished_at),
        ];
        Ok(self.0.write_record(&record)?)
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A spreadsheet takes a text that begins like this for a formula, and may run it. An apostrophe makes it a text.
/// <https://owasp.org/www-community/attacks/CSV_Injection>.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

pub(super) fn at(seconds: Option<i64>) -> String {
    seconds.map(|seconds| UnixMillis::of_seconds(seconds).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::{commit, story};
    use super::*;

    #[test]
    fn a_record_has_every_column_and_opens_in_a_spreadsheet() {
        let mut ordered = story("abcb1234", "submitted", Some(8));
        ordered.row.reference = Some(UntrustedText::of("spring, \"first\" half"));
        ordered.row.error_message = Some(UntrustedText::of("=HYPERLINK(\"http://example.com\")"));
        ordered.requests = vec![commit(1, 0, "submitted", Some(200))];
        let mut out = Vec::new();
        let mut report = CsvReport::begin(&mut out).unwrap();
        report.write(&ordered).unwrap();
        report.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        let (header, record) = text.strip_prefix('\u{feff}').unwrap().trim_end().split_once("\r\n").unwrap();
        assert_eq!(header, COLUMNS.join(","));
        let expected = "abcb1234,,0,\"spring, \"\"first\"\" half\",submitted,letter_needed,SO1,8,status 8,,,,,,\
                        \"'=HYPERLINK(\"\"http://example.com\"\")\",,";
        assert!(record.starts_with(expected), "{record}");
        assert!(record.ends_with(",1,1,0,,2023-11-14T22:13:20Z,2023-11-14T22:14:20Z,"), "{record}");
    }
}
