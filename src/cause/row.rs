//! Why one submission waits, failed or is held.

use std::fmt;

use super::quote::{ApiError, Quote};

causes! {
    /// Why one submission waits, failed or is held. A `reading` is what a read showed, in words, such as `order SO1, status 8
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
        /// A readback found nothing submitted, and one more has to.
        NothingFoundOnce {
            /// The readback, in words.
            reading: Quote,
        } = "nothing_found_once",
        /// Two readbacks found nothing submitted.
        NothingFoundTwice {
            /// The readback, in words.
            reading: Quote,
        } = "nothing_found_twice",
        /// A commit was refused for the certificate's status, and a readback shows a status that allows one: too early to decide.
        StatusContradictionUnsettled {
            /// The readback, in words.
            reading: Quote,
        } = "status_contradiction_unsettled",
        /// The readback shows a status that doesn't allow the commit, which was refused.
        StatusForbidsCommit {
            /// The readback, in words.
            reading: Quote,
        } = "status_forbids_commit",
        /// It is out of tries, and nothing was found submitted.
        OutOfTries {
            /// How many tries there were.
            tries: u32,
            /// The readback, in words.
            reading: Quote,
        } = "out_of_tries",
        /// Its commit was refused for good, and its readback is refused, too.
        RefusedAndUnreadable = "refused_and_unreadable",

        // Held.
        /// Its readback is refused, and its order may stand.
        Unreadable = "unreadable",
        /// An order is on record, and the readback shows none.
        ReadingContradictsRecord {
            /// The readback, in words.
            reading: Quote,
        } = "reading_contradicts_record",
        /// A commit was refused for the certificate's status, and the readback shows a status that allows one.
        ReadingContradictsRefusal {
            /// The readback, in words.
            reading: Quote,
        } = "reading_contradicts_refusal",
        /// The readback shows a status that a commit neither leads to nor starts from.
        StatusIsDeadEnd {
            /// The readback, in words.
            reading: Quote,
        } = "status_is_dead_end",
        /// The readback doesn't show whether an order stands.
        ReadingUnclear {
            /// The readback, in words.
            reading: Quote,
        } = "reading_unclear",

        // Pending, and read before the next try.
        /// The readback before the next try shows something other than no order.
        FoundBeforeRetry {
            /// The readback, in words.
            reading: Quote,
        } = "found_before_retry",
        /// The readback before the next try was refused for good.
        UnreadableBeforeRetry {
            /// The API's answer.
            error: ApiError,
        } = "unreadable_before_retry",
        /// The readback before the next try failed for a temporary reason.
        ReadFailedBeforeRetry {
            /// What went wrong.
            why: Quote,
        } = "read_failed_before_retry",
        /// The readback before the next try found nothing submitted.
        NothingFoundBeforeRetry {
            /// The readback, in words.
            reading: Quote,
        } = "nothing_found_before_retry",
        /// The readback before the next try found nothing submitted, which isn't enough.
        UnsettledBeforeRetry {
            /// The readback, in words.
            reading: Quote,
        } = "unsettled_before_retry",
        /// A readback comes before the next try, and its last commit may not show yet.
        ReadTooEarly = "read_too_early",
        /// A readback comes before the next try, and other readbacks are due first.
        ReadQueued = "read_queued",
        /// A readback comes before the next try, and readback is paused.
        ReadPaused = "read_paused",

        /// An operator decided.
        DecidedByOperator = "decided_by_operator",
    }
}

const BY_ITSELF: &str = "nothing: certcommit goes on with it by itself";
const RETRY: &str = "remove the cause that the error names; then: certcommit retry ID";
const DECIDE: &str = "look the certificate up in the Tencent Cloud console. If it shows something else than was read: certcommit verify \
     ID; else decide: certcommit resolve ID --submitted ORDER_ID, --failed or --pending";

impl RowCause {
    /// The one right thing to do next.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotSent { .. }
            | Self::PausedUnsent
            | Self::StoppedUnsent
            | Self::DatabaseMovedUnsent
            | Self::ClaimLost
            | Self::RateLimited
            | Self::RefusedForStatus
            | Self::TryFailed { .. }
            | Self::LastTryFailed { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Interrupted
            | Self::ReadbackFailed { .. }
            | Self::NothingFoundOnce { .. }
            | Self::NothingFoundTwice { .. }
            | Self::StatusContradictionUnsettled { .. }
            | Self::FoundBeforeRetry { .. }
            | Self::UnreadableBeforeRetry { .. }
            | Self::ReadFailedBeforeRetry { .. }
            | Self::NothingFoundBeforeRetry { .. }
            | Self::UnsettledBeforeRetry { .. }
            | Self::ReadTooEarly
            | Self::ReadQueued
            | Self::DecidedByOperator => BY_ITSELF,
            Self::AccountAtFault | Self::ReadPaused => "see what pauses the queue: certcommit status",
            Self::NotPermitted => "grant the permission that the error names; then: certcommit retry ID",
            Self::ReadbackNotPermitted { .. } => "grant these keys ssl:DescribeCertificate; then: certcommit resume",
            Self::RefusedByServer | Self::RefusedAndUnreadable => RETRY,
            Self::OutOfTries { .. } => "if the cause that the error names is over: certcommit retry ID",
            Self::StatusForbidsCommit { .. } => "look in the Tencent Cloud console why the certificate has this status",
            Self::Unreadable
            | Self::ReadingContradictsRecord { .. }
            | Self::ReadingContradictsRefusal { .. }
            | Self::StatusIsDeadEnd { .. }
            | Self::ReadingUnclear { .. } => DECIDE,
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
            Self::RateLimited => f.write_str("the server limits the rate; not executed"),
            Self::AccountAtFault => {
                f.write_str("the account or its credentials were rejected, not this certificate; not executed")
            }
            Self::NotPermitted => f.write_str("no permission for this certificate; not executed"),
            Self::RefusedByServer => f.write_str("the server refused it; nothing was placed"),
            Self::RefusedForStatus => f.write_str(
                "the server says that its status doesn't allow a commit; read back to see whether an order stands",
            ),
            Self::TryFailed { r#try, max_tries } => {
                write!(f, "try {} of {max_tries} failed; waits for the next", r#try)
            }
            Self::LastTryFailed { max_tries } => {
                write!(f, "try {max_tries} of {max_tries} failed; read back before it is given up")
            }
            Self::OutcomeUnknown { why } => write!(f, "{why}: {MAY_BE_PLACED}"),
            Self::Interrupted => write!(f, "certcommit stopped before the reply came: {MAY_BE_PLACED}"),
            Self::ReadbackFailed { why } => write!(f, "readback failed: {why}"),
            Self::ReadbackNotPermitted { error } => write!(f, "readback isn't permitted: {error}"),
            Self::NothingFoundOnce { reading } => {
                write!(f, "read back as {reading}; read once more before it is sent again")
            }
            Self::NothingFoundTwice { reading } => {
                write!(f, "read back as {reading} twice, so nothing was placed; it is sent again")
            }
            Self::StatusContradictionUnsettled { reading } => {
                write!(f, "refused for its status, but read back as {reading}; read once more")
            }
            Self::StatusForbidsCommit { reading } => {
                write!(f, "its status doesn't allow a commit: read back as {reading}")
            }
            Self::OutOfTries { tries, reading } => write!(f, "gave up after {tries} tries; read back as {reading}"),
            Self::RefusedAndUnreadable => {
                f.write_str("its commit was refused, and it can't be read: nothing was placed")
            }
            Self::Unreadable => f.write_str("it can't be read back, so whether an order stands is for you to find out"),
            Self::ReadingContradictsRecord { reading } => {
                write!(f, "read back as {reading}, although its order is on record")
            }
            Self::ReadingContradictsRefusal { reading } => {
                write!(f, "read back as {reading}, although a commit was refused for its status")
            }
            Self::StatusIsDeadEnd { reading } => write!(f, "read back as {reading}, a status that leads nowhere"),
            Self::ReadingUnclear { reading } => {
                write!(f, "read back as {reading}, which doesn't tell whether the order stands")
            }
            Self::FoundBeforeRetry { reading } => write!(f, "read before the next try as {reading}"),
            Self::UnreadableBeforeRetry { error } => write!(f, "can't be read before the next try: {error}"),
            Self::ReadFailedBeforeRetry { why } => write!(f, "waits to be read before the next try: {why}"),
            Self::NothingFoundBeforeRetry { reading } => write!(f, "read as {reading}; tries again"),
            Self::UnsettledBeforeRetry { reading } => {
                write!(f, "read before the next try as {reading}, which doesn't settle it; read once more")
            }
            Self::ReadTooEarly => f.write_str("waits to be read before the next try: its last commit may not show yet"),
            Self::ReadQueued => f.write_str("waits to be read before the next try: others are read first"),
            Self::ReadPaused => f.write_str("waits to be read before the next try: readback is paused"),
            Self::DecidedByOperator => f.write_str("decided by an operator"),
        }
    }
}

const MAY_BE_PLACED: &str = "the order may have been placed, so it is read back before anything else";
