//! The classes of outcomes. What each means is in [`effects`](super::effects); the table of error codes that have them is in
//! [`tencent`](crate::tencent).

use crate::named_enum::named_enum;

named_enum! {
    /// What a request is for.
    pub enum RequestKind {
        /// Places an order.
        Commit = "commit",
        /// Shows whether an order stands: `DescribeCertificate`.
        Readback = "read",
    }
}

named_enum! {
    /// The class of an outcome: what `requests.outcome` holds.
    pub enum OutcomeClass {
        /// Commit: the server placed the order.
        Submitted = "submitted",
        /// Commit: the CA is busy. Readback: it failed for a passing reason.
        Retry = "retry",
        /// Commit: the backend's response was in error; it may have acted.
        BackendError = "backend_error",
        /// Over a rate limit; not executed.
        Throttled = "throttled",
        /// The account, the credentials or the client are at fault, not this certificate; not executed.
        Account = "account",
        /// No permission for this certificate; not executed. If many in succession get it, the account is at fault.
        Denied = "denied",
        /// Refused for good. A commit placed nothing; a certificate can't be read.
        Failed = "failed",
        /// Commit: the certificate's status doesn't allow it. A repeat of a commit that landed gets the same.
        StatusRefused = "status_refused",
        /// The request never left this machine.
        NotSent = "not_sent",
        /// Commit: nobody knows whether the order is placed.
        InDoubt = "in_doubt",
        /// Readback: the order is placed.
        Committed = "committed",
        /// Readback: no order is placed, as of this readback.
        NotCommitted = "not_committed",
        /// Readback: a status that a commit neither leads to nor starts from.
        DeadEnd = "dead_end",
        /// Readback: an unknown status, or an order and a status that contradict each other.
        Unclear = "unclear",
        /// Readback: it came before an order had had time to show, and showed none, so it proves nothing.
        Early = "early",
    }
}

impl OutcomeClass {
    /// The classes that a request of this kind can have.
    #[must_use]
    pub fn of_kind(kind: RequestKind) -> &'static [Self] {
        match kind {
            RequestKind::Commit => &[
                Self::Submitted,
                Self::Retry,
                Self::BackendError,
                Self::Throttled,
                Self::Account,
                Self::Denied,
                Self::Failed,
                Self::StatusRefused,
                Self::NotSent,
                Self::InDoubt,
            ],
            RequestKind::Readback => &[
                Self::Committed,
                Self::NotCommitted,
                Self::Early,
                Self::DeadEnd,
                Self::Unclear,
                Self::Retry,
                Self::Throttled,
                Self::Account,
                Self::Denied,
                Self::Failed,
                Self::NotSent,
            ],
        }
    }

    /// The class of a request whose outcome is unknown.
    #[must_use]
    pub fn unknown(kind: RequestKind) -> Self {
        match kind {
            RequestKind::Commit => Self::InDoubt,
            RequestKind::Readback => Self::Retry,
        }
    }

    /// The class of a readback that the server refused with an error of this class.
    #[must_use]
    pub fn of_refused_readback(self) -> Self {
        let is_kept = matches!(self, Self::Throttled | Self::Account | Self::Denied | Self::Failed);
        if is_kept { self } else { Self::Retry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_parsed_from_its_name() {
        for class in OutcomeClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
        }
        assert!("lost".parse::<OutcomeClass>().is_err());
    }
}
