//! Why one submission waits, failed or is held.

use std::fmt;

use super::quote::{ApiError, Quote};

causes! {
    /// Why one submission waits, failed or is held. What a readback `found` is in words, such as `order SO1, status 8
    /// (information submitted, …)`.
    RowCause {
        // Claimed, and nothing was sent.
        /// It could not be sent.
        NotSent {
            /// What went wrong.
            why: Quote,
        } = "not_sent",
        /// The queue was paused before it was sent.
        PausedUnsent = "paused_unsent",
        /// The daemon stopped before it was sent.
        StoppedUnsent = "stopped_unsent",
        /// The database's file was replaced, or had another name, before it was sent.
        DatabaseMovedUnsent = "database_moved_unsent",
        /// The claim was lost with a transaction that failed.
        ClaimLost = "claim_lost",
        /// The daemon died before it was sent.
        CrashedUnsent = "crashed_unsent",

        // Committed.
        /// The server limits the rate.
        RateLimited = "rate_limited",
        /// The account or its credentials were rejected, not this certificate.
        AccountAtFault = "account_at_fault",
        /// No permission for this certificate.
        NotPermitted = "not_permitted",
        /// The server refused it for good.
        RefusedByServer = "refused_by_server",
        /// The server says that the certificate's status doesn't allow a commit.
        RefusedForStatus = "refused_for_status",
        /// A try failed, and others are left.
        TryFailed {
            /// Which try it was.
            r#try: u32,
            /// How many there are.
            max_tries: u32,
        } = "try_failed",
        /// It probed whether the fault is over that pauses the queue, and it isn't; no try is spent.
        ProbeFailed = "probe_failed",
        /// The last try failed.
        LastTryFailed {
            /// How many there were.
            max_tries: u32,
        } = "last_try_failed",
        /// The outcome of the commit isn't known.
        OutcomeUnknown {
            /// What went wrong.
            why: Quote,
        } = "outcome_unknown",
        /// The daemon stopped or died before the reply came.
        Interrupted = "interrupted",

        // In doubt, and read back.
        /// A readback failed for a temporary reason.
        ReadbackFailed {
            /// What went wrong.
            why: Quote,
        } = "readback_failed",
        /// Readback isn't permitted.
        ReadbackNotPermitted {
            /// The API's answer.
            error: ApiError,
        } = "readback_not_permitted",
        /// A readback came before an order had had time to show, and shows none.
        NothingFoundEarly {
            /// What it shows, in words.
            found: Quote,
        } = "nothing_found_early",
        /// A readback shows no order, and another one has to follow.
        NothingFoundOnce {
            /// What it shows, in words.
            found: Quote,
        } = "nothing_found_once",
        /// Two readbacks show no order.
        NothingFoundTwice {
            /// What it shows, in words.
            found: Quote,
        } = "nothing_found_twice",
        /// A commit was refused for the certificate's status, and a readback shows a status that allows one: too early to decide.
        StatusContradictionUnsettled {
            /// What it shows, in words.
            found: Quote,
        } = "status_contradiction_unsettled",
        /// The readback shows a status that doesn't allow the commit, which was refused.
        StatusForbidsCommit {
            /// What it shows, in words.
            found: Quote,
        } = "status_forbids_commit",
        /// It is out of tries, and a readback shows no order.
        OutOfTries {
            /// How many tries there were.
            tries: u32,
            /// What it shows, in words.
            found: Quote,
        } = "out_of_tries",
        /// Its commit was refused for good, and its readback is refused, too.
        CommitAndReadbackRefused = "commit_and_readback_refused",

        // Held.
        /// Its readback is refused, and its order may stand.
        ReadbackRefused = "readback_refused",
        /// An order is on record, and the readback shows none.
        ReadbackContradictsRecord {
            /// What it shows, in words.
            found: Quote,
        } = "readback_contradicts_record",
        /// A commit was refused for the certificate's status, and the readback shows a status that allows one.
        ReadbackContradictsRefusal {
            /// What it shows, in words.
            found: Quote,
        } = "readback_contradicts_refusal",
        /// The readback shows a status that a commit neither leads to nor starts from.
        StatusIsDeadEnd {
            /// What it shows, in words.
            found: Quote,
        } = "status_is_dead_end",
        /// The readback doesn't show whether an order stands.
        ReadbackUnclear {
            /// What it shows, in words.
            found: Quote,
        } = "readback_unclear",

        // Pending, and read back before the next try.
        /// The readback before the next try shows something other than no order.
        FoundBeforeRetry {
            /// What it shows, in words.
            found: Quote,
        } = "found_before_retry",
        /// The readback before the next try was refused for good.
        ReadbackRefusedBeforeRetry {
            /// The API's answer.
            error: ApiError,
        } = "readback_refused_before_retry",
        /// The readback before the next try failed for a temporary reason.
        ReadbackFailedBeforeRetry {
            /// What went wrong.
            why: Quote,
        } = "readback_failed_before_retry",
        /// The readback before the next try shows no order.
        NothingFoundBeforeRetry {
            /// What it shows, in words.
            found: Quote,
        } = "nothing_found_before_retry",
        /// The readback before the next try shows no order, which isn't enough.
        UnsettledBeforeRetry {
            /// What it shows, in words.
            found: Quote,
        } = "unsettled_before_retry",
        /// A readback comes before the next try, and its last commit may not show yet.
        ReadbackTooEarly = "readback_too_early",
        /// A readback comes before the next try, and other readbacks are due first.
        ReadbackQueued = "readback_queued",
        /// A readback comes before the next try, and readback is paused.
        ReadbackUnavailable = "readback_unavailable",

        /// An operator decided.
        DecidedByOperator = "decided_by_operator",
    }
}

const BY_ITSELF: &str = "nothing: certcommit goes on with it by itself";

impl RowCause {
    /// The one right thing to do next for this certificate.
    #[must_use]
    pub fn remedy(&self, id: &str) -> String {
        match self {
            Self::NotSent { .. }
            | Self::PausedUnsent
            | Self::StoppedUnsent
            | Self::DatabaseMovedUnsent
            | Self::ClaimLost
            | Self::CrashedUnsent
            | Self::RateLimited
            | Self::RefusedForStatus
            | Self::TryFailed { .. }
            | Self::ProbeFailed
            | Self::LastTryFailed { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Interrupted
            | Self::ReadbackFailed { .. }
            | Self::NothingFoundEarly { .. }
            | Self::NothingFoundOnce { .. }
            | Self::NothingFoundTwice { .. }
            | Self::StatusContradictionUnsettled { .. }
            | Self::FoundBeforeRetry { .. }
            | Self::ReadbackRefusedBeforeRetry { .. }
            | Self::ReadbackFailedBeforeRetry { .. }
            | Self::NothingFoundBeforeRetry { .. }
            | Self::UnsettledBeforeRetry { .. }
            | Self::ReadbackTooEarly
            | Self::ReadbackQueued
            | Self::DecidedByOperator => BY_ITSELF.to_owned(),
            Self::AccountAtFault | Self::ReadbackUnavailable => {
                "see what pauses the queue: certcommit status".to_owned()
            }
            Self::NotPermitted => format!("grant the permission that the error names; then: certcommit retry {id}"),
            Self::ReadbackNotPermitted { .. } => {
                "grant these keys ssl:DescribeCertificate; then: certcommit resume".to_owned()
            }
            Self::RefusedByServer | Self::CommitAndReadbackRefused => {
                format!("remove the cause that the error names; then: certcommit retry {id}")
            }
            Self::OutOfTries { .. } => format!("if the cause that the error names is over: certcommit retry {id}"),
            Self::StatusForbidsCommit { .. } => {
                "look in the Tencent Cloud console why the certificate has this status".to_owned()
            }
            Self::ReadbackRefused
            | Self::ReadbackContradictsRecord { .. }
            | Self::ReadbackContradictsRefusal { .. }
            | Self::StatusIsDeadEnd { .. }
            | Self::ReadbackUnclear { .. } => format!(
                "look the certificate up in the Tencent Cloud console. If it shows something else than the readback: certcommit \
                 verify {id}; else decide: certcommit resolve {id} --submitted ORDER_ID, --failed or --pending"
            ),
        }
    }
}

impl fmt::Display for RowCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent { why } => write!(f, "not sent: {why}"),
            Self::PausedUnsent => f.write_str("not sent: the queue was paused"),
            Self::StoppedUnsent => f.write_str("not sent: certcommit stopped"),
            Self::DatabaseMovedUnsent => f.write_str("not sent: the database's file was replaced or has another name"),
            Self::ClaimLost => f.write_str("not sent: the claim was lost"),
            Self::CrashedUnsent => f.write_str("not sent: certcommit died first"),
            Self::RateLimited => f.write_str("the server limits the rate; not executed"),
            Self::AccountAtFault => {
                f.write_str("the account, its credentials or the clock were rejected, not this certificate; not executed")
            }
            Self::NotPermitted => f.write_str("no permission for this certificate; not executed"),
            Self::RefusedByServer => f.write_str("the server refused it; nothing was placed"),
            Self::RefusedForStatus => f.write_str(
                "the server says that its status doesn't allow a commit; a readback follows, to see whether an order stands",
            ),
            Self::TryFailed { r#try, max_tries } => {
                write!(f, "try {} of {max_tries} failed; waits for the next", r#try)
            }
            Self::ProbeFailed => {
                f.write_str("it probed whether the fault is over that pauses the queue, and it isn't; no try is spent")
            }
            Self::LastTryFailed { max_tries } => {
                write!(f, "try {max_tries} of {max_tries} failed; a readback follows before it is given up")
            }
            Self::OutcomeUnknown { why } => write!(f, "{why}: {MAY_BE_PLACED}"),
            Self::Interrupted => write!(f, "certcommit stopped before the reply came: {MAY_BE_PLACED}"),
            Self::ReadbackFailed { why } => write!(f, "readback failed: {why}"),
            Self::ReadbackNotPermitted { error } => write!(f, "readback isn't permitted: {error}"),
            Self::NothingFoundEarly { found } => {
                write!(f, "read back at once: {found}; an order may not show yet, so another readback follows")
            }
            Self::NothingFoundOnce { found } => {
                write!(f, "a readback shows {found}; another one follows before it is sent again")
            }
            Self::NothingFoundTwice { found } => {
                write!(f, "two readbacks show {found}, so nothing was placed; it is sent again")
            }
            Self::StatusContradictionUnsettled { found } => {
                write!(f, "refused for its status, but a readback shows {found}; another one follows")
            }
            Self::StatusForbidsCommit { found } => {
                write!(f, "its status doesn't allow a commit: a readback shows {found}")
            }
            Self::OutOfTries { tries, found } => write!(f, "gave up after {tries} tries; a readback shows {found}"),
            Self::CommitAndReadbackRefused => {
                f.write_str("its commit was refused, and so was its readback: nothing was placed")
            }
            Self::ReadbackRefused => f.write_str("its readback was refused, so certcommit can't tell whether an order stands"),
            Self::ReadbackContradictsRecord { found } => {
                write!(f, "a readback shows {found}, although its order is on record")
            }
            Self::ReadbackContradictsRefusal { found } => {
                write!(f, "a readback shows {found}, although a commit was refused for its status")
            }
            Self::StatusIsDeadEnd { found } => write!(f, "a readback shows {found}, a status that leads nowhere"),
            Self::ReadbackUnclear { found } => {
                write!(f, "a readback shows {found}, which doesn't tell whether the order stands")
            }
            Self::FoundBeforeRetry { found } => write!(f, "the readback before the next try shows {found}"),
            Self::ReadbackRefusedBeforeRetry { error } => write!(f, "the readback before the next try was refused: {error}"),
            Self::ReadbackFailedBeforeRetry { why } => write!(f, "the readback before the next try failed: {why}"),
            Self::NothingFoundBeforeRetry { found } => write!(f, "the readback before the next try shows {found}; tries again"),
            Self::UnsettledBeforeRetry { found } => {
                write!(f, "the readback before the next try shows {found}, which isn't enough; another one follows")
            }
            Self::ReadbackTooEarly => f.write_str("waits for a readback before the next try: its last commit may not show yet"),
            Self::ReadbackQueued => f.write_str("waits for a readback before the next try: other readbacks are due first"),
            Self::ReadbackUnavailable => f.write_str("waits for a readback before the next try: readback is paused"),
            Self::DecidedByOperator => f.write_str("decided by an operator"),
        }
    }
}

const MAY_BE_PLACED: &str = "the order may have been placed, so it is read back before anything else";
