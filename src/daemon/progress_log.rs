//! The `progress` lines of the log.

use std::time::Duration;

use tokio::time::Instant;

use crate::cause::Incident;
use crate::clock::Now;
use crate::logging::LogEvent;
use crate::queue::{Counts, Paces};
use crate::submission::State;

/// When the next line is due, and since when it counts.
#[derive(Debug)]
pub(super) struct ProgressLog {
    interval: Duration,
    due: Instant,
    /// How many were submitted at the last line, or at the first batch.
    submitted_before: Option<i64>,
}

impl ProgressLog {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, due: now + interval, submitted_before: None }
    }

    /// Applies another interval.
    pub(super) fn set(&mut self, interval: Duration, now: Instant) {
        self.interval = interval;
        self.due = self.due.min(now + interval);
    }

    /// Whether the next line is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// A batch found these counts: what was submitted before the first one isn't progress of this run.
    pub(super) fn counted(&mut self, counts: &Counts) {
        self.submitted_before.get_or_insert(counts.of(State::Submitted));
    }

    /// Logs the line, if anything is open. `oldest_open` is when the oldest open submission was created, in unix seconds.
    /// During an incident, no time left is promised.
    pub(super) fn log(
        &mut self,
        counts: &Counts,
        paces: Paces,
        oldest_open: Option<i64>,
        incident: Option<&Incident>,
        now: Now,
    ) {
        // The batch ends a little after the line was due.
        let elapsed = self.interval + now.instant.saturating_duration_since(self.due);
        self.due = now.instant + self.interval;
        let submitted = counts.of(State::Submitted);
        let done = submitted - self.submitted_before.replace(submitted).unwrap_or(submitted);
        if counts.open() == 0 {
            return;
        }
        let per_second = f64::from(u32::try_from(done).unwrap_or(0)) / elapsed.as_secs_f64();
        let left = incident.is_none().then(|| counts.time_left(paces).as_secs());
        let longer = if counts.of(State::InDoubt) > 0 { "; what is in doubt may take longer" } else { "" };
        let outlook = match (left, incident) {
            (_, Some(incident)) => incident.to_string(),
            (left, None) => format!("about {} s left{longer}", left.unwrap_or_default()),
        };
        let [pending, in_flight, in_doubt, failed, held] =
            [State::Pending, State::InFlight, State::InDoubt, State::Failed, State::Held].map(|state| counts.of(state));
        tracing::info!(
            event = LogEvent::Progress.as_str(),
            pending,
            in_flight,
            in_doubt,
            submitted,
            failed,
            held,
            per_second,
            pace = paces.commits,
            left_s = left,
            oldest_s = oldest_open.map(|created| (now.unix.seconds() - created).max(0)),
            "progress: {pending} pending, {in_flight} in flight, {in_doubt} in doubt, {submitted} submitted, {failed} \
             failed, {held} held; {per_second:.1}/s; {outlook}",
        );
    }
}
