//! Writes that the queue's own rules refuse, or a trigger of somebody's own. Each concerns its row alone: nothing of it is
//! written, and the others go on.

use std::fmt;

/// A write that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedWrite {
    /// The submission's id; none if the request has none any more.
    pub submission: Option<i64>,
    /// The certificate, where its ID can be read.
    pub certificate_id: Option<String>,
    /// The number of the request whose outcome was to be written; none: the submission was to be claimed.
    pub request: Option<i64>,
    /// Whether it isn't a rule that refuses it: a value of the submission can't be right, since it came in past the
    /// rules. It says nothing about the others.
    pub is_malformed: bool,
    /// The sentence of the rule, or what is wrong.
    pub sentence: String,
}

impl RejectedWrite {
    /// The outcome of a request that was to be written.
    pub(super) fn of_outcome(request: i64, submission: Option<i64>, certificate_id: String, sentence: String) -> Self {
        let (request, certificate_id) = (Some(request), Some(certificate_id));
        Self { submission, certificate_id, request, is_malformed: false, sentence }
    }

    /// A submission that was to be claimed.
    pub(super) fn of_claim(submission: i64, certificate_id: Option<String>, sentence: String) -> Self {
        Self { submission: Some(submission), certificate_id, request: None, is_malformed: false, sentence }
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
