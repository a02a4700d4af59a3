//! The status of a certificate: what each number means, and what it shows about an order.
//!
//! Source: the data type `CertificateExtra` and the actions' pages of Tencent Cloud's SSL API, version 2019-12-05. A status that
//! isn't listed is stored, and is unclear.

use super::outcome_class::OutcomeClass::{self, Committed, DeadEnd, NotCommitted, Unclear};

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
