//! When old requests are pruned: in small steps with the batches, one pass a day.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Now, UnixMillis, millis, rough};
use crate::queue::{PruneStep, Pruned};

/// Between two steps of a pass.
const STEP_EVERY: Duration = Duration::from_secs(1);
/// Between two passes.
const PASS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The progress of a pass.
#[derive(Debug)]
pub(super) struct Pruning {
    /// The age from which requests are pruned; none: they are kept.
    keep: Option<Duration>,
    after: i64,
    deleted: u64,
    next_at: Instant,
}

impl Pruning {
    pub(super) fn new(keep: Option<Duration>, now: Instant) -> Self {
        Self { keep, after: 0, deleted: 0, next_at: now + STEP_EVERY }
    }

    /// Applies another age.
    pub(super) fn set(&mut self, keep: Option<Duration>, now: Instant) {
        if keep != self.keep {
            *self = Self::new(keep, now);
        }
    }

    /// The step that is due, if one is.
    pub(super) fn due(&self, now: Now) -> Option<PruneStep> {
        let keep = self.keep.filter(|_| now.instant >= self.next_at)?;
        Some(PruneStep { before: UnixMillis(now.unix.0.saturating_sub(millis(keep))), after: self.after })
    }

    /// A step was done.
    pub(super) fn after(&mut self, pruned: Pruned, now: Instant) {
        self.deleted += pruned.deleted;
        if let Some(up_to) = pruned.up_to {
            self.after = up_to;
            self.next_at = now + STEP_EVERY;
            return;
        }
        if self.deleted > 0 {
            let (deleted, keep) = (self.deleted, rough(self.keep.unwrap_or_default()));
            tracing::info!(deleted, "pruned {deleted} requests that are older than {keep} and that nothing hangs on");
        }
        (self.after, self.deleted, self.next_at) = (0, 0, now + PASS_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn later(now: Now, by: Duration) -> Now {
        Now { unix: now.unix.plus(by), instant: now.instant + by }
    }

    #[test]
    fn without_an_age_nothing_is_pruned() {
        let now = clock::now();
        assert_eq!(Pruning::new(None, now.instant).due(later(now, DAY)), None);
    }

    #[test]
    fn another_age_begins_another_pass() {
        let start = clock::now();
        let mut pruning = Pruning::new(Some(90 * DAY), start.instant);
        pruning.after(Pruned { deleted: 0, up_to: None }, start.instant);
        pruning.set(Some(90 * DAY), start.instant);
        assert_eq!(pruning.due(later(start, STEP_EVERY)), None, "nothing has changed");
        pruning.set(Some(30 * DAY), start.instant);
        assert!(pruning.due(later(start, STEP_EVERY)).is_some());
        pruning.set(None, start.instant);
        assert_eq!(pruning.due(later(start, 2 * DAY)), None);
    }

    #[test]
    fn a_pass_goes_on_step_by_step_and_begins_anew_a_day_after_its_end() {
        let start = clock::now();
        let mut pruning = Pruning::new(Some(90 * DAY), start.instant);
        assert_eq!(pruning.due(start), None);
        let now = later(start, STEP_EVERY);
        let before = UnixMillis(now.unix.0 - millis(90 * DAY));
        assert_eq!(pruning.due(now), Some(PruneStep { before, after: 0 }));
        pruning.after(Pruned { deleted: 3, up_to: Some(500) }, now.instant);
        assert_eq!(pruning.due(now), None, "one step a second");
        let now = later(now, STEP_EVERY);
        assert_eq!(pruning.due(now).map(|step| step.after), Some(500));
        pruning.after(Pruned { deleted: 0, up_to: None }, now.instant);
        assert_eq!(pruning.due(later(now, DAY - STEP_EVERY)), None);
        assert_eq!(pruning.due(later(now, DAY)).map(|step| step.after), Some(0));
    }
}
