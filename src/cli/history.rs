//! `certcommit history`.

use std::io::Write as _;

use comfy_table::{Table, presets};

use super::exit::{Code, Failure};
use crate::cause::{Cause, Incident, PauseCause};
use crate::clock::UnixMillis;
use crate::config::Settings;
use crate::queue::{HistoryLine, IncidentRow, Opening, Queue, SubmissionLine, UntrustedText, daemon_lives};
use crate::submission::{CertificateId, OutcomeClass, RequestKind, State};

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
            let obstacle = standstill(&mut queue, line, settings).await?;
            for line in story(line, &requests).into_iter().chain(todo(line, obstacle)) {
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

/// What is known of a submission.
fn story(line: &SubmissionLine, requests: &[HistoryLine]) -> Vec<String> {
    let after = |before: &str, text: &Option<UntrustedText>| {
        text.as_ref().map(|text| format!("{before}{text}")).unwrap_or_default()
    };
    let mut lines = vec![format!("{} is {}{}", line.certificate_id, line.state, after(": ", &line.reason))];
    let request = after(" (RequestId ", &line.request_id) + if line.request_id.is_some() { ")" } else { "" };
    if let Some(code) = &line.error_code {
        lines.push(format!("  error: {code}{}{request}", after(": ", &line.error_message)));
    } else if let Some(order) = &line.order_id {
        let status = line.status.map(|status| format!(", status {status}{}", after(": ", &line.status_text)));
        let by = match line.resolved_by.as_ref().map(UntrustedText::as_str) {
            Some("readback") => "; found by a readback",
            Some("operator") => "; established by an operator",
            Some(_) | None => "; in the reply to the commit",
        };
        lines.push(format!("  order: {order}{}{by}{request}", status.unwrap_or_default()));
    }
    let sent = |kind: &str| {
        let of_kind = requests.iter().filter(|request| request.kind.as_str() == kind);
        of_kind.filter(|request| request.outcome.as_deref() != Some(OutcomeClass::NotSent.as_str())).count()
    };
    let (commits, readbacks) = (sent(RequestKind::Commit.as_str()), sent(RequestKind::Readback.as_str()));
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    lines.push(format!("  sent: {}, {}", counted(commits, "commit"), counted(readbacks, "readback")));
    let is_waiting = matches!(line.state.as_str(), "pending" | "in_doubt");
    let due = if is_waiting { after("; due ", &line.due_at) } else { String::new() };
    let texts = [
        after("; verify_type ", &line.verify_type),
        after("; reference ", &line.reference),
        after("; last changed ", &line.updated_at),
        due,
    ];
    lines.push(format!("  enqueued {}{}", after("", &line.created_at), texts.concat()));
    lines
}

/// What to do: what keeps the daemon from going on with it comes first.
fn todo(line: &SubmissionLine, standstill: Option<&'static str>) -> Option<String> {
    let by_itself = || line.cause().map(|cause| cause.remedy(line.certificate_id.as_str()));
    standstill.map(str::to_owned).or_else(by_itself).map(|todo| format!("  to do: {todo}"))
}

/// Why nothing happens to an open submission at present, if that isn't its own fault.
async fn standstill(
    queue: &mut Queue,
    line: &SubmissionLine,
    settings: &Settings,
) -> Result<Option<&'static str>, Failure> {
    let state: Option<State> = line.state.as_str().parse().ok();
    let Some(state) = state.filter(|state| state.is_open()) else { return Ok(None) };
    if !daemon_lives(&settings.database.path)? {
        return Ok(Some("no daemon is running, so it waits: see certcommit status"));
    }
    let situation = queue.situation().await?;
    let incidents = || situation.incidents.iter().filter_map(IncidentRow::incident);
    let waits = if state == State::InDoubt {
        incidents().any(|incident| incident.is_of_readback() || lacks_credentials(&incident))
    } else {
        situation.control.paused || incidents().any(|incident| !incident.is_of_readback())
    };
    Ok(waits.then_some("it waits, since the queue or readback is paused: see certcommit status"))
}

/// Whether nothing at all can be sent. Other faults of commits have a circuit breaker of their own, and readbacks go on.
fn lacks_credentials(incident: &Incident) -> bool {
    let Cause::Pause(cause) = &incident.cause else { return false };
    matches!(cause, PauseCause::NoCredentials { .. } | PauseCause::CredentialsExpired { .. })
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
