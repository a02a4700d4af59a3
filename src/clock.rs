//! The only place that reads the time; everything else takes it as an argument.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// One reading of both clocks.
///
/// The wall clock may step; it is for signatures, due times and records. The monotonic clock never steps; it is for the
/// limiter, settling and timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub unix: UnixMillis,
    /// The monotonic clock.
    pub instant: Instant,
}

impl Now {
    /// What the wall clock shows at another instant, if it doesn't step in between.
    #[must_use]
    pub fn at(self, instant: Instant) -> UnixMillis {
        let (before, after) = (self.instant - instant.min(self.instant), instant - self.instant.min(instant));
        UnixMillis(self.unix.0.saturating_sub(millis(before)).saturating_add(millis(after)))
    }
}

/// Reads both clocks.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the time is read")]
pub fn now() -> Now {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { unix: UnixMillis::from_duration(since_epoch), instant: Instant::now() }
}

/// A point in time: milliseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The time this long after the epoch.
    #[must_use]
    pub fn from_duration(since_epoch: Duration) -> Self {
        Self(millis(since_epoch))
    }

    /// The time so many whole seconds after the epoch.
    #[must_use]
    pub fn of_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole seconds since the epoch, rounded up, so that nothing is due too early.
    #[must_use]
    pub fn seconds_rounded_up(self) -> i64 {
        self.0.saturating_add(999).div_euclid(1000)
    }

    /// How long after another time this is; zero, if it is before it.
    #[must_use]
    pub fn since(self, before: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(before.0)).unwrap_or_default())
    }

    /// This time plus a duration.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(millis(after)))
    }
}

impl fmt::Display for UnixMillis {
    /// ISO 8601 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.seconds()) {
            Ok(at) => write!(f, "{at}"),
            Err(_) => write!(f, "{} ms after 1970", self.0),
        }
    }
}

/// Reads a time in unix seconds, or in ISO 8601 with a zone. Returns unix seconds.
///
/// # Errors
/// When it is neither.
pub fn parse_seconds(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).map_err(|error| error.to_string())
}

/// A duration in whole milliseconds, as the database stores it.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A duration for people: its two largest units, such as `10 min 2 s`.
#[must_use]
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, min, s) => format!("{min} min {s} s"),
        (0, h, min, _) => format!("{h} h {min} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_its_two_largest_units() {
        let texts = [0, 59, 61, 3_600, 7_325, 90_000].map(|seconds| rough(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0 s", "59 s", "1 min 1 s", "1 h 0 min", "2 h 2 min", "1 d 1 h"]);
    }

    #[test]
    fn a_due_time_is_rounded_up_and_a_timestamp_down() {
        let at = UnixMillis(1_551_113_065_001);
        assert_eq!((at.seconds(), at.seconds_rounded_up()), (1_551_113_065, 1_551_113_066));
        assert_eq!(UnixMillis(2000).seconds_rounded_up(), 2);
    }

    #[test]
    fn a_time_is_shown_in_iso_8601() {
        assert_eq!(UnixMillis(1_551_113_065_900).to_string(), "2019-02-25T16:44:25Z");
    }

    #[test]
    fn a_time_is_read_in_unix_seconds_and_in_iso_8601_with_a_zone() {
        assert_eq!(["-7", "2019-02-25T17:44:25+01:00"].map(parse_seconds), [Ok(-7), Ok(1_551_113_065)]);
        assert!(["", "2019-02-25", "2019-02-25T16:44:25"].into_iter().all(|text| parse_seconds(text).is_err()));
    }

    #[test]
    fn a_time_counts_from_the_epoch_and_moves_by_durations() {
        assert_eq!(UnixMillis::from_duration(Duration::from_secs(7)), UnixMillis(7000));
        assert_eq!(UnixMillis(7000).plus(Duration::from_millis(1500)), UnixMillis(8500));
        assert_eq!(UnixMillis(i64::MAX).plus(Duration::from_secs(1)), UnixMillis(i64::MAX));
        assert_eq!(millis(Duration::from_micros(2_999)), 2);
        assert_eq!(millis(Duration::MAX), i64::MAX);
    }
}
