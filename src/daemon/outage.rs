//! An outage of the database: nothing is sent, results are kept, and the database is tried again every second.

use std::time::Duration;

use tokio::time::Instant;

use crate::cause::Cause;
use crate::logging::LogEvent;
use crate::queue::QueueError;

/// After an error, the database is tried again this much later.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// While the database is unavailable, the log says so this often.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// An outage.
#[derive(Debug)]
pub(super) struct Outage {
    cause: Cause,
    since: Instant,
    retry_at: Instant,
    remind_at: Instant,
}

impl Outage {
    /// The outage that this error begins, or continues.
    pub(super) fn after(error: &QueueError, previous: Option<&Self>, now: Instant) -> Self {
        let (since, remind_at) = previous.map_or((now, now), |outage| (outage.since, outage.remind_at));
        Self { cause: Cause::from(error), since, retry_at: now + RETRY_AFTER, remind_at }
    }

    /// The last error.
    pub(super) fn cause(&self) -> &Cause {
        &self.cause
    }

    /// When to try the database again.
    pub(super) fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// Logs the outage when it begins, and then once a minute.
    pub(super) fn log_if_due(&mut self, results_in_hand: usize, on_the_way: usize, now: Instant) {
        if now < self.remind_at {
            return;
        }
        self.remind_at = now + REMIND_EVERY;
        tracing::error!(
            event = LogEvent::DatabaseUnavailable.as_str(),
            cause = self.cause.code(),
            results_in_hand,
            on_the_way,
            "{}. Nothing more is sent; results are kept and written as soon as it works again. To do: {}",
            self.cause,
            self.cause.remedy(),
        );
    }

    /// Logs that the outage is over.
    pub(super) fn log_end(&self, results_written: usize, now: Instant) {
        let seconds = now.duration_since(self.since).as_secs();
        tracing::info!(
            event = LogEvent::Resumed.as_str(),
            cause = self.cause.code(),
            results_written,
            "the database works again, after {seconds} s; {results_written} results that were kept are written",
        );
    }
}
