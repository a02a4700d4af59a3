//! `certcommit status`.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use super::exit::{Code, Failure};
use crate::clock::{self, UnixMillis};
use crate::config::Settings;
use crate::queue::{Overview, Queue, daemon_lives};
use crate::submission::State;

const WATCH_EVERY: Duration = Duration::from_secs(1);
/// To the top left, and clear what is below.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// How far back `recently_submitted` looks.
const RECENT_SECONDS: f64 = 300.0;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Refresh every second, until interrupted.
    #[arg(long)]
    watch: bool,
    /// For machines.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = super::open_queue(settings).await?;
    loop {
        let text = describe(&mut queue, settings, arguments.json).await?;
        let mut out = std::io::stdout().lock();
        if arguments.watch && !arguments.json {
            write!(out, "{CLEAR}")?;
        }
        writeln!(out, "{text}")?;
        out.flush()?;
        if !arguments.watch {
            return Ok(Code::Done);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

async fn describe(queue: &mut Queue, settings: &Settings, as_json: bool) -> Result<String, Failure> {
    let now = clock::now().unix.seconds();
    let overview = queue.overview(now).await?;
    let alive = daemon_lives(&settings.database.path)?;
    Ok(if as_json { machine(&overview, alive).to_string() } else { human(&overview, alive, now, settings) })
}

fn human(overview: &Overview, alive: bool, now: i64, settings: &Settings) -> String {
    let counts = &overview.counts;
    let mut lines = vec![format!("daemon     {}", daemon(overview, alive, now))];
    if overview.control.paused {
        let why = overview.control.pause_reason.as_deref().unwrap_or("no reason given");
        lines.push(format!("paused     by hand: {why}; to go on: certcommit resume"));
    } else if alive && let Some(why) = &overview.daemon.why {
        lines.push(format!("why        {why}; it probes by itself, or now with: certcommit resume"));
    }
    lines.push(format!(
        "open       {} pending, {} in flight, {} in doubt",
        counts.of(State::Pending),
        counts.of(State::InFlight),
        counts.of(State::InDoubt)
    ));
    lines.push(format!(
        "closed     {} submitted, {} failed, {} held, {} canceled",
        counts.of(State::Submitted),
        counts.of(State::Failed),
        counts.of(State::Held),
        counts.of(State::Canceled)
    ));
    let rate = recent_rate(overview);
    lines.push(format!("rate       {rate:.1}/s over the last 5 minutes, at most {}/s", settings.rate.per_second));
    if let Some(left) = time_left(overview, settings) {
        lines.push(format!("time left  about {}", duration(left)));
    }
    if let Some(created) = overview.oldest_open {
        lines.push(format!("oldest     open since {}", duration(now - created)));
    }
    if let Some(due) = overview.next_due {
        lines.push(format!("next due   {}", UnixMillis(due.saturating_mul(1000))));
    }
    for (code, count) in &overview.errors {
        lines.push(format!("error      {count} failed with {code}"));
    }
    if counts.of(State::Held) > 0 {
        lines.push(
            "held       SELECT certificate_id, reason FROM submissions WHERE state = 'held'; then: certcommit resolve"
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn daemon(overview: &Overview, alive: bool, now: i64) -> String {
    let row = &overview.daemon;
    match (alive, row.pid, row.started_at) {
        (true, Some(pid), Some(started)) => {
            format!("{} since {}, process {pid}", row.mode.replace('_', " "), duration(now - started))
        }
        (true, _, _) => "starting".to_owned(),
        (false, _, None) => "never ran on this queue".to_owned(),
        (false, _, Some(_)) if &*row.mode == "stopped" => "not running; it ended in good order".to_owned(),
        (false, _, Some(_)) => "not running; it did not end in good order".to_owned(),
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a count of submissions is far below 2^52")]
fn recent_rate(overview: &Overview) -> f64 {
    overview.recently_submitted as f64 / RECENT_SECONDS
}

fn time_left(overview: &Overview, settings: &Settings) -> Option<i64> {
    let open = overview.counts.open();
    (open > 0).then(|| open / i64::from(settings.rate.per_second.max(1)) + 1)
}

fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn machine(overview: &Overview, alive: bool) -> serde_json::Value {
    let counts: serde_json::Map<_, _> =
        State::ALL.into_iter().map(|state| (state.as_str().to_owned(), json!(overview.counts.of(state)))).collect();
    let errors: serde_json::Map<_, _> =
        overview.errors.iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
    let row = &overview.daemon;
    json!({
        "daemon": {
            "alive": alive, "mode": &*row.mode, "why": row.why.as_deref(), "pid": row.pid,
            "version": row.version.as_deref(), "run_id": row.run_id.as_deref(), "started_at": row.started_at, "heartbeat_at": row.heartbeat_at, "pace": row.pace,
        },
        "paused": overview.control.paused,
        "pause_reason": overview.control.pause_reason.as_deref(),
        "counts": counts,
        "errors": errors,
        "submitted_last_5_min": overview.recently_submitted,
        "oldest_open_created_at": overview.oldest_open,
        "next_due_at": overview.next_due,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_the_unit_that_fits() {
        assert_eq!([duration(-5), duration(59), duration(61)], ["0 s", "59 s", "1 min"]);
        assert_eq!([duration(3_661), duration(200_000)], ["1 h 1 min", "2 days"]);
    }
}
