//! The pace: how it gives way when the server limits the rate below our cap, and finds its way back.
//!
//! The curve is CUBIC's (RFC 9438), as in the adaptive mode of the AWS SDKs: down a little at once, back up
//! to the level of the trouble within [`PLATEAU`], slowly there, since the true limit is near; then faster and
//! faster, since it must have risen. So a lower limit costs few refusals, and the way back from 3/s to 20/s
//! takes a minute or two.
//!
//! A refusal that follows another one, with nothing granted in between, says that the true limit is far off: the
//! pace halves with each of them. It rises again only once something was granted, and then to the level at which
//! the refusals began. So a storm costs few requests, and leaves no slow start behind.

use std::time::Duration;

use tokio::time::Instant;

/// What remains of the pace after a refusal.
const BACK_OFF: f64 = 0.9;
/// What remains of it after each further refusal while nothing is granted.
const BACK_OFF_AGAIN: f64 = 0.5;
/// From the first grant after a refusal until the pace is back where it came from.
const PLATEAU: Duration = Duration::from_secs(30);
/// How fast the pace grows beyond that level: by this part of it in the first [`PLATEAU`], and with the third power
/// of the time.
const GROWTH: f64 = 0.5;
/// The slowest pace: it must still find out when the limit rises. To ask more seldom is the matter of pauses.
const FLOOR: f64 = 0.5;

/// The pace, in requests a second.
#[derive(Debug)]
pub(super) struct Pace {
    cap: f64,
    trouble: Option<Trouble>,
}

/// The last refusals that counted, with nothing granted between them.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// The pace when they began.
    level: f64,
    /// What they left of it.
    bottom: f64,
    refused_at: Instant,
    /// When something was granted again.
    granted_at: Option<Instant>,
}

impl Pace {
    pub(super) fn new(cap: f64) -> Self {
        Self { cap, trouble: None }
    }

    /// Sets another cap; what was learnt of the server's own limit stays.
    pub(super) fn set_cap(&mut self, cap: f64) {
        self.cap = cap;
    }

    /// Whether nothing holds the pace below its cap.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.at(now) >= self.cap
    }

    /// The pace at `now`.
    pub(super) fn at(&self, now: Instant) -> f64 {
        let Some(Trouble { level, bottom, granted_at, .. }) = self.trouble else {
            return self.cap;
        };
        let Some(granted_at) = granted_at else {
            return bottom.min(self.cap);
        };
        let since = now.saturating_duration_since(granted_at).as_secs_f64() / PLATEAU.as_secs_f64();
        let (from_level, steepness) = (since - 1.0, if since < 1.0 { level - bottom } else { GROWTH * level });
        (level + steepness * from_level.powi(3)).clamp(self.floor(), self.cap)
    }

    /// A request that was sent at `sent` was refused for its rate. Requests that were on the way when the pace
    /// last went down say nothing new.
    pub(super) fn throttled(&mut self, sent: Instant, now: Instant) {
        let (level, bottom) = match self.trouble {
            Some(Trouble { refused_at, .. }) if sent < refused_at => return,
            Some(Trouble { level, bottom, granted_at: None, .. }) => (level, bottom * BACK_OFF_AGAIN),
            Some(_) | None => (self.at(now), self.at(now) * BACK_OFF),
        };
        let bottom = bottom.max(self.floor());
        self.trouble = Some(Trouble { level, bottom, refused_at: now, granted_at: None });
    }

    /// A request that was sent at `sent` was not refused for its rate.
    pub(super) fn granted(&mut self, sent: Instant, now: Instant) {
        if let Some(trouble) = &mut self.trouble
            && trouble.granted_at.is_none()
            && sent >= trouble.refused_at
        {
            trouble.granted_at = Some(now);
        }
    }

    fn floor(&self) -> f64 {
        FLOOR.min(self.cap)
    }
}
