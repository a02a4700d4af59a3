//! How a request can end, as the domain sees it. The table that tells replies apart is in
//! [`tencent`](crate::tencent).

use std::fmt;
use std::str::FromStr;

use super::status::{Reading, Verdict};

/// Reads that find nothing submitted, and allow a commit in doubt to be sent again.
pub(super) const NEGATIVE_READS_TO_RESEND: u32 = 2;

/// The server's answer to a commit that it accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The CA's order number.
    pub order_id: String,
    /// The certificate's status after the commit.
    pub status: i64,
    /// The request's ID, needed to locate a problem.
    pub request_id: Option<String>,
}

/// The server's answer to a request that it didn't accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error code, such as `FailedOperation.NetworkError`.
    pub code: String,
    /// The server's text, capped and escaped. It may change; nothing depends on it.
    pub message: String,
    /// The request's ID.
    pub request_id: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The order is placed.
    Submitted(Receipt),
    /// The CA is busy. Read right before the next try, in case it acted all the same.
    Retry(Refusal),
    /// An error in the backend's response. It may have acted: read, once that can show, before the next try.
    BackendError(Refusal),
    /// Over a rate limit; not executed.
    Throttled(Refusal),
    /// The account, the credentials or the client are at fault, not this row; not executed.
    Account(Refusal),
    /// No permission for this certificate; not executed. The account's fault if many rows in succession get it.
    Denied(Refusal),
    /// Refused for good; nothing was placed.
    Failed(Refusal),
    /// The certificate's status doesn't allow it. Also what a repeat of a commit that landed gets.
    StatusRefused(Refusal),
    /// The request never left this machine, for the reason given.
    NotSent(String),
    /// Whether the order is placed isn't known.
    InDoubt {
        /// What went wrong, in words.
        why: String,
        /// The server's error, if it gave one.
        refusal: Option<Refusal>,
    },
}

impl CommitOutcome {
    /// The outcome without its details.
    #[must_use]
    pub fn class(&self) -> CommitClass {
        match self {
            Self::Submitted(_) => CommitClass::Submitted,
            Self::Retry(_) => CommitClass::Retry,
            Self::BackendError(_) => CommitClass::BackendError,
            Self::Throttled(_) => CommitClass::Throttled,
            Self::Account(_) => CommitClass::Account,
            Self::Denied(_) => CommitClass::Denied,
            Self::Failed(_) => CommitClass::Failed,
            Self::StatusRefused(_) => CommitClass::StatusRefused,
            Self::NotSent(_) => CommitClass::NotSent,
            Self::InDoubt { .. } => CommitClass::InDoubt,
        }
    }

    /// The server's error, if it gave one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Submitted(_) | Self::NotSent(_) => None,
            Self::InDoubt { refusal, .. } => refusal.as_ref(),
            Self::Retry(refusal)
            | Self::BackendError(refusal)
            | Self::Throttled(refusal)
            | Self::Account(refusal)
            | Self::Denied(refusal)
            | Self::Failed(refusal)
            | Self::StatusRefused(refusal) => Some(refusal),
        }
    }

    /// The ID that the server gave the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Submitted(receipt) => receipt.request_id.as_deref(),
            Self::Retry(_)
            | Self::BackendError(_)
            | Self::Throttled(_)
            | Self::Account(_)
            | Self::Denied(_)
            | Self::Failed(_)
            | Self::StatusRefused(_)
            | Self::NotSent(_)
            | Self::InDoubt { .. } => self.refusal()?.request_id.as_deref(),
        }
    }
}

/// How a read (`DescribeCertificate`) ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The server showed the certificate.
    Seen(Reading),
    /// It failed for a passing reason, in words: read again later.
    Retry {
        /// What went wrong.
        why: String,
        /// The server's error, if it gave one.
        refusal: Option<Refusal>,
    },
    /// Over a rate limit.
    Throttled(Refusal),
    /// The account, the credentials or the client are at fault.
    Account(Refusal),
    /// No permission to read.
    Denied(Refusal),
    /// Refused for good: the certificate can't be read, for instance because the server doesn't know it.
    Failed(Refusal),
    /// The request never left this machine, for the reason given.
    NotSent(String),
}

impl ReadOutcome {
    /// The outcome without its details.
    #[must_use]
    pub fn class(&self) -> ReadClass {
        match self {
            Self::Seen(reading) => match reading.verdict() {
                Verdict::Committed => ReadClass::Committed,
                Verdict::NotCommitted => ReadClass::NotCommitted,
                Verdict::DeadEnd => ReadClass::DeadEnd,
                Verdict::Unclear => ReadClass::Unclear,
            },
            Self::Retry { .. } => ReadClass::Retry,
            Self::Throttled(_) => ReadClass::Throttled,
            Self::Account(_) => ReadClass::Account,
            Self::Denied(_) => ReadClass::Denied,
            Self::Failed(_) => ReadClass::Failed,
            Self::NotSent(_) => ReadClass::NotSent,
        }
    }

    /// The server's error, if it gave one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Seen(_) | Self::NotSent(_) => None,
            Self::Retry { refusal, .. } => refusal.as_ref(),
            Self::Throttled(refusal) | Self::Account(refusal) | Self::Denied(refusal) | Self::Failed(refusal) => {
                Some(refusal)
            }
        }
    }

    /// The ID that the server gave the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Seen(reading) => reading.request_id.as_deref(),
            Self::Retry { .. }
            | Self::Throttled(_)
            | Self::Account(_)
            | Self::Denied(_)
            | Self::Failed(_)
            | Self::NotSent(_) => self.refusal()?.request_id.as_deref(),
        }
    }
}

/// An enum of plain names, as the database and the log write them.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the database and in the log.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(format!("{text:?} is not an outcome that this version knows")),
                }
            }
        }
    };
}

named! {
    /// A commit's outcome without its details; what `requests.outcome` holds for a commit.
    CommitClass {
        /// [`CommitOutcome::Submitted`].
        Submitted = "submitted",
        /// [`CommitOutcome::Retry`].
        Retry = "retry",
        /// [`CommitOutcome::BackendError`].
        BackendError = "backend_error",
        /// [`CommitOutcome::Throttled`].
        Throttled = "throttled",
        /// [`CommitOutcome::Account`].
        Account = "account",
        /// [`CommitOutcome::Denied`].
        Denied = "denied",
        /// [`CommitOutcome::Failed`].
        Failed = "failed",
        /// [`CommitOutcome::StatusRefused`].
        StatusRefused = "status_refused",
        /// [`CommitOutcome::NotSent`].
        NotSent = "not_sent",
        /// [`CommitOutcome::InDoubt`].
        InDoubt = "in_doubt",
    }
}

named! {
    /// A read's outcome without its details; what `requests.outcome` holds for a read.
    ReadClass {
        /// The order is placed.
        Committed = "committed",
        /// The information isn't submitted.
        NotCommitted = "not_committed",
        /// A status that a commit neither leads to nor starts from.
        DeadEnd = "dead_end",
        /// An unknown status or a contradiction.
        Unclear = "unclear",
        /// [`ReadOutcome::Retry`].
        Retry = "retry",
        /// [`ReadOutcome::Throttled`].
        Throttled = "throttled",
        /// [`ReadOutcome::Account`].
        Account = "account",
        /// [`ReadOutcome::Denied`].
        Denied = "denied",
        /// [`ReadOutcome::Failed`].
        Failed = "failed",
        /// [`ReadOutcome::NotSent`].
        NotSent = "not_sent",
    }
}

impl CommitClass {
    /// Whether such a commit counts against `retry.max_tries`. What wasn't executed, and for no fault of
    /// the row, doesn't.
    #[must_use]
    pub fn spends_a_try(self) -> bool {
        !matches!(self, Self::Throttled | Self::Account | Self::NotSent)
    }

    /// Whether the server may have acted on such a commit, whatever it answered.
    #[must_use]
    pub fn may_have_been_executed(self) -> bool {
        self.reads_to_disprove() > 0
    }

    /// How many reads since it must find nothing submitted, before another commit may go out.
    #[must_use]
    pub fn reads_to_disprove(self) -> u32 {
        match self {
            Self::Throttled | Self::Account | Self::NotSent => 0,
            // A refusal for the status that a read contradicts is for a person; what they decide is read once more.
            Self::InDoubt | Self::StatusRefused => NEGATIVE_READS_TO_RESEND,
            Self::Submitted | Self::Retry | Self::BackendError | Self::Denied | Self::Failed => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_reads_back_as_written() {
        for class in CommitClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(*class));
        }
        for class in ReadClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(*class));
        }
        assert!("lost".parse::<CommitClass>().is_err());
    }

    #[test]
    fn only_what_was_not_executed_for_no_fault_of_the_row_spends_no_try() {
        let free: Vec<_> = CommitClass::ALL.iter().filter(|class| !class.spends_a_try()).collect();
        assert_eq!(free, [&CommitClass::Throttled, &CommitClass::Account, &CommitClass::NotSent]);
    }

    #[test]
    fn the_servers_error_is_told_of_every_outcome_that_has_one() {
        let refusal = || Refusal { code: "Some.Code".into(), message: "words".into(), request_id: None };
        assert_eq!(refusal().to_string(), "Some.Code: words");
        let reading = Reading { order_id: None, status: None, request_id: None };
        let (why, cut) = ("cut".to_owned(), || "cut".to_owned());
        for silent in
            [ReadOutcome::Seen(reading), ReadOutcome::NotSent(why), ReadOutcome::Retry { why: cut(), refusal: None }]
        {
            assert_eq!(silent.refusal(), None, "{silent:?}");
        }
        for refused in [
            ReadOutcome::Retry { why: cut(), refusal: Some(refusal()) },
            ReadOutcome::Throttled(refusal()),
            ReadOutcome::Account(refusal()),
            ReadOutcome::Denied(refusal()),
            ReadOutcome::Failed(refusal()),
        ] {
            assert_eq!(refused.refusal(), Some(&refusal()), "{refused:?}");
        }
    }
}
