//! Writes that a rule of the queue, or a trigger that a user added, rejects. A rejection affects one row; the other rows
//! are written.

use std::fmt;

/// A rejected write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedWrite {
    /// The submission's id; none if the request no longer has a submission.
    pub submission: Option<i64>,
    /// The certificate, if its ID can be read.
    pub certificate_id: Option<String>,
    /// The number of the request to complete; none for a claim.
    pub request: Option<i64>,
    /// Whether the submission has an invalid value that got past the rules, so that no rule rejected the write. Says nothing
    /// about other rows.
    pub is_malformed: bool,
    /// The sentence of the rule, or what is wrong with the row.
    pub sentence: String,
}

impl RejectedWrite {
    /// A rejected outcome of a request.
    pub(super) fn of_outcome(request: i64, submission: Option<i64>, certificate_id: String, sentence: String) -> Self {
        let (request, certificate_id) = (Some(request), Some(certificate_id));
        Self { submission, certificate_id, request, is_malformed: false, sentence }
    }

    /// A rejected claim.
    pub(super) fn of_claim(submission: i64, certificate_id: Option<String>, sentence: String) -> Self {
        Self { submission: Some(submission), certificate_id, request: None, is_malformed: false, sentence }
    }

    /// A submission with an invalid value.
    pub(super) fn malformed(submission: i64, certificate_id: Option<String>) -> Self {
        let wrong = "its certificate_id, verify_type or tries is invalid".to_owned();
        Self { is_malformed: true, ..Self::of_claim(submission, certificate_id, wrong) }
    }
}

impl fmt::Display for RejectedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.certificate_id, self.submission) {
            (Some(id), _) => f.write_str(id),
            (None, Some(submission)) => write!(f, "the submission with id {submission}"),
            (None, None) => f.write_str("a certificate without a submission"),
        }
    }
}
