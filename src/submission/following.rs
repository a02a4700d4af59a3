//! When a certificate whose order stands is looked at again. Pure.

use std::time::Duration;

/// The wait is this part of the time in which nothing changed.
const PART: u32 = 8;
/// At least so often.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to wait before the next look, if the status hasn't changed for so long: an eighth of that, but at least the
/// configured interval and at most a day.
#[must_use]
pub fn next_look(interval: Duration, unchanged_for: Duration) -> Duration {
    (unchanged_for / PART).max(interval).min(LONGEST.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_from_the_interval_to_a_day() {
        const MINUTE: Duration = Duration::from_secs(60);
        for (unchanged_for, expected) in [(0, 10), (60, 10), (80, 10), (160, 20), (1_600, 200), (100_000, 1_440)] {
            assert_eq!(next_look(10 * MINUTE, unchanged_for * MINUTE), expected * MINUTE, "{unchanged_for}");
        }
        assert_eq!(next_look(2_000 * MINUTE, Duration::ZERO), 2_000 * MINUTE, "an interval of more than a day is kept");
    }
}
