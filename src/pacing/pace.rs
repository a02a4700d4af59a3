//! The pace: how it gives way when the server limits the rate below our cap, and finds its way back.
//!
//! The curve is CUBIC's (RFC 9438), as in the adaptive mode of the AWS SDKs: down by a fifth at once, back up
//! to the level of the trouble within [`PLATEAU`], slowly there, since the true limit is near; then faster and
//! faster, since it must have risen. So a lower limit costs few refusals, and the way back from 3/s to 20/s
//! takes about a minute.

use std::time::Duration;

use tokio::time::Instant;

/// What remains of the pace after a refusal.
const BACK_OFF: f64 = 0.8;
/// From a refusal until the pace is back where it came.
const PLATEAU: Duration = Duration::from_secs(15);
/// The slowest pace: it must still find out when the limit rises.
const FLOOR: f64 = 0.5;

/// The pace, in requests a second.
#[derive(Debug)]
pub(super) struct Pace {
    cap: f64,
    refused: Option<Refused>,
}

/// The last refusal that counted.
#[derive(Debug, Clone, Copy)]
struct Refused {
    at: Instant,
    level: f64,
}

impl Pace {
    pub(super) fn new(cap: f64) -> Self {
        Self { cap, refused: None }
    }

    /// Whether nothing holds the pace below its cap.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.at(now) >= self.cap
    }

    /// The pace at `now`.
    pub(super) fn at(&self, now: Instant) -> f64 {
        let Some(Refused { at, level }) = self.refused else {
            return self.cap;
        };
        let since = now.saturating_duration_since(at).as_secs_f64() / PLATEAU.as_secs_f64();
        let curve = level * (1.0 + (1.0 - BACK_OFF) * (since - 1.0).powi(3));
        curve.clamp(FLOOR.min(self.cap), self.cap)
    }

    /// A request that was sent at `sent` was refused for its rate. Requests that were on the way when the pace
    /// last went down say nothing new.
    pub(super) fn throttled(&mut self, sent: Instant, now: Instant) {
        if self.refused.is_none_or(|refused| sent >= refused.at) {
            self.refused = Some(Refused { at: now, level: self.at(now) });
        }
    }
}
