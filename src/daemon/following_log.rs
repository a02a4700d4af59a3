//! The log lines about followed orders.

use std::borrow::Cow;
use std::time::Duration;

use crate::clock::rough;
use crate::logging::LogEvent;
use crate::queue::{Followed, Look, QueueError};
use crate::submission::{CertificateStatus, Outcome, OutcomeClass};

/// Why the orders can't be followed at present.
#[derive(Debug, Clone, Copy)]
pub(super) enum FollowFailure<'a> {
    /// The database.
    Database(&'a QueueError),
    /// The API, or the way there.
    Api(&'a Outcome),
}

/// Logs each certificate whose status has changed.
pub(super) fn log_changes(due: &[Followed], looks: &[Look]) {
    tracing::debug!(count = looks.len(), "looked at {} orders", looks.len());
    for (before, look) in due.iter().zip(looks) {
        let Some(status) = look.status.filter(|status| before.status != Some(*status)) else { continue };
        let was = before.status.map(|status| format!(" (was {})", words(status))).unwrap_or_default();
        let order = before.order_id.as_ref().map(|order| format!("order {order} ")).unwrap_or_default();
        let says = look.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        tracing::info!(
            event = LogEvent::StatusChanged.as_str(),
            certificate_id = %before.certificate_id,
            order_id = before.order_id.as_deref(),
            status,
            previous_status = before.status,
            status_message = look.message.as_deref(),
            "certificate {}: {order}is {}{was}{says}",
            before.certificate_id,
            words(status),
        );
    }
}

/// A status, in words.
fn words(status: i64) -> String {
    match CertificateStatus::of_code(status) {
        Some(known) => format!("{} ({status})", known.text),
        None => format!("in a status that isn't documented ({status})"),
    }
}

/// Logs that the orders can't be followed, and when that is tried again.
pub(super) fn log_failure(failure: FollowFailure<'_>, retry_in: Duration) {
    let (why, error, request_id) = match failure {
        FollowFailure::Database(error) => (error.to_string(), None, None),
        FollowFailure::Api(outcome) => {
            (outcome.why().to_string(), outcome.error.as_ref(), outcome.request_id.as_deref())
        }
    };
    tracing::warn!(
        event = LogEvent::FollowFailed.as_str(),
        why,
        request_id,
        error_code = error.map(|error| error.code.as_str()),
        probe_in_s = retry_in.as_secs(),
        "the statuses of the orders can't be read: {why}. Commits go on, and this is tried again in {}. To do: {}",
        rough(retry_in),
        remedy(failure),
    );
}

fn remedy(failure: FollowFailure<'_>) -> Cow<'static, str> {
    const WAIT: Cow<'static, str> =
        Cow::Borrowed("nothing, unless it lasts; then check with: certcommit check --online");
    let outcome = match failure {
        FollowFailure::Database(error) => return error.remedy().unwrap_or(WAIT),
        FollowFailure::Api(outcome) => outcome,
    };
    if outcome.class == OutcomeClass::Denied {
        "grant these keys ssl:DescribeCertificates, or set follow.interval to \"off\"".into()
    } else if outcome.class == OutcomeClass::Account {
        "mend what the API says about the account or its keys".into()
    } else {
        WAIT
    }
}

/// Logs that they can be followed again.
pub(super) fn log_recovery(after: Duration) {
    tracing::info!("the statuses of the orders can be read again, after {}", rough(after));
}
