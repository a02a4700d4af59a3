//! Writes that the queue's own rules refuse, or a trigger of somebody's own. Each concerns its row alone: nothing of it is
//! written, and the others go on.

use std::fmt;

/// A write that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedWrite {
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

impl fmt::Display for RefusedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.certificate_id, self.submission) {
            (Some(id), _) => f.write_str(id),
            (None, Some(submission)) => write!(f, "the submission with id {submission}"),
            (None, None) => f.write_str("a certificate without a submission"),
        }
    }
}
