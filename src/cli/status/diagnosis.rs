//! The diagnosis of a queue, from what the database says and from whether a daemon is alive. Pure.

use crate::cause::{Cause, PauseCause};
use crate::queue::{Flaw, Paces, RestoreGap, Status};
use crate::submission::State;

/// A daemon writes its row every ten seconds; one that hasn't for this many seconds is silent.
const SILENT_AFTER: i64 = 35;

const READ_ONLY: &str = "the filesystem of the queue is mounted read-only: nothing can be enqueued or sent";

/// For a cause that the daemon knows, but this version doesn't.
const REMEDY_OF_UNKNOWN_CAUSE: &str = "remove the cause; then: certcommit resume";

/// What `status` shows.
#[derive(Debug, Clone)]
pub(super) struct Diagnosis {
    pub(super) status: Status,
    /// What is missing from the schema, or altered.
    pub(super) flaws: Vec<Flaw>,
    /// Requests that were made and are not on record.
    pub(super) gap: Option<RestoreGap>,
    /// Whether the queue's filesystem is mounted read-only.
    pub(super) read_only: bool,
    /// Whether a daemon holds the queue.
    pub(super) alive: bool,
    /// Now, in unix seconds.
    pub(super) now: i64,
    /// The configured maximum of commits per second.
    pub(super) cap: u32,
    /// The configured maximum of readbacks per second.
    pub(super) reads_cap: u32,
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
            (true, "stopped") => Condition::Starting,
            (true, _) if self.silent_for() > SILENT_AFTER => Condition::Silent,
            (true, "stopping") => Condition::Stopping,
            (true, mode) => match (control.cause(), mode, row.cause()) {
                (Some(Cause::Pause(PauseCause::ByOperator { .. })), _, _) => Condition::PausedByOperator,
                (Some(_), _, _) => Condition::PausedAtStart,
                (None, "paused_by_fault", _) => Condition::PausedByFault,
                (None, _, Some(Cause::Pause(cause))) if cause.is_of_readback() => Condition::ReadbackPaused,
                (None, _, _) => Condition::Running,
            },
        }
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
        (self.condition() == Condition::ReadbackPaused && in_doubt > 0).then_some(in_doubt)
    }

    /// Why it is paused, or reads nothing back. For a cause that this version doesn't know, this is the stored text.
    pub(super) fn why(&self) -> Option<String> {
        match self.condition() {
            Condition::PausedByOperator | Condition::PausedAtStart => {
                self.status.control.cause().map(|cause| cause.to_string())
            }
            Condition::PausedByFault | Condition::ReadbackPaused | Condition::Running => {
                self.status.daemon.why.as_ref().map(ToString::to_string)
            }
            Condition::Stopping
            | Condition::Silent
            | Condition::Starting
            | Condition::Stopped
            | Condition::Died
            | Condition::NeverRan => None,
        }
    }

    /// What is wrong with the database, in one line.
    pub(super) fn damage(&self) -> Option<String> {
        let flaws = self.flaws.iter().map(ToString::to_string);
        let gap = self.gap.iter().map(ToString::to_string);
        let counts = self.status.miscounted.then(|| "the counts in state_counts are wrong".to_owned());
        let read_only = self.is_stuck_read_only().then(|| READ_ONLY.to_owned());
        let damage: Vec<String> = read_only.into_iter().chain(flaws).chain(gap).chain(counts).collect();
        (!damage.is_empty()).then(|| damage.join("; "))
    }

    /// Whether the read-only mount stops the work. A daemon that still works has another mount of the same files.
    fn is_stuck_read_only(&self) -> bool {
        self.read_only && (!self.alive || self.condition() == Condition::Silent)
    }

    /// What to do about it.
    pub(super) fn todo(&self) -> Option<String> {
        if self.is_stuck_read_only() {
            return Some("find out why (dmesg, if a disk failed), and mount it read-write".to_owned());
        }
        if !self.flaws.is_empty() {
            return Some("stop the daemon; certcommit check --repair".to_owned());
        }
        let open = self.status.counts.open();
        match self.condition() {
            Condition::PausedByOperator | Condition::PausedAtStart => {
                self.status.control.cause().map(|cause| cause.remedy())
            }
            Condition::PausedByFault | Condition::ReadbackPaused | Condition::Running => {
                let known = self.status.daemon.cause().map(|cause| cause.remedy());
                known.or_else(|| self.why().map(|_| REMEDY_OF_UNKNOWN_CAUSE.to_owned()))
            }
            Condition::Silent => Some(
                "is the disk full, or does a program keep a transaction open? journalctl -u certcommit -p warning. The daemon \
                 continues by itself once the database works"
                    .to_owned(),
            ),
            Condition::Died => Some(
                "systemctl status certcommit; journalctl -u certcommit -p warning; systemctl start certcommit"
                    .to_owned(),
            ),
            Condition::Stopped | Condition::NeverRan if open > 0 => {
                Some("systemctl start certcommit; or see: systemctl status certcommit".to_owned())
            }
            Condition::Stopped | Condition::NeverRan | Condition::Stopping | Condition::Starting => None,
        }
    }

    /// The expected requests per second: the daemon's own figure for commits, or the limits.
    fn paces(&self) -> Paces {
        let own = self.status.daemon.pace.filter(|pace| self.alive && pace.is_finite() && *pace > 0.0);
        Paces { commits: own.unwrap_or(f64::from(self.cap)), reads: f64::from(self.reads_cap) }
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
