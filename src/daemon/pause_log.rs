//! The log lines about pauses and their ends.

use std::time::Duration;

use crate::cause::{Cause, PauseCause};
use crate::logging::LogEvent;
use crate::queue::Control;

/// Logs a pause, with its remedy.
pub(super) fn log_paused(cause: &Cause, probe_in: Option<Duration>) {
    let probe_in_s = probe_in.map(|wait| wait.as_secs());
    let is_of_readback = matches!(cause, Cause::Pause(cause) if cause.is_of_readback());
    let (event, what) =
        if is_of_readback { (LogEvent::VerifyPaused, "readback paused") } else { (LogEvent::Paused, "paused") };
    tracing::warn!(
        event = event.as_str(),
        why = %cause,
        cause = cause.code(),
        probe_in_s,
        "{what}: {cause}. To do: {}",
        cause.remedy(),
    );
}

/// Logs the end of a pause for this cause.
pub(super) fn log_resumed(cause: &PauseCause, after: Duration) {
    let paused_s = after.as_secs();
    let what = if cause.is_of_readback() { "readback resumed" } else { "resumed" };
    let cause = cause.code();
    tracing::info!(event = LogEvent::Resumed.as_str(), cause, paused_s, "{what} after {paused_s} s ({cause} is over)");
}

/// A change that an operator made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlChange {
    /// Nothing.
    None,
    /// The queue is paused now.
    Paused,
    /// It isn't any more.
    Resumed,
}

/// Logs that an operator paused or resumed the queue, if one did.
pub(super) fn log_control(before: &Control, after: &Control) -> ControlChange {
    match (before.cause(), after.cause()) {
        (None, Some(cause)) => {
            log_paused(&cause, None);
            ControlChange::Paused
        }
        (Some(cause), None) => {
            tracing::info!(event = LogEvent::Resumed.as_str(), cause = cause.code(), "resumed by an operator");
            ControlChange::Resumed
        }
        (Some(_), Some(_)) | (None, None) => ControlChange::None,
    }
}
