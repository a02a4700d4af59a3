//! Those who watch the daemon: the service manager, the progress bar, and whoever reads the metrics. All of them are
//! told by the loop itself, round by round.

use tokio::sync::watch;
use tokio::time::Instant;

use super::Progress;
use super::monitor::Monitor;
use super::supervisor::Supervisor;
use crate::clock::Now;
use crate::queue::{Counts, Finished, Mode, Paces, RequestKind};

/// What the daemon is at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    /// Submissions by state.
    pub(super) counts: &'a Counts,
    /// What it does.
    pub(super) mode: Mode,
    /// Why it is paused, if it is.
    pub(super) why: Option<&'a str>,
    /// What the database said, while it doesn't work.
    pub(super) trouble: Option<&'a str>,
    /// Requests a second at present.
    pub(super) paces: Paces,
    /// Commits a second at most.
    pub(super) cap: u32,
    /// When the submission that is due first is due, in unix seconds.
    pub(super) next_due: Option<i64>,
}

/// Everyone who watches.
pub(super) struct Watchers {
    supervisor: Supervisor,
    progress: watch::Sender<Progress>,
    monitor: Option<Monitor>,
}

impl Watchers {
    pub(super) fn new(supervisor: Supervisor, progress: watch::Sender<Progress>, monitor: Option<Monitor>) -> Self {
        Self { supervisor, progress, monitor }
    }

    /// The daemon takes up work, or goes on with it after it reloaded.
    pub(super) fn ready(&mut self) {
        self.supervisor.ready();
    }

    /// The daemon reads its configuration anew; [`ready`](Self::ready) ends it.
    pub(super) fn reloading(&mut self) {
        self.supervisor.reloading();
    }

    /// The daemon stops.
    pub(super) fn stopping(&mut self) {
        self.supervisor.stopping();
    }

    /// One round of the loop, and nothing else: a loop that hangs must look like one.
    pub(super) fn round(&mut self, situation: Situation<'_>, now: Now) {
        self.supervisor.round(situation, now.instant);
        if let Some(monitor) = &mut self.monitor {
            monitor.round(situation, now);
        }
    }

    /// When the loop has to come round next for a watcher's sake.
    pub(super) fn next_round(&self) -> Option<Instant> {
        self.supervisor.next_feeding()
    }

    /// A turn told how far the queue is.
    pub(super) fn progressed(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    /// A request ended.
    pub(super) fn request_ended(&self, kind: RequestKind, finished: &Finished) {
        if let Some(monitor) = &self.monitor {
            monitor.request_ended(kind, finished);
        }
    }
}
