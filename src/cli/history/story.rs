//! What is known of a certificate, and what to do. Pure.

use crate::cause::{Cause, Incident, PauseCause};
use crate::queue::{HistoryLine, IncidentRow, Situation, SubmissionLine, UntrustedText};
use crate::submission::{OutcomeClass, RequestKind, State};

pub(super) const NO_DAEMON: &str = "no daemon is running, so it waits: see certcommit status";

/// What is known of a submission. `are_pruned`: old requests may have been deleted.
pub(super) fn story(line: &SubmissionLine, requests: &[HistoryLine], are_pruned: bool) -> Vec<String> {
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
    if let Some(status) = line.current_status {
        let [text, since, says] = [
            after(": ", &line.current_status_text),
            after("; since ", &line.current_status_at),
            after("; the CA says: ", &line.current_status_message),
        ];
        lines.push(format!("  now: status {status}{text}{since}{says}"));
    }
    lines.push(format!("  {}", sent(requests, line.order_id.is_some(), are_pruned)));
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

/// How many requests were sent, and what that says about the number of orders.
fn sent(requests: &[HistoryLine], has_order: bool, are_pruned: bool) -> String {
    let is_unsent = |request: &&HistoryLine| request.outcome.as_deref() == Some(OutcomeClass::NotSent.as_str());
    let unsent = requests.iter().filter(is_unsent).count();
    let sent = requests.iter().filter(|request| !is_unsent(request));
    let (commits, readbacks): (Vec<_>, Vec<_>) =
        sent.partition(|request| request.kind.as_str() == RequestKind::Commit.as_str());
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let unsent = if unsent == 0 { String::new() } else { format!("; {} never left", counted(unsent, "other request")) };
    let verdict = match (commits.len(), has_order) {
        (0, true) => ". The commit of its order is not on record here",
        (0, false) => "",
        (1, _) if are_pruned => ". Older requests may have been deleted (retention.requests)",
        (1, _) => ", so this queue ordered it once at most",
        (_, _) => ". A commit follows another one only if the API refused that one, or readbacks showed no order",
    };
    format!("sent: {}, {}{unsent}{verdict}", counted(commits.len(), "commit"), counted(readbacks.len(), "readback"))
}

/// What to do: what keeps the daemon from going on with it comes first.
pub(super) fn todo(line: &SubmissionLine, standstill: Option<&'static str>) -> Option<String> {
    let by_itself = || line.cause().map(|cause| cause.remedy(line.certificate_id.as_str()));
    standstill.map(str::to_owned).or_else(by_itself).map(|todo| format!("  to do: {todo}"))
}

/// Why nothing happens to an open submission at present, if that isn't its own fault.
pub(super) fn standstill(state: State, is_blocked: bool, situation: &Situation) -> Option<&'static str> {
    let incidents = || situation.incidents.iter().filter_map(IncidentRow::incident);
    let is_paused = match state {
        State::InFlight => {
            let is_stuck = is_blocked || incidents().next().is_some();
            return is_stuck.then_some(
                "its request was sent, or is about to be, and its result can't be recorded yet: see certcommit status",
            );
        }
        State::InDoubt => incidents().any(|incident| incident.is_of_readback() || lacks_credentials(&incident)),
        State::Pending | State::Submitted | State::Failed | State::Held | State::Canceled => {
            situation.control.paused || incidents().any(|incident| !incident.is_of_readback())
        }
    };
    if is_blocked {
        return Some("it waits, since the daemon can't work: see certcommit status");
    }
    is_paused.then_some("it waits, since the queue or readback is paused: see certcommit status")
}

/// Whether nothing at all can be sent. Other faults of commits have a circuit breaker of their own, and readbacks go on.
fn lacks_credentials(incident: &Incident) -> bool {
    let Cause::Pause(cause) = &incident.cause else { return false };
    matches!(cause, PauseCause::NoCredentials { .. } | PauseCause::CredentialsExpired { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Control;

    fn request(kind: RequestKind, outcome: OutcomeClass) -> HistoryLine {
        HistoryLine {
            number: 1,
            kind: UntrustedText::of(kind.as_str()),
            started_at: 0,
            outcome: Some(UntrustedText::of(outcome.as_str())),
            http_status: None,
            error_code: None,
            request_id: None,
            order_id: None,
            status: None,
            duration_ms: None,
        }
    }

    #[test]
    fn what_was_sent_says_how_many_orders_there_can_be() {
        let lost = request(RequestKind::Commit, OutcomeClass::InDoubt);
        let unsent = request(RequestKind::Commit, OutcomeClass::NotSent);
        let read = request(RequestKind::Readback, OutcomeClass::Committed);
        let once = "sent: 1 commit, 1 readback; 1 other request never left, so this queue ordered it once at most";
        assert_eq!(sent(&[unsent.clone(), lost.clone(), read.clone()], true, false), once);
        assert!(
            sent(&[lost.clone(), lost.clone()], true, false)
                .starts_with("sent: 2 commits, 0 readbacks. A commit follows")
        );
        assert!(sent(&[read], true, false).ends_with(". The commit of its order is not on record here"));
        assert_eq!(sent(&[unsent], false, false), "sent: 0 commits, 0 readbacks; 1 other request never left");
        assert!(sent(&[lost], true, true).ends_with("may have been deleted (retention.requests)"));
    }

    #[test]
    fn a_certificate_waits_for_what_keeps_the_daemon_from_going_on_with_it() {
        let paused = Situation { control: Control { paused: true, ..Control::default() }, ..Situation::default() };
        let waits = |state| standstill(state, false, &paused).is_some();
        assert_eq!([waits(State::Pending), waits(State::InFlight), waits(State::InDoubt)], [true, false, false]);
        for state in [State::Pending, State::InFlight, State::InDoubt] {
            assert!(standstill(state, true, &Situation::default()).is_some(), "{state}");
            assert_eq!(standstill(state, false, &Situation::default()), None);
        }
    }
}
