//! What `certcommit check` reports about the daemon that runs.

use super::report::Report;
use crate::cause::{Cause, PauseCause};
use crate::cli::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::queue::{IncidentRow, Opening, Queue, QueueError, Situation, besides, daemon_lives};

const HANGS: &str =
    "the daemon hangs: it is alive, and has written nothing for too long; what to do: certcommit status";
const IS_PAUSED: &str = "the daemon is paused; what to do: certcommit status";

/// Reports what keeps a daemon that runs from working: a pause, or that it hangs. An operator's pause is no failure.
pub(super) async fn check(report: &mut Report, settings: &Settings) -> Result<(), Failure> {
    if !daemon_lives(&settings.database.path)? {
        return Ok(());
    }
    let mut queue = match Queue::open(&settings.database, Opening::Looking).await {
        Ok(queue) => queue,
        // An older daemon runs until it is restarted: the lines about the database say so.
        Err(QueueError::Missing(_) | QueueError::Empty(_) | QueueError::Outdated { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Situation { control, daemon, incidents } = queue.situation().await?;
    if daemon.is_silent(clock::now().unix.seconds()) {
        return Err(Failure::new(Code::Unavailable, HANGS));
    }
    let by_control = control.incident();
    let faults: Vec<String> = besides(&control, &incidents).map(describe).collect();
    for incident in by_control.iter().map(ToString::to_string).chain(faults.iter().cloned()) {
        report.line("daemon", format!("is paused: {incident}"))?;
    }
    let is_harmless = |cause: &Cause| matches!(cause, Cause::Pause(PauseCause::ByOperator { .. }));
    if faults.is_empty() && by_control.is_none_or(|incident| is_harmless(&incident.cause)) {
        return Ok(());
    }
    Err(Failure::new(Code::Unavailable, IS_PAUSED))
}

/// The incident; its stored text, if this version doesn't know the cause.
fn describe(row: &IncidentRow) -> String {
    row.incident().map_or_else(|| row.why.to_string(), |incident| incident.to_string())
}
