//! `certcommit history`.

use std::io::Write as _;

use comfy_table::{Table, presets};

use super::exit::{Code, Failure};
use crate::clock::UnixMillis;
use crate::config::Settings;
use crate::queue::{HistoryLine, Opening, Queue, UntrustedText};
use crate::submission::CertificateId;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The certificate's ID.
    id: CertificateId,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Looking).await?;
    let id = &arguments.id;
    let submission = queue.submission(id).await?;
    let requests = queue.history(id).await?;
    let mut out = std::io::stdout().lock();
    match &submission {
        Some(line) => {
            let reason = line.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            writeln!(out, "{id} is {}{reason}", line.state)?;
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
