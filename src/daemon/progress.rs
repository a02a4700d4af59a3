//! The log's `progress`: how far the queue is.

use tokio::time::Instant;

use super::worker::Worker;
use crate::clock::Now;
use crate::logging::LogEvent;
use crate::queue::Paces;
use crate::submission::State;

/// When the log tells the progress next, and since when.
#[derive(Debug)]
pub(super) struct ProgressLog {
    pub(super) due: Instant,
    /// How many were submitted when it last told, or at the first turn.
    pub(super) submitted_before: Option<i64>,
}

impl ProgressLog {
    pub(super) fn new(due: Instant) -> Self {
        Self { due, submitted_before: None }
    }
}

impl Worker {
    /// Requests that it allows itself in a second at present.
    pub(super) fn paces(&self) -> Paces {
        Paces { commits: self.commits.limiter.pace(), reads: self.reads.limiter.pace() }
    }

    pub(super) fn log_progress(&mut self, oldest_open: Option<i64>, now: Now) {
        let interval = self.settings.log.progress_interval;
        // The turn that tells it comes a little later than the interval says.
        let elapsed = interval + now.instant.saturating_duration_since(self.progress.due);
        self.progress.due = now.instant + interval;
        let submitted = self.counts.of(State::Submitted);
        let done = submitted - self.progress.submitted_before.replace(submitted).unwrap_or(submitted);
        if self.counts.open() == 0 {
            return;
        }
        let per_second = f64::from(u32::try_from(done).unwrap_or(0)) / elapsed.as_secs_f64();
        let pace = self.commits.limiter.pace();
        let left = self.counts.time_left(self.paces()).as_secs();
        let oldest_s = oldest_open.map(|created| (now.unix.seconds() - created).max(0));
        tracing::info!(
            event = LogEvent::Progress.as_str(),
            pending = self.counts.of(State::Pending),
            in_flight = self.counts.of(State::InFlight),
            in_doubt = self.counts.of(State::InDoubt),
            submitted,
            failed = self.counts.of(State::Failed),
            held = self.counts.of(State::Held),
            per_second,
            pace,
            left_s = left,
            oldest_s,
            "progress: {} pending, {} in flight, {} in doubt, {submitted} submitted, {} failed, {} held; \
             {per_second:.1}/s, about {left} s left",
            self.counts.of(State::Pending),
            self.counts.of(State::InFlight),
            self.counts.of(State::InDoubt),
            self.counts.of(State::Failed),
            self.counts.of(State::Held),
        );
    }
}
