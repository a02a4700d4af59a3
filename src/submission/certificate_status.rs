//! The status of a certificate: what each number means, and what it shows about an order.
//!
//! Source: the data type `CertificateExtra` and the actions' pages of Tencent Cloud's SSL API, version 2019-12-05. A status that
//! isn't listed is stored, and is unclear.

use super::outcome_class::OutcomeClass::{self, Committed, DeadEnd, NotCommitted, Unclear};
use crate::named_enum::named_enum;

named_enum! {
    /// Where an order stands at the CA.
    pub enum Standing {
        /// The CA, or Tencent Cloud, works on it.
        Underway = "underway",
        /// The CA waits for a confirmation letter.
        LetterNeeded = "letter_needed",
        /// The certificate is issued.
        Issued = "issued",
        /// The CA refused it.
        Refused = "refused",
        /// It is over: expired, canceled, revoked or refunded.
        Over = "over",
    }
}

impl Standing {
    /// Those that wait for a person.
    pub const FOR_A_PERSON: [Self; 2] = [Self::LetterNeeded, Self::Refused];

    /// Where an order with this status stands. One that isn't documented is under way.
    #[must_use]
    pub fn of(status: i64) -> Self {
        match status {
            1 => Self::Issued,
            2 => Self::Refused,
            3 | 7 | 10 | 14 => Self::Over,
            8 | 12 => Self::LetterNeeded,
            _ => Self::Underway,
        }
    }

    /// In words, after a number of orders.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Underway => "under way",
            Self::LetterNeeded => "waiting for a confirmation letter",
            Self::Issued => "issued",
            Self::Refused => "refused by the CA",
            Self::Over => "over",
        }
    }

    /// Whether it stays so, as far as certcommit follows it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Issued | Self::Refused | Self::Over)
    }
}

/// A status that the API's documentation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateStatus {
    /// The number.
    pub code: i64,
    /// The documentation's words.
    pub text: &'static str,
    /// The class of a readback that shows it together with an order.
    pub with_order: OutcomeClass,
    /// The class of a readback that shows it without an order.
    pub without_order: OutcomeClass,
}

impl CertificateStatus {
    /// All that are documented, by their numbers.
    pub const ALL: [Self; 16] = [
        status(0, "reviewing", Committed, Unclear),
        status(1, "approved", Committed, Unclear),
        status(2, "unapproved", DeadEnd, DeadEnd),
        status(3, "expired", DeadEnd, DeadEnd),
        status(4, "DNS record added", Committed, Unclear),
        status(5, "enterprise-grade certificate, pending submission", Unclear, NotCommitted),
        status(6, "canceling order", DeadEnd, DeadEnd),
        status(7, "canceled", DeadEnd, DeadEnd),
        status(8, "information submitted, pending confirmation letter upload", Committed, Unclear),
        status(9, "revoking certificate", DeadEnd, DeadEnd),
        status(10, "revoked", DeadEnd, DeadEnd),
        status(11, "reissuing", Committed, Unclear),
        status(12, "pending revocation confirmation letter upload", Committed, Unclear),
        status(13, "free certificate, pending submission", Unclear, NotCommitted),
        status(14, "refunded", DeadEnd, DeadEnd),
        status(15, "migrating", Unclear, Unclear),
    ];

    /// The status with this number, if it is documented.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code == code)
    }
}

const fn status(
    code: i64,
    text: &'static str,
    with_order: OutcomeClass,
    without_order: OutcomeClass,
) -> CertificateStatus {
    CertificateStatus { code, text, with_order, without_order }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_documentation_calls_an_end_is_final_and_a_letter_waits_for_a_person() {
        let of = |standing: Standing| {
            CertificateStatus::ALL.iter().filter(move |one| Standing::of(one.code) == standing).map(|one| one.text)
        };
        assert_eq!(of(Standing::Issued).collect::<Vec<_>>(), ["approved"]);
        assert_eq!(of(Standing::Refused).collect::<Vec<_>>(), ["unapproved"]);
        assert_eq!(of(Standing::Over).collect::<Vec<_>>(), ["expired", "canceled", "revoked", "refunded"]);
        assert!(of(Standing::LetterNeeded).all(|text| text.contains("confirmation letter upload")));
        assert_eq!(of(Standing::LetterNeeded).count(), 2);
        assert!(!Standing::of(99).is_final(), "a status that isn't documented is followed");
    }
}
