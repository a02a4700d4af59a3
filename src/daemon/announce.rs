//! The one log line at the end of every request.

use tracing::Level;

use crate::clock::{Now, millis};
use crate::logging::LogEvent;
use crate::queue::{Claim, Finished};
use crate::submission::{Change, Reading, State};

/// What the line tells.
pub(super) struct Line<'a> {
    pub(super) event: LogEvent,
    pub(super) claim: &'a Claim,
    pub(super) finished: &'a Finished,
    pub(super) change: Option<&'a Change>,
    pub(super) now: Now,
}

/// Logs at the level of the event. The fields are the same at every level.
macro_rules! log {
    ($level:expr, $($fields:tt)*) => {
        match $level {
            Level::ERROR => tracing::error!($($fields)*),
            Level::WARN => tracing::warn!($($fields)*),
            _ => tracing::info!($($fields)*),
        }
    };
}

pub(super) fn announce(line: &Line<'_>) {
    let Line { event, claim, finished, change, .. } = line;
    let error_code = finished.error_code.as_deref();
    let next_due = line.next_due();
    log!(
        event.level(),
        event = event.as_str(),
        certificate_id = claim.certificate_id.as_str(),
        state = change.map(|change| change.to.as_str()),
        r#try = line.number_of_try(),
        outcome = finished.outcome,
        order_id = finished.order_id.as_deref(),
        status = finished.status,
        request_id = finished.request_id.as_deref(),
        error_code,
        error_message = change.and_then(|change| change.error.as_ref()).map(|(_, message)| message.as_str()),
        http_status = finished.http_status,
        duration_ms = millis(finished.duration),
        next_due,
        "{}",
        line.message()
    );
}

impl Line<'_> {
    fn is_commit(&self) -> bool {
        self.claim.row.state == State::InFlight
    }

    /// The number of the commit that this line is about: a read belongs to the last one.
    fn number_of_try(&self) -> u32 {
        self.claim.row.tries + u32::from(self.is_commit())
    }

    fn next_due(&self) -> Option<String> {
        let change = self.change.filter(|change| change.to.is_open())?;
        Some(self.now.unix.plus(change.due_in).to_string())
    }

    fn message(&self) -> String {
        let id = &self.claim.certificate_id;
        let reason = self.change.and_then(|change| change.reason.as_deref()).unwrap_or("the row stays as it is");
        let code = self.finished.error_code.as_deref();
        let code = code.map(|code| format!("{code}: ")).unwrap_or_default();
        let at = self.next_due().map(|at| format!(" (due {at})")).unwrap_or_default();
        match self.event {
            LogEvent::Submitted => format!("submitted {id}: {}", self.result()),
            LogEvent::Failed => format!("failed {id}: {code}{reason}"),
            LogEvent::Held => format!("held {id}: {reason}; decide with: certcommit resolve {id}"),
            LogEvent::InDoubt => format!("in doubt {id}: {code}{reason}{at}"),
            LogEvent::Verified => format!("verified {id}: {reason}{at}"),
            LogEvent::Throttled => format!("throttled {id}: {code}{reason}{at}"),
            LogEvent::Retrying
            | LogEvent::Started
            | LogEvent::Ready
            | LogEvent::Paused
            | LogEvent::Resumed
            | LogEvent::VerifyPaused
            | LogEvent::Progress
            | LogEvent::DatabaseUnavailable
            | LogEvent::WriteRefused
            | LogEvent::Reloaded
            | LogEvent::Stopping
            | LogEvent::Stopped => format!("retrying {id}: {code}{reason}{at}"),
        }
    }

    fn result(&self) -> String {
        let reading =
            Reading { order_id: self.finished.order_id.clone(), status: self.finished.status, request_id: None };
        if self.is_commit() {
            return format!("{}, try {}", reading.describe(), self.number_of_try());
        }
        format!("{}, by reading it back", reading.describe())
    }
}
