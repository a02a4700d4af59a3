//! `certcommit status`: the queue at a glance.

mod diagnosis;
mod json;
mod screen;
mod view;

use std::io::Write as _;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::escaping::printable;
use crate::queue::{Opening, Queue, QueueError, RestoreMarker, daemon_lives};

use diagnosis::Diagnosis;
pub(super) use json::KEYS;
use screen::{Screen, Size};
use view::view;

const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Lines are broken here at the latest, also on a wider terminal.
const WIDEST: usize = 80;
/// The longest failure that is shown while watching.
const LONGEST_FAILURE: usize = 400;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Refresh every second, until interrupted; that is a good end.
    #[arg(long)]
    watch: bool,
    /// One JSON object on one line, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    if !arguments.watch {
        let diagnosis = look(settings).await?;
        let text =
            if arguments.json { json::machine(&diagnosis).to_string() } else { plain(&diagnosis, screen::size()) };
        writeln!(std::io::stdout(), "{text}")?;
        return Ok(Code::Done);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let watching = async {
        match screen::size().filter(|_| !arguments.json) {
            Some(_) => watch_on_screen(settings).await,
            None => watch_in_blocks(settings, arguments.json).await,
        }
    };
    tokio::select! {
        failed = watching => failed,
        _ = interrupt.recv() => Ok(Code::Done),
        _ = terminate.recv() => Ok(Code::Done),
    }
}

/// Opens the queue anew each time: it may have been moved, restored or locked in between.
async fn look(settings: &Settings) -> Result<Diagnosis, Failure> {
    let now = clock::now().unix.seconds();
    // Before the database: a daemon at work goes on.
    let mark = RestoreMarker::look(&settings.database.path)?;
    let mut queue = Queue::open(&settings.database, Opening::Looking).await?;
    let flaws = queue.flaws().await?;
    let status = match queue.status(now).await {
        // What is missing tells more than what asked for it.
        Err(QueueError::Failed(_)) if !flaws.is_empty() => return Err(queue.altered(&flaws).into()),
        status => status?,
    };
    let gap = if flaws.is_empty() { queue.gap(mark).await? } else { None };
    let read_only = queue.is_read_only();
    queue.close().await?;
    let alive = daemon_lives(&settings.database.path)?;
    let (cap, reads_cap) = (settings.rate.per_second, settings.verify.per_second);
    Ok(Diagnosis { status, flaws, gap, read_only, alive, now, cap, reads_cap })
}

fn plain(diagnosis: &Diagnosis, size: Option<Size>) -> String {
    lines(diagnosis, size).join("\n")
}

fn lines(diagnosis: &Diagnosis, size: Option<Size>) -> Vec<String> {
    let width = size.map_or(WIDEST, |size| size.columns.min(WIDEST));
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // What is no terminal may be as wide as a word needs.
    let widest = if size.is_some() { width } else { usize::MAX };
    view(diagnosis, width).iter().map(|line| line.print(widest, size.is_some() && !no_colour)).collect()
}

async fn watch_on_screen(settings: &Settings) -> Result<Code, Failure> {
    let screen = Screen::enter()?;
    loop {
        let size = screen::size().unwrap_or(Size { columns: WIDEST, rows: 24 });
        let shown = match look(settings).await {
            Ok(diagnosis) => lines(&diagnosis, Some(size)),
            Err(failure) => vec![unreadable(&failure).chars().take(size.columns).collect()],
        };
        screen.show(&shown, size)?;
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

async fn watch_in_blocks(settings: &Settings, as_json: bool) -> Result<Code, Failure> {
    loop {
        let block = match look(settings).await {
            Ok(diagnosis) if as_json => json::machine(&diagnosis).to_string(),
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
    format!("UNREADABLE   {}", printable(&failure.to_string(), LONGEST_FAILURE))
}
