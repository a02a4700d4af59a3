//! `certcommit status`: the queue at a glance.

mod alternate_screen;
mod diagnosis;
mod json;
mod text;
mod troubles;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::escaping::printable;
use crate::queue::{Opening, Queue, QueueError, RestoreMarker, daemon_lives, obstacle};

use alternate_screen::{AlternateScreen, Size};
use diagnosis::Diagnosis;
pub(super) use json::KEYS;
use text::lines_of;

const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Lines wrap at this width at the latest, even on a wider terminal.
const MAX_WIDTH: usize = 80;
/// With `--watch`, longer failures are truncated.
const MAX_FAILURE_CHARS: usize = 400;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Refresh every second until interrupted, then exit with 0.
    #[arg(long)]
    watch: bool,
    /// One JSON object on one line, for programs.
    #[arg(long)]
    json: bool,
    /// Exit with the code of what is wrong, for monitoring: 0 if the daemon works, or an operator paused it.
    #[arg(long, conflicts_with = "watch")]
    exit_code: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    if !arguments.watch {
        let diagnosis = diagnose(settings).await?;
        let text = if arguments.json {
            json::to_json(&diagnosis).to_string()
        } else {
            plain(&diagnosis, alternate_screen::size())
        };
        writeln!(std::io::stdout(), "{text}")?;
        return Ok(if arguments.exit_code { diagnosis.exit_code() } else { Code::Done });
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let watching = async {
        match alternate_screen::size().filter(|_| !arguments.json) {
            Some(_) => watch_on_screen(settings).await,
            None => watch_in_blocks(settings, arguments.json).await,
        }
    };
    tokio::select! {
        result = watching => result,
        _ = interrupt.recv() => Ok(Code::Done),
        _ = terminate.recv() => Ok(Code::Done),
    }
}

/// Reopens the queue each time: it may have been moved, restored or locked in between.
async fn diagnose(settings: &Settings) -> Result<Diagnosis, Failure> {
    let now = clock::now().unix.seconds();
    // Before the database is opened: that would release the locks of the connection.
    let obstacle = obstacle(&settings.database.path).await?.map(Arc::new);
    // Read before the database, since a running daemon advances both.
    let marker = RestoreMarker::look(&settings.database.path)?;
    let mut queue = Queue::open(&settings.database, Opening::Looking).await?;
    let flaws = queue.flaws().await?;
    let status = match queue.status(now).await {
        // The missing objects explain more than the statement that failed.
        Err(QueueError::Failed(_)) if !flaws.is_empty() => return Err(queue.altered(&flaws).into()),
        status => status?,
    };
    let gap = if flaws.is_empty() { queue.gap(marker).await? } else { None };
    queue.close().await?;
    let alive = daemon_lives(&settings.database.path)?;
    let (cap, reads_cap) = (settings.rate.per_second, settings.verify.per_second);
    let resend_after = i64::try_from(settings.verify.resend_after.as_secs()).unwrap_or(i64::MAX);
    Ok(Diagnosis { status, flaws, gap, obstacle, alive, now, cap, reads_cap, resend_after })
}

fn plain(diagnosis: &Diagnosis, size: Option<Size>) -> String {
    lines(diagnosis, size).join("\n")
}

fn lines(diagnosis: &Diagnosis, size: Option<Size>) -> Vec<String> {
    let width = size.map_or(MAX_WIDTH, |size| size.columns.min(MAX_WIDTH));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // Without a terminal, lines aren't truncated.
    let limit = if size.is_some() { width } else { usize::MAX };
    lines_of(diagnosis, width).iter().map(|line| line.print(limit, size.is_some() && !no_color)).collect()
}

async fn watch_on_screen(settings: &Settings) -> Result<Code, Failure> {
    let screen = AlternateScreen::enter()?;
    loop {
        let size = alternate_screen::size().unwrap_or(Size { columns: MAX_WIDTH, rows: 24 });
        let frame = match diagnose(settings).await {
            Ok(diagnosis) => lines(&diagnosis, Some(size)),
            Err(failure) => vec![unreadable(&failure).chars().take(size.columns).collect()],
        };
        screen.show(&frame, size)?;
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

async fn watch_in_blocks(settings: &Settings, as_json: bool) -> Result<Code, Failure> {
    loop {
        let block = match diagnose(settings).await {
            Ok(diagnosis) if as_json => json::to_json(&diagnosis).to_string(),
            Ok(diagnosis) => format!("{}\n", plain(&diagnosis, None)),
            Err(failure) if as_json => serde_json::json!({ "error": failure.to_string() }).to_string(),
            Err(failure) => format!("{}\n", unreadable(&failure)),
        };
        let mut out = std::io::stdout();
        writeln!(out, "{block}")?;
        out.flush()?;
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn unreadable(failure: &Failure) -> String {
    format!("UNREADABLE   {}", printable(&failure.to_string(), MAX_FAILURE_CHARS))
}
