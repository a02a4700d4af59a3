//! The one loop: claim, pace, send, record, verify; pause and stop.
//!
//! Claims, results and heartbeat go to the database in shared turns. While other requests are on the way, a result
//! waits for theirs, less than half a second; and while a turn waits for the disk, requests whose claims are
//! durable go out in their slots. Nothing is decided here about a row: that is
//! [`submission::next_state`](crate::submission::next_state). Nothing is retried here either: a row that is to be
//! tried again is due again.

mod advice;
mod alarm;
mod announce;
mod clock_watch;
mod desk;
mod ending;
mod gate;
#[cfg(test)]
mod gate_tests;
mod inspection;
mod keys;
#[cfg(test)]
mod keys_tests;
mod lane;
#[cfg(test)]
mod lane_tests;
mod monitor;
mod notify_socket;
mod progress;
mod pruning;
mod refusals;
mod rekeying;
mod reload;
mod restoration;
mod sending;
mod start;
mod stopping;
mod supervisor;
mod turning;
mod turns;
mod upkeep;
mod waking;
mod watchers;
mod worker;

use crate::queue::{Counts, QueueError};

pub use advice::advice;
pub use keys::CredentialSource;
pub use reload::Reloading;
pub use start::{Daemon, StartError, client_settings, start, way_to_api};

/// How people ask the daemon to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    No,
    /// Finish what is on the way.
    Soon,
    /// Don't wait for anything.
    Now,
}

/// How long the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until it is told to stop.
    Stopped,
    /// Until nothing is left to do.
    Empty,
}

/// What the daemon is at, for those who watch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Submissions by state.
    pub counts: Counts,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
}

/// How a run ended in good order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Submissions by state.
    pub counts: Counts,
    /// The fault that stopped a run until empty, if one did.
    pub refused: Option<String>,
    /// Whether the queue's own rules refused a claim or a result to the end.
    pub blocked: bool,
}

/// Why a run ended in bad order.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The database.
    #[error(transparent)]
    Queue(#[from] QueueError),
}
