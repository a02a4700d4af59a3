//! The diagnosis of a queue, from what the database says, what keeps it from being written, and whether a daemon is alive.
//! Pure.

use std::sync::Arc;

use crate::cause::{Cause, PauseCause};
use crate::cli::exit::{Code, Failure};
use crate::queue::{Flaw, IncidentRow, Paces, QueueError, RestoreGap, Status};
use crate::submission::State;

/// A daemon at full pace stays a little below the cap; one below this part of it has learned a lower limit.
const LIMITED_BELOW: f64 = 0.9;

/// What `status` shows.
#[derive(Debug, Clone)]
pub(super) struct Diagnosis {
    pub(super) status: Status,
    /// What is missing from the schema, or altered.
    pub(super) flaws: Vec<Flaw>,
    /// Requests that were made and are not on record.
    pub(super) gap: Option<RestoreGap>,
    /// What keeps any daemon from working on the database, if anything does.
    pub(super) obstacle: Option<Arc<QueueError>>,
    /// Whether a daemon holds the queue.
    pub(super) alive: bool,
    /// Now, in unix seconds.
    pub(super) now: i64,
    /// The configured maximum of commits per second.
    pub(super) cap: u32,
    /// The configured maximum of readbacks per second.
    pub(super) reads_cap: u32,
    /// So many seconds after its commit, a submission in doubt without an order is sent again.
    pub(super) resend_after: i64,
}

/// The condition of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It works, or waits for work.
    Running,
    /// An operator paused it.
    PausedByOperator,
    /// It paused itself when it started, and waits for an operator: its database may lack requests that were sent.
    PausedAtStart,
    /// A fault that is not specific to one submission paused it.
    PausedByFault,
    /// It sends commits, but reads nothing back.
    ReadbackPaused,
    /// It is alive, but can't work on the database.
    Blocked,
    /// It is stopping.
    Stopping,
    /// It is alive, but hasn't written for too long.
    Silent,
    /// It is alive, but hasn't written yet.
    Starting,
    /// It shut down cleanly.
    Stopped,
    /// It ended in any other way.
    Died,
    /// No daemon has run yet.
    NeverRan,
}

impl Diagnosis {
    pub(super) fn condition(&self) -> Condition {
        let (row, control) = (&self.status.daemon, &self.status.control);
        match (self.alive, &*row.mode) {
            (false, _) if row.started_at.is_none() => Condition::NeverRan,
            (false, "stopped") => Condition::Stopped,
            (false, _) => Condition::Died,
            (true, _) if self.blocks().is_some() => Condition::Blocked,
            (true, "stopped") => Condition::Starting,
            (true, _) if row.is_silent(self.now) => Condition::Silent,
            (true, "stopping") => Condition::Stopping,
            (true, mode) => match (control.cause(), mode) {
                (Some(Cause::Pause(PauseCause::ByOperator { .. })), _) => Condition::PausedByOperator,
                (Some(_), _) => Condition::PausedAtStart,
                (None, "paused_by_fault") => Condition::PausedByFault,
                (None, _) if self.is_readback_paused() => Condition::ReadbackPaused,
                (None, _) => Condition::Running,
            },
        }
    }

    /// Whether the daemon reports that it reads nothing back.
    pub(super) fn is_readback_paused(&self) -> bool {
        let incidents = self.status.incidents.iter().filter_map(IncidentRow::incident);
        incidents.into_iter().any(|incident| incident.is_of_readback())
    }

    /// What keeps the daemon from working on the database. One that still works has another mount of the same files.
    pub(super) fn blocks(&self) -> Option<&QueueError> {
        let works = self.alive && !self.status.daemon.is_silent(self.now);
        let is_elsewhere = |obstacle: &&QueueError| {
            works && matches!(obstacle, QueueError::ReadOnlyFilesystem { only_here: true, .. })
        };
        self.obstacle.as_deref().filter(|obstacle| !is_elsewhere(obstacle))
    }

    /// Seconds since the daemon last wrote.
    pub(super) fn silent_for(&self) -> i64 {
        self.status.daemon.heartbeat_at.map_or(0, |at| self.now - at)
    }

    /// Whether commits are sent.
    pub(super) fn sends_commits(&self) -> bool {
        matches!(self.condition(), Condition::Running | Condition::ReadbackPaused)
    }

    /// The submissions in doubt, if there are any and readback is paused.
    pub(super) fn stuck_in_doubt(&self) -> Option<i64> {
        let in_doubt = self.status.counts.of(State::InDoubt);
        (self.is_readback_paused() && in_doubt > 0).then_some(in_doubt)
    }

    /// The exit code, for monitoring: 0 if the daemon works, or an operator paused it; 1 if it works, and submissions wait for
    /// a decision.
    pub(super) fn exit_code(&self) -> Code {
        if !self.flaws.is_empty() {
            return Code::Data;
        }
        let open = self.status.counts.open();
        match self.condition() {
            Condition::Running | Condition::PausedByOperator | Condition::Starting | Condition::Stopping => {
                if self.status.counts.of(State::Held) > 0 { Code::PartlyDone } else { Code::Done }
            }
            Condition::Stopped | Condition::NeverRan if open == 0 && self.blocks().is_none() => Code::Done,
            Condition::PausedAtStart | Condition::PausedByFault | Condition::ReadbackPaused => Code::Unavailable,
            Condition::Blocked | Condition::Silent | Condition::Stopped | Condition::Died | Condition::NeverRan => {
                self.blocks().map_or(Code::Unavailable, Failure::code_of)
            }
        }
    }

    /// What is wrong with the database, in one line.
    pub(super) fn damage(&self) -> Option<String> {
        let flaws = self.flaws.iter().map(ToString::to_string);
        // A pause after a restore says the same.
        let is_paused_for_it =
            matches!(self.status.control.cause(), Some(Cause::Pause(cause)) if cause.is_of_restore());
        let gap = self.gap.iter().filter(|_| !is_paused_for_it).map(ToString::to_string);
        let counts =
            self.status.miscounted.then(|| "the counts in state_counts are wrong; those below are not".to_owned());
        let damage: Vec<String> = flaws.chain(gap).chain(counts).collect();
        (!damage.is_empty()).then(|| damage.join("; "))
    }

    /// The expected requests per second: the daemon's own figure for commits, or the limits.
    fn paces(&self) -> Paces {
        let own = self.status.daemon.pace.filter(|pace| self.alive && pace.is_finite() && *pace > 0.0);
        Paces { commits: own.unwrap_or(f64::from(self.cap)), reads: f64::from(self.reads_cap) }
    }

    /// The commits a second that the server allows at present, if it allows less than is configured.
    pub(super) fn granted(&self) -> Option<f64> {
        let sends = self.alive && self.sends_commits();
        self.status.daemon.pace.filter(|pace| sends && *pace < f64::from(self.cap) * LIMITED_BELOW)
    }

    /// Seconds until the open submissions are done at this pace: counted from when the next is due, and at least until the
    /// last is due.
    pub(super) fn time_left(&self) -> Option<i64> {
        let open = self.status.counts.open();
        if open <= 0 {
            return None;
        }
        let wait = |due: Option<i64>| due.map_or(0, |due| due - self.now).max(0);
        Some((wait(self.status.next_due) + self.work()).max(wait(self.status.last_due)))
    }

    /// The submissions in doubt, if the readbacks of one without an order would go on after this many seconds.
    pub(super) fn may_take_longer(&self, seconds: i64) -> Option<i64> {
        let in_doubt = self.status.counts.of(State::InDoubt);
        let are_read = self.sends_commits() && self.stuck_in_doubt().is_none();
        (in_doubt > 0 && are_read && seconds < self.resend_after).then_some(in_doubt)
    }

    /// Seconds that the requests for the open submissions take.
    pub(super) fn work(&self) -> i64 {
        let seconds = self.status.counts.time_left(self.paces()).as_secs();
        i64::try_from(seconds).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Submissions a second in the last minute.
    pub(super) fn rate(&self) -> f64 {
        let last = self.status.per_minute.last().copied().unwrap_or(0);
        f64::from(u32::try_from(last).unwrap_or(u32::MAX)) / 60.0
    }
}
