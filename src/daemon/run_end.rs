//! How a run ends, and the log lines about it.

use std::time::Duration;

use super::shutdown::StopReason;
use crate::cause::Cause;
use crate::logging::LogEvent;
use crate::queue::{Counts, QueueError};
use crate::submission::State;

/// How a run ended in good order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Submissions by state.
    pub counts: Counts,
    /// The fault that ended a run until empty, if one did.
    pub refused: Option<Cause>,
    /// Whether the queue's own rules rejected a claim or a result to the end.
    pub is_blocked: bool,
}

/// Logs the beginning of a stop.
pub(super) fn log_stopping(reason: StopReason, on_the_way: usize, unwritten: usize, patience: Duration) {
    tracing::info!(
        event = LogEvent::Stopping.as_str(),
        on_the_way,
        "stopping, since {}; waits for {on_the_way} requests in flight, and for {unwritten} results to be written, {} s at most",
        reason.as_str(),
        patience.as_secs(),
    );
}

/// Logs the end of a run in good order.
pub(super) fn log_stopped(counts: &Counts) {
    let [submitted, failed, held, in_doubt, pending] =
        [State::Submitted, State::Failed, State::Held, State::InDoubt, State::Pending].map(|state| counts.of(state));
    tracing::info!(
        event = LogEvent::Stopped.as_str(),
        submitted,
        failed,
        held,
        in_doubt,
        pending,
        "stopped; {submitted} submitted, {failed} failed, {held} held, {in_doubt} in doubt, {pending} pending",
    );
}

/// Logs that an error of the database ends the run. The log has the results that are not written; the next run reads their
/// submissions back.
pub(super) fn log_stopped_by(error: QueueError, unwritten: usize) -> QueueError {
    let left = match unwritten {
        0 => String::new(),
        _ => format!(
            ". {unwritten} results could not be written: the log lines above have them, and their submissions are in doubt \
             until the next run has read them back"
        ),
    };
    tracing::error!(
        event = LogEvent::Stopped.as_str(),
        cause = error.code(),
        unwritten,
        "stopped: {}{left}",
        error.with_remedy()
    );
    error
}
