//! `certcommit history`: a certificate, and every request for it.

mod story;

use std::io::Write as _;

use comfy_table::{Table, presets};

use super::exit::{Code, Failure};
use crate::clock::UnixMillis;
use crate::config::Settings;
use crate::queue::{HistoryLine, Opening, Queue, UntrustedText, daemon_lives, obstacle};
use crate::submission::{CertificateId, State};
use story::{NO_DAEMON, standstill, story, todo};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The certificate's ID.
    id: CertificateId,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    // Before the database is opened: that would release the locks of the connection.
    let is_blocked = obstacle(&settings.database.path).await?.is_some();
    let mut queue = Queue::open(&settings.database, Opening::Looking).await?;
    let id = &arguments.id;
    let submission = queue.submission(id).await?;
    let requests = queue.history(id).await?;
    let mut out = std::io::stdout().lock();
    match &submission {
        Some(line) => {
            let state: Option<State> = line.state.as_str().parse().ok();
            let standstill = match state.filter(|state| state.is_open()) {
                Some(_) if !daemon_lives(&settings.database.path)? => Some(NO_DAEMON),
                Some(state) => standstill(state, is_blocked, &queue.situation().await?),
                None => None,
            };
            for line in
                story(line, &requests, settings.retention.requests.is_some()).into_iter().chain(todo(line, standstill))
            {
                writeln!(out, "{line}")?;
            }
        }
        None if requests.is_empty() => {
            return Err(Failure::new(Code::PartlyDone, format!("{id} is not in the queue")));
        }
        None => writeln!(out, "{id} is no longer in the queue")?,
    }
    if !requests.is_empty() {
        writeln!(out, "{}", table(&requests))?;
    }
    Ok(Code::Done)
}

fn table(requests: &[HistoryLine]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["number", "started", "kind", "outcome", "ms", "order", "status", "error", "request id"]);
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let text = |value: &Option<UntrustedText>| value.as_deref().unwrap_or("-").to_owned();
    for line in requests {
        table.add_row([
            line.number.to_string(),
            UnixMillis(line.started_at).to_string(),
            line.kind.to_string(),
            line.outcome.as_deref().unwrap_or("in flight").to_owned(),
            number(line.duration_ms),
            text(&line.order_id),
            number(line.status),
            text(&line.error_code),
            text(&line.request_id),
        ]);
    }
    table
}
