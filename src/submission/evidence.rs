//! What the record of requests shows for a certificate. Pure.
//!
//! One rule decides what may be sent: after a commit that may have been executed, no other one goes out before reads
//! since then have shown no order.

use std::time::Duration;

use super::outcome::{CommitClass, NEGATIVE_READS_TO_RESEND, ReadClass};
use super::policy::VerifyPolicy;

/// What the record of requests shows for a certificate, when a request for it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// How the newest commit ended that may have been executed; none if there never was one.
    pub last_commit: Option<CommitClass>,
    /// How long ago, in monotonic time, that commit can have been signed at the latest. A commit of an
    /// earlier run counts from the start of this one.
    pub age: Duration,
    /// Reads since that commit, and since the newest read that showed anything else, that found nothing submitted once
    /// an order had had time to show.
    pub negative_reads: u32,
    /// Whether one of them came so late that the commit can't be executed any more.
    pub read_late: bool,
    /// Reads of any outcome since that commit.
    pub reads: u32,
    /// Whether a commit before that one may have been executed and was never disproved.
    pub earlier_in_doubt: bool,
    /// Whether an order is on record.
    pub placed: bool,
}

impl Evidence {
    /// The evidence of a certificate for which no request was ever made.
    #[must_use]
    pub fn none() -> Self {
        Self {
            last_commit: None,
            age: Duration::ZERO,
            negative_reads: 0,
            read_late: false,
            reads: 0,
            earlier_in_doubt: false,
            placed: false,
        }
    }

    /// Whether reads have to show that there is no order before another commit goes out.
    #[must_use]
    pub fn needs_read(&self) -> bool {
        self.placed || !self.is_disproved()
    }

    /// Whether reads have shown that the newest commit placed no order, nor any before it.
    #[must_use]
    pub fn is_disproved(&self) -> bool {
        match self.last_commit {
            _ if self.is_in_doubt() => self.negative_reads >= NEGATIVE_READS_TO_RESEND && self.read_late,
            Some(last) => self.negative_reads >= last.reads_to_disprove(),
            None => true,
        }
    }

    /// Whether the outcome of the newest commit, or of one before it, isn't known.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.earlier_in_doubt || self.last_commit == Some(CommitClass::InDoubt)
    }

    /// Whether a commit whose outcome isn't known has had this long to take effect, and to show: a read that comes
    /// earlier proves nothing. By monotonic time: a clock that was set forward lets nothing settle.
    #[must_use]
    pub fn has_settled(&self, settle: Duration) -> bool {
        let open = matches!(self.last_commit, Some(CommitClass::InDoubt | CommitClass::BackendError));
        !open || self.age >= settle
    }

    /// How long until a read that finds nothing submitted counts.
    #[must_use]
    pub fn reads_count_in(&self, policy: &VerifyPolicy) -> Duration {
        self.shows_after(policy).saturating_sub(self.age)
    }

    /// The evidence after one more commit, which ended like this and was signed so long ago. One that wasn't executed
    /// changes nothing.
    #[must_use]
    pub fn with_commit(&self, class: CommitClass, age: Duration) -> Self {
        if !class.may_have_been_executed() {
            return self.clone();
        }
        Self {
            last_commit: Some(class),
            age,
            negative_reads: 0,
            read_late: false,
            reads: 0,
            earlier_in_doubt: !self.is_disproved(),
            placed: self.placed || class == CommitClass::Submitted,
        }
    }

    /// The evidence after one more read, which ended like this and went out so long after the newest commit was signed.
    #[must_use]
    pub fn with_read(&self, class: ReadClass, since: Duration, policy: &VerifyPolicy) -> Self {
        let read = Self { reads: self.reads + 1, ..self.clone() };
        match class {
            ReadClass::NotCommitted if since >= self.shows_after(policy) => Self {
                negative_reads: self.negative_reads + 1,
                read_late: self.read_late || since >= policy.resend_after,
                ..read
            },
            ReadClass::Committed | ReadClass::DeadEnd | ReadClass::Unclear | ReadClass::Failed => Self {
                negative_reads: 0,
                read_late: false,
                placed: self.placed || class == ReadClass::Committed,
                ..read
            },
            ReadClass::NotCommitted
            | ReadClass::Retry
            | ReadClass::Throttled
            | ReadClass::Account
            | ReadClass::Denied
            | ReadClass::NotSent => read,
        }
    }

    /// How long after the newest commit a read shows the order that it may have placed.
    fn shows_after(&self, policy: &VerifyPolicy) -> Duration {
        match self.last_commit {
            Some(CommitClass::InDoubt | CommitClass::BackendError | CommitClass::StatusRefused) => policy.settle,
            // The server says that nothing was placed.
            _ => Duration::ZERO,
        }
    }
}
