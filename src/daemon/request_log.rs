//! The one log line at the end of every request.

use tracing::Level;

use crate::cause::RowCause;
use crate::clock::{UnixMillis, millis};
use crate::logging::LogEvent;
use crate::queue::Completed;
use crate::submission::{OutcomeClass, RequestKind, State};

/// Logs as a warning or as information. The fields are the same.
macro_rules! log {
    ($level:expr, $($fields:tt)*) => {
        if $level == Level::WARN { tracing::warn!($($fields)*) } else { tracing::info!($($fields)*) }
    };
}

/// Logs how a request ended, and what becomes of its submission.
pub(super) fn log(completed: &Completed, now: UnixMillis) {
    let Completed { claim, outcome, http_status, duration, change, .. } = completed;
    let event = event(completed);
    let (change, cause) = (change.as_ref(), cause_of(completed));
    log!(
        event.level(),
        event = event.as_str(),
        certificate_id = claim.certificate_id.as_str(),
        state = change.map(|change| change.to.as_str()),
        cause = cause.map(RowCause::code),
        r#try = number_of_try(completed),
        outcome = outcome.class.as_str(),
        order_id = outcome.order_id.as_deref(),
        status = outcome.status,
        request_id = outcome.request_id.as_deref(),
        error_code = outcome.error.as_ref().map(|error| error.code.as_str()),
        error_message = change.and_then(|change| change.error.as_ref()).map(|error| error.message.as_str()),
        http_status,
        duration_ms = millis(*duration),
        next_due = next_due(completed, now),
        "{}",
        message(completed, event, now)
    );
}

/// Why the submission is in its new state.
fn cause_of(completed: &Completed) -> Option<&RowCause> {
    completed.change.as_ref()?.cause.as_ref()
}

/// The event of the line.
fn event(completed: &Completed) -> LogEvent {
    let to = completed.change.as_ref().map(|change| change.to);
    let has_error = completed.outcome.error.is_some();
    match (to, completed.claim.kind, completed.outcome.class) {
        (Some(State::Submitted), ..) => LogEvent::Submitted,
        (Some(State::Failed), ..) => LogEvent::Failed,
        (Some(State::Held), ..) => LogEvent::Held,
        (_, _, OutcomeClass::Throttled) => LogEvent::Throttled,
        (Some(State::InDoubt), RequestKind::Commit, _) => LogEvent::InDoubt,
        (_, RequestKind::Commit, _) => LogEvent::Retrying,
        (_, RequestKind::Readback, OutcomeClass::Early) if has_error => LogEvent::InDoubt,
        (
            _,
            RequestKind::Readback,
            OutcomeClass::Committed
            | OutcomeClass::NotCommitted
            | OutcomeClass::DeadEnd
            | OutcomeClass::Unclear
            | OutcomeClass::Early,
        ) => LogEvent::Verified,
        (_, RequestKind::Readback, _) => LogEvent::InDoubt,
    }
}

/// The number of the commit: a readback belongs to the last one.
fn number_of_try(completed: &Completed) -> u32 {
    completed.claim.row.tries + u32::from(completed.claim.kind == RequestKind::Commit)
}

fn next_due(completed: &Completed, now: UnixMillis) -> Option<String> {
    let change = completed.change.as_ref().filter(|change| change.to.is_open())?;
    Some(now.plus(change.due_in).to_string())
}

fn message(completed: &Completed, event: LogEvent, now: UnixMillis) -> String {
    let Completed { claim, outcome, .. } = completed;
    let id = &claim.certificate_id;
    let reason = cause_of(completed).map_or_else(|| "the row stays as it is".to_owned(), ToString::to_string);
    let code = outcome.error.as_ref().map(|error| format!("{}: ", error.code)).unwrap_or_default();
    let at = next_due(completed, now).map(|at| format!(" (due {at})")).unwrap_or_default();
    if event == LogEvent::Submitted {
        let how = match claim.kind {
            RequestKind::Commit => format!("try {}", number_of_try(completed)),
            RequestKind::Readback => "by readback".to_owned(),
        };
        return format!("submitted {id}: {}, {how}", outcome.describe());
    }
    let name = event.as_str().replace('_', " ");
    // A readback that shows the certificate is no error.
    let code = if event == LogEvent::Verified { String::new() } else { code };
    let waits_for_people = matches!(event, LogEvent::Held | LogEvent::Failed);
    let todo =
        cause_of(completed).filter(|_| waits_for_people).map(|cause| format!(". To do: {}", cause.remedy(id.as_str())));
    format!("{name} {id}: {code}{reason}{at}{}", todo.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{claim, completed, context};
    use super::*;
    use crate::cause::ApiError;
    use crate::submission::{Event, Outcome, next_state};

    use RequestKind::{Commit, Readback};

    /// A request of this kind that ended like this.
    fn ended(kind: RequestKind, outcome: Outcome) -> Completed {
        let (claim, context) = (claim(kind, 1), context());
        let change = next_state(&claim.row, kind, &Event::Ended(outcome.clone()), &context.policy, context.dice);
        Completed { claim, outcome, change, ..completed(1) }
    }

    fn refused(class: OutcomeClass) -> Outcome {
        Outcome::refused(class, ApiError::new("A.B", "no", None))
    }

    fn shown(order: Option<&str>, status: i64) -> Outcome {
        Outcome::shown(order.map(str::to_owned), Some(status), None)
    }

    #[test]
    fn every_end_of_a_request_has_its_event() {
        for (kind, outcome, expected) in [
            (Commit, Outcome::submitted("SO1".into(), 8, None), LogEvent::Submitted),
            (Commit, refused(OutcomeClass::Failed), LogEvent::Failed),
            (Commit, refused(OutcomeClass::Denied), LogEvent::Failed),
            (Commit, refused(OutcomeClass::Throttled), LogEvent::Throttled),
            (Commit, refused(OutcomeClass::StatusRefused), LogEvent::InDoubt),
            (Commit, Outcome::unknown(Commit, "cut".into()), LogEvent::InDoubt),
            (Commit, refused(OutcomeClass::Retry), LogEvent::Retrying),
            (Commit, refused(OutcomeClass::Account), LogEvent::Retrying),
            (Commit, Outcome::not_sent("refused".into()), LogEvent::Retrying),
            (Readback, shown(Some("SO1"), 8), LogEvent::Submitted),
            (Readback, shown(None, 13), LogEvent::Verified),
            (Readback, shown(None, 99), LogEvent::Held),
            (Readback, refused(OutcomeClass::Throttled), LogEvent::Throttled),
            (Readback, refused(OutcomeClass::Denied), LogEvent::InDoubt),
            (Readback, Outcome::unknown(Readback, "cut".into()), LogEvent::InDoubt),
        ] {
            let completed = ended(kind, outcome);
            assert_eq!(event(&completed), expected, "{completed:?}");
        }
    }

    #[test]
    fn a_line_says_what_happened_to_which_certificate_and_what_comes_next() {
        let now = context().now.unix;
        let line = |kind, outcome| {
            let completed = ended(kind, outcome);
            message(&completed, event(&completed), now)
        };
        let status = "status 8 (information submitted, pending confirmation letter upload)";
        let submitted = Outcome::submitted("SO1".into(), 8, None);
        assert_eq!(line(Commit, submitted), format!("submitted c1: order SO1, {status}, try 1"));
        assert_eq!(line(Readback, shown(Some("SO1"), 8)), format!("submitted c1: order SO1, {status}, by readback"));
        let failed = line(Commit, refused(OutcomeClass::Failed));
        let todo = "To do: remove the cause that the error names; then: certcommit retry c1";
        assert_eq!(failed, format!("failed c1: A.B: the server refused it; nothing was placed. {todo}"));
        let held = line(Readback, shown(None, 99));
        assert!(held.contains(". To do: look the certificate up in the Tencent Cloud console"), "{held}");
        let throttled = line(Commit, refused(OutcomeClass::Throttled));
        assert_eq!(throttled, format!("throttled c1: A.B: the server limits the rate; not executed (due {now})"));
    }
}
