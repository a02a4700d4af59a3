//! Detects steps of the wall clock by comparing it with the monotonic clock, and rounds of the event loop that came too late.

use std::time::Duration;

use crate::clock::{Now, rough};

/// A disciplined clock drifts less than this between two looks; a larger difference means that it was set.
const NOTEWORTHY: Duration = Duration::from_secs(2);

/// The event loop comes round every ten seconds at least. If it doesn't for this long, the whole process stood still.
const STALLED: Duration = Duration::from_secs(20);

/// The watch.
#[derive(Debug)]
pub(super) struct ClockWatch {
    last: Now,
}

/// How far the wall clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockStep {
    Back(Duration),
    /// Or the machine slept, which stops the monotonic clock.
    Forward(Duration),
}

impl ClockWatch {
    pub(super) fn new(now: Now) -> Self {
        Self { last: now }
    }

    /// Logs and returns how far the wall clock was set since the last look, if it was. Logs if that was long ago.
    pub(super) fn look(&mut self, now: Now) -> Option<ClockStep> {
        let passed = now.instant.saturating_duration_since(self.last.instant);
        if let Some(stall) = describe_stall(passed) {
            tracing::warn!("{stall}");
        }
        let expected = self.last.unix.plus(passed);
        self.last = now;
        let ahead = now.unix.0.saturating_sub(expected.0);
        let amount = Duration::from_millis(ahead.unsigned_abs());
        if amount < NOTEWORTHY {
            return None;
        }
        let step = if ahead < 0 { ClockStep::Back(amount) } else { ClockStep::Forward(amount) };
        tracing::warn!("{}", step.describe());
        Some(step)
    }
}

/// The sentence for the log, if the process stood still for this long.
fn describe_stall(passed: Duration) -> Option<String> {
    (passed >= STALLED).then(|| {
        format!(
            "this process did nothing for {}: a signal (SIGSTOP) or a debugger had stopped it, or the machine was overloaded. \
             Requests whose replies came too late are read back",
            rough(passed)
        )
    })
}

impl ClockStep {
    /// The sentence for the log.
    fn describe(self) -> String {
        match self {
            Self::Back(amount) => format!(
                "this machine's clock was set back by {}. Waits last as long as they would have; what people set to be \
                 due at a time waits for that time; limits keep",
                rough(amount)
            ),
            Self::Forward(amount) => format!(
                "this machine's clock was set forward by {}, or the machine slept. What is due by the new time goes now; \
                 limits keep, and what is in doubt waits as long as before",
                rough(amount)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixMillis, now};

    fn later(now: Now, wall: i64, monotonic: u64) -> Now {
        Now { unix: UnixMillis(now.unix.0 + wall), instant: now.instant + Duration::from_millis(monotonic) }
    }

    #[test]
    fn a_clock_that_is_nudged_by_less_than_two_seconds_was_not_set() {
        let mut at = now();
        let mut watch = ClockWatch::new(at);
        for nudge in [0, 500, -500, 1_999, -1_999] {
            at = later(at, 100 + nudge, 100);
            assert_eq!(watch.look(at), None, "{nudge}");
        }
    }

    #[test]
    fn a_process_that_did_nothing_for_longer_than_a_round_of_the_loop_stood_still() {
        assert_eq!(describe_stall(Duration::from_secs(10)), None);
        let stall = describe_stall(Duration::from_secs(75)).unwrap();
        assert!(stall.starts_with("this process did nothing for 1 min 15 s: "), "{stall}");
    }

    #[test]
    fn a_step_is_reported_once_with_its_direction() {
        let at = now();
        let mut watch = ClockWatch::new(at);
        let back = later(at, 100 - 10_800_000, 100);
        assert_eq!(watch.look(back), Some(ClockStep::Back(Duration::from_secs(10_800))));
        assert_eq!(watch.look(later(back, 50, 50)), None);
        let forward = later(back, 3_600_050, 50);
        assert_eq!(watch.look(forward), Some(ClockStep::Forward(Duration::from_secs(3_600))));
    }
}
