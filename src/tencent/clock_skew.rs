//! How far this machine's clock is off, by a reply's `Date` header. It is for messages only: when the API refuses a
//! signature as expired, the message says how wrong the clock is.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::UnixMillis;

/// This machine's clock minus the API's, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSkew(i64);

impl ClockSkew {
    /// From a `Date` header and our time when it arrived; `None` if the header isn't a date.
    pub(crate) fn from_date(date: &str, ours: UnixMillis) -> Option<Self> {
        let theirs = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self(ours.seconds() - UnixMillis::from_duration(theirs).seconds()))
    }

    /// How many seconds our clock is ahead of the API's; negative if it is behind.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for ClockSkew {
    /// `10 min 2 s behind the API's`, for instance.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = Duration::from_secs(self.0.unsigned_abs());
        let side = if self.0 < 0 { "behind" } else { "ahead of" };
        write!(f, "{} {side} the API's", crate::clock::rough(amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Mon, 25 Feb 2019 16:44:25 GMT";
    const THEIRS: i64 = 1_551_113_065_000;

    #[test]
    fn a_date_header_shows_how_far_our_clock_is_off() {
        let skew = |ours| ClockSkew::from_date(DATE, UnixMillis(ours)).unwrap();
        assert_eq!(skew(THEIRS + 999).seconds(), 0);
        assert_eq!(skew(THEIRS - 602_000).to_string(), "10 min 2 s behind the API's");
        assert_eq!(skew(THEIRS + 45_000).to_string(), "45 s ahead of the API's");
        assert_eq!(skew(0).to_string(), "17952 d 16 h behind the API's");
    }

    #[test]
    fn an_invalid_date_gives_no_skew() {
        for text in ["", "yesterday", "Mon, 25 Feb 2019", "Thu, 01 Jan 1601 00:00:00 GMT"] {
            assert_eq!(ClockSkew::from_date(text, UnixMillis(THEIRS)), None, "{text}");
        }
    }
}
