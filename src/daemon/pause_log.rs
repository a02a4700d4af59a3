//! The log lines about pauses and their ends.

use std::time::Duration;

use crate::cause::{Cause, Incident, PauseCause};
use crate::clock::{Now, UnixMillis};
use crate::logging::LogEvent;
use crate::queue::{Control, Counts};
use crate::submission::State;

/// Logs a pause, with its remedy.
pub(super) fn log_paused(cause: &Cause, probe_in: Option<Duration>) {
    let probe_in_s = probe_in.map(|wait| wait.as_secs());
    let is_of_readback = matches!(cause, Cause::Pause(cause) if cause.is_of_readback());
    // The cause of a pause of readback says so itself.
    let (event, what) = if is_of_readback { (LogEvent::VerifyPaused, "") } else { (LogEvent::Paused, "paused: ") };
    tracing::warn!(
        event = event.as_str(),
        why = %cause,
        cause = cause.code(),
        probe_in_s,
        "{what}{cause}. To do: {}",
        cause.remedy(),
    );
}

/// Logs that a probe failed, so that the pause lasts.
pub(super) fn log_still_paused(incident: &Incident, counts: &Counts, now: Now) {
    let [pending, in_doubt] = [State::Pending, State::InDoubt].map(|state| counts.of(state));
    let seconds_until = |at: UnixMillis| at.since(now.unix).as_secs();
    tracing::warn!(
        event = LogEvent::StillPaused.as_str(),
        why = %incident.cause,
        cause = incident.cause.code(),
        probes = incident.probes.failed,
        paused_s = incident.since.map(|since| now.unix.since(since).as_secs()),
        probe_in_s = incident.probes.next.map(seconds_until),
        pending,
        in_doubt,
        "still, with {pending} pending and {in_doubt} in doubt: {incident}. To do: {}",
        incident.cause.remedy(),
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
