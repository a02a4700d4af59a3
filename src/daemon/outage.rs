//! An outage of the database: nothing is sent, results are kept, and the database is tried again every second.

use std::time::Duration;

use tokio::time::Instant;

use crate::cause::{Cause, Incident};
use crate::clock::Now;
use crate::logging::LogEvent;
use crate::queue::QueueError;

/// After an error, the database is tried again this much later.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// While the database is unavailable, the log repeats that after this long; the wait doubles each time.
const FIRST_REMINDER: Duration = Duration::from_secs(60);
const LONGEST_REMINDER: Duration = Duration::from_secs(900);

/// An outage.
#[derive(Debug)]
pub(super) struct Outage {
    cause: Cause,
    since: Instant,
    retry_at: Instant,
    /// When to log it, and the wait after that.
    reminder: (Instant, Duration),
}

impl Outage {
    /// The outage that this error begins, or continues.
    pub(super) fn after(error: &QueueError, previous: Option<&Self>, now: Instant) -> Self {
        let (since, reminder) = previous.map_or((now, (now, FIRST_REMINDER)), |outage| (outage.since, outage.reminder));
        Self { cause: Cause::from(error), since, retry_at: now + RETRY_AFTER, reminder }
    }

    /// The last error, and since when.
    pub(super) fn incident(&self, now: Now) -> Incident {
        Incident::new(self.cause.clone(), Some(now.at(self.since)))
    }

    /// When to try the database again.
    pub(super) fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// Logs the outage when it begins, and then at growing intervals.
    pub(super) fn log_if_due(&mut self, results_in_hand: usize, on_the_way: usize, now: Now) {
        let (at, wait) = self.reminder;
        if now.instant < at {
            return;
        }
        self.reminder = (now.instant + wait, (wait * 2).min(LONGEST_REMINDER));
        tracing::error!(
            event = LogEvent::DatabaseUnavailable.as_str(),
            cause = self.cause.code(),
            results_in_hand,
            on_the_way,
            "{}. Nothing more is sent; {results_in_hand} results are kept in memory and written as soon as it works again, so don't \
             kill certcommit. To do: {}",
            self.incident(now),
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
