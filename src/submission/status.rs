//! `Status` of a certificate: the numbers and their meanings.
//!
//! Source: the data type `CertificateExtra` and the actions' pages of Tencent Cloud's SSL API,
//! version 2019-12-05. Unknown integers will come: they are stored, and never fail anything.

/// Every status that the API's documentation names, with its meaning.
pub const STATUS_CODES: [(i64, &str); 16] = [
    (0, "reviewing"),
    (1, "approved"),
    (2, "unapproved"),
    (3, "expired"),
    (4, "DNS record added"),
    (5, "enterprise-grade certificate, pending submission"),
    (6, "canceling order"),
    (7, "canceled"),
    (8, "information submitted, pending confirmation letter upload"),
    (9, "revoking certificate"),
    (10, "revoked"),
    (11, "reissuing"),
    (12, "pending revocation confirmation letter upload"),
    (13, "free certificate, pending submission"),
    (14, "refunded"),
    (15, "migrating"),
];

/// The meaning of a status, if it is known.
#[must_use]
pub fn status_text(status: i64) -> Option<&'static str> {
    STATUS_CODES.iter().find(|(code, _)| *code == status).map(|(_, text)| *text)
}
