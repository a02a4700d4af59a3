//! `certcommit pause` and `certcommit resume`.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::exit::{Code, Failure};
use crate::cause::{Incident, PauseCause, Quote};
use crate::clock;
use crate::config::Settings;
use crate::queue::{IncidentRow, Opening, Queue, Situation, daemon_lives, obstacle};

/// How long `resume` waits for the result of the probe, besides the time that the request itself may take.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct PauseArguments {
    /// The reason, for status and the log.
    reason: Option<String>,
}

pub(super) async fn pause(arguments: PauseArguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let cause = PauseCause::ByOperator { reason: arguments.reason.map(Quote::from) };
    queue.set_paused(Some(&cause.into())).await?;
    writeln!(std::io::stdout(), "paused: no commits are sent; to continue: certcommit resume")?;
    Ok(Code::Done)
}

/// Ends any pause, unless the daemon can't work anyway. If a fault had paused the queue, waits for the probe, and reports its result.
pub(super) async fn resume(settings: &Settings) -> Result<Code, Failure> {
    // Before the database is opened: that would release the locks of the connection.
    if let Some(obstacle) = obstacle(&settings.database.path).await? {
        return Err(obstacle.into());
    }
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let (before, asked) = (queue.situation().await?, clock::now());
    queue.set_paused(None).await?;
    let mut out = std::io::stdout();
    if !daemon_lives(&settings.database.path)? {
        writeln!(out, "resumed; but no daemon is running, so nothing is sent: systemctl start certcommit")?;
        return Ok(Code::Done);
    }
    let deadline = asked.instant + settings.api.request_timeout + PATIENCE;
    loop {
        let situation = queue.situation().await?;
        match judge(&before, &situation, asked.unix.seconds()) {
            Progress::Resumed => {
                writeln!(out, "resumed")?;
                return Ok(Code::Done);
            }
            Progress::Paused(incidents) => return Err(still_paused("still paused", &incidents)),
            Progress::Unprobed(incidents) if clock::now().instant >= deadline => {
                return Err(still_paused(
                    "no probe has ended yet, since no submission is due or the API doesn't reply",
                    &incidents,
                ));
            }
            Progress::Unseen if clock::now().instant >= deadline => {
                let message = "resumed, but the daemon hasn't noticed: see certcommit status";
                return Err(Failure::new(Code::Unavailable, message));
            }
            Progress::Unprobed(_) | Progress::Unseen => sleep_until_next_look(deadline).await,
        }
    }
}

async fn sleep_until_next_look(deadline: Instant) {
    sleep(LOOK_EVERY.min(deadline.saturating_duration_since(clock::now().instant))).await;
}

fn still_paused(what: &str, incidents: &[Incident]) -> Failure {
    let described = incidents.iter().map(|incident| format!("{incident}. To do: {}", incident.cause.remedy()));
    Failure::new(Code::Unavailable, format!("{what}: {}", described.collect::<Vec<_>>().join(". Also paused: ")))
}

/// How far the daemon is with a request to resume.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// It hasn't seen it.
    Unseen,
    /// A fault pauses the queue, or readback, and its probe hasn't ended.
    Unprobed(Vec<Incident>),
    /// A probe has failed since.
    Paused(Vec<Incident>),
    /// Nothing is paused.
    Resumed,
}

/// Compares the queue as it is now with how it was before the request, which was made at `asked`, in unix seconds.
fn judge(before: &Situation, now: &Situation, asked: i64) -> Progress {
    if let Some(incident) = now.control.incident() {
        return Progress::Paused(vec![incident]);
    }
    if now.control.probe_requested || now.daemon.is_paused_by_operator() {
        return Progress::Unseen;
    }
    let mut incidents: Vec<Incident> = now.incidents.iter().filter_map(IncidentRow::incident).collect();
    if incidents.len() < now.incidents.len() {
        return Progress::Unseen;
    }
    let before: Vec<Incident> = before.incidents.iter().filter_map(IncidentRow::incident).collect();
    let has_failed = |incident: &Incident| {
        let same = before.iter().find(|one| one.cause.code() == incident.cause.code() && one.since == incident.since);
        match same {
            Some(before) => incident.probes.failed > before.probes.failed,
            None => incident.probes.last.is_some_and(|at| at.seconds() >= asked),
        }
    };
    incidents.sort_by_key(|incident| !has_failed(incident));
    match incidents.first() {
        Some(first) if has_failed(first) => Progress::Paused(incidents),
        Some(_) => Progress::Unprobed(incidents),
        None => Progress::Resumed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Control, DaemonRow, Parameters, UntrustedText};

    const ASKED: i64 = 1_700_000_000;

    /// A queue that a fault has paused since a while, and so many probes have failed, the last so long after the request.
    fn unreachable(failed: i64, last: i64) -> Situation {
        let daemon = DaemonRow { mode: UntrustedText::of("paused_by_fault"), ..DaemonRow::default() };
        let incident = IncidentRow {
            code: UntrustedText::of("api_unreachable"),
            parameters: Some(Parameters::of(r#"{"why":"refused"}"#)),
            why: UntrustedText::of("the API can't be reached: refused"),
            since: Some(ASKED - 600),
            probes: failed,
            last_probe_at: Some(ASKED + last),
            next_probe_at: None,
        };
        Situation { control: Control::default(), daemon, incidents: vec![incident] }
    }

    fn running() -> Situation {
        let daemon = DaemonRow { mode: UntrustedText::of("running"), ..DaemonRow::default() };
        Situation { daemon, ..Situation::default() }
    }

    fn by_hand() -> Situation {
        let daemon = DaemonRow { mode: UntrustedText::of("paused_by_operator"), ..DaemonRow::default() };
        Situation { control: Control { paused: true, ..Control::default() }, daemon, incidents: Vec::new() }
    }

    #[test]
    fn a_request_is_seen_once_the_daemon_has_cleared_it_and_written_its_row() {
        let mut requested = running();
        requested.control.probe_requested = true;
        assert_eq!(judge(&by_hand(), &requested, ASKED), Progress::Unseen);
        let unwritten = Situation { control: Control::default(), ..by_hand() };
        assert_eq!(judge(&by_hand(), &unwritten, ASKED), Progress::Unseen);
        assert_eq!(judge(&by_hand(), &running(), ASKED), Progress::Resumed);
    }

    #[test]
    fn a_fault_is_over_or_lasts_as_the_probe_after_the_request_finds() {
        let before = unreachable(3, -60);
        assert!(matches!(judge(&before, &before, ASKED), Progress::Unprobed(_)));
        assert!(matches!(judge(&before, &unreachable(4, 1), ASKED), Progress::Paused(_)));
        assert_eq!(judge(&before, &running(), ASKED), Progress::Resumed);
    }

    #[test]
    fn a_fault_behind_an_operators_pause_lasts_once_a_probe_after_the_request_has_failed() {
        assert!(matches!(judge(&by_hand(), &unreachable(3, -60), ASKED), Progress::Unprobed(_)));
        assert!(matches!(judge(&by_hand(), &unreachable(4, 0), ASKED), Progress::Paused(_)));
    }

    #[test]
    fn a_queue_that_somebody_pauses_again_is_paused() {
        assert!(matches!(judge(&running(), &by_hand(), ASKED), Progress::Paused(_)));
    }
}
