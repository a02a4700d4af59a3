//! The event loop and its components: they claim, pace, send and record requests, and pause and stop the daemon.
//!
//! Each component owns its state, takes events in, returns values, and knows when it has to be woken; only `event_loop`
//! calls components. Claims, results and the heartbeat share batches: while requests are in flight, a result waits for
//! theirs, less than half a second; and while a batch waits for the disk, claims that are durable are sent in their
//! slots. What becomes of a row is decided in [`submission::next_state`](crate::submission::next_state). Nothing is
//! retried here: a row that is to be tried again is due again.

mod batch_schedule;
mod batch_writer;
#[cfg(test)]
mod batch_writer_tests;
mod circuit_breaker;
#[cfg(test)]
mod circuit_breaker_tests;
mod clock_watch;
mod credentials;
#[cfg(test)]
mod credentials_tests;
mod dispatcher;
#[cfg(test)]
mod dispatcher_tests;
mod early_readbacks;
mod event_loop;
#[cfg(test)]
mod fixtures;
mod following;
mod following_log;
mod integrity_check;
mod live_page;
mod maintenance;
mod metrics_server;
mod outage;
mod page_renderer;
mod pause;
mod pause_log;
mod pipeline;
#[cfg(test)]
mod pipeline_tests;
mod progress_log;
mod pruning;
mod rejected_writes;
mod reload;
mod reporters;
mod request_log;
mod request_outcome;
mod restore_check;
mod run_end;
mod shutdown;
mod startup;
mod status_snapshot;
mod systemd;
mod systemd_socket;

use crate::cause::Incident;
use crate::queue::Counts;

pub use credentials::CredentialSource;
pub use reload::Reloading;
pub use run_end::Ended;
pub use startup::{Daemon, StartError, api_route, client_settings, start};

/// How the daemon is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    No,
    /// Wait for requests in flight.
    Soon,
    /// Don't wait for anything.
    Now,
}

/// How long the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until a stop is asked for.
    Stopped,
    /// Until nothing is left to do.
    Empty,
}

/// The progress of the queue, for the progress bar.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Submissions by state.
    pub counts: Counts,
    /// Why it is paused, if it is.
    pub paused: Option<Incident>,
}
