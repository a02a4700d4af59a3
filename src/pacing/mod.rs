//! The limiter: when the next request may go out, so that the *server* never sees more than the limit in any sliding second.
//! Time is an argument; nothing here reads a clock or sleeps.
//!
//! Three rules apply together:
//!
//! - At most `per_second` requests depart in any window of one second plus a guard. The guard allows for variation of the
//!   network delay.
//! - Within that, governor spaces the sends evenly, with a burst of one. (Its plain `per_second(20)` lets 39 through in one
//!   second. Spacing alone, without the window, let 21 arrive in one second over a network with varying delays.)
//! - Where the server's own limit is lower, it is learned, and takes the place of `per_second`.
//!
//! The spacing is one second divided by the pace, a little less than the window allows on average, so late timers don't cost
//! any of the rate. The guard does: 25 ms of 1.025 s are 2.4 %.

mod departure_window;
mod learned_limit;
mod spacing;

use std::time::Duration;

use tokio::time::Instant;

use departure_window::{DepartureWindow, SECOND};
use learned_limit::{LearnedLimit, count};
use spacing::Spacing;

/// A limit and its guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most requests in any sliding second; at least one.
    pub per_second: u32,
    /// How much the network delay to the server may vary.
    pub guard: Duration,
}

impl Limits {
    fn window(self) -> Duration {
        SECOND + self.guard
    }

    fn cap(self) -> f64 {
        f64::from(self.per_second.max(1))
    }
}

/// A limiter of one kind of request.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    departures: DepartureWindow,
    learned: LearnedLimit,
    spacing: Spacing,
    /// Nothing is sent before this.
    held_until: Instant,
}

impl Limiter {
    /// A limiter whose first slot lies a whole window after `started`: a previous process may have sent just before.
    #[must_use]
    pub fn new(limits: Limits, started: Instant) -> Self {
        Self {
            limits,
            departures: DepartureWindow::new(limits.per_second.max(1), limits.window()),
            learned: LearnedLimit::new(limits.cap()),
            spacing: Spacing::new(limits.cap()),
            held_until: started + limits.window(),
        }
    }

    /// Changes the limits from `now` on. Lower limits also count recent departures.
    pub fn set_limits(&mut self, limits: Limits, now: Instant) {
        let longer = limits.window().saturating_sub(self.limits.window());
        if !longer.is_zero() {
            // Departures are recorded for the old window. After this wait, the record covers the new one.
            self.held_until = self.held_until.max(now + longer);
        }
        self.limits = limits;
        self.learned.set_cap(limits.cap());
        self.apply_learned_limit(now);
    }

    /// The earliest moment from `now` on at which a request may be sent, as far as is known at `now`: requests
    /// that have not departed yet may delay it.
    #[must_use]
    pub fn next_slot(&self, now: Instant) -> Instant {
        let spaced = self.spacing.next().unwrap_or(now);
        let free = self.departures.free_at(now).unwrap_or(now);
        now.max(self.held_until).max(spaced).max(free)
    }

    /// Takes the slot at `now` for a request that is sent at once. Report what became of it with
    /// [`departed`](Self::departed) or [`never_departed`](Self::never_departed).
    ///
    /// # Errors
    /// The time of the next slot, if there is none at `now`.
    pub fn try_send(&mut self, now: Instant) -> Result<(), Instant> {
        self.apply_learned_limit(now);
        let slot = self.next_slot(now);
        if slot > now {
            return Err(slot);
        }
        self.spacing.take(now);
        self.departures.sent();
        Ok(())
    }

    /// The first byte of a request went out at `at`, on an established connection.
    pub fn departed(&mut self, at: Instant) {
        self.departures.departed(at);
    }

    /// A request ended, and nothing of it went out.
    pub fn never_departed(&mut self) {
        self.departures.never_departed();
    }

    /// The server refused a request for its rate, so its limit is lower than ours. The first byte went out at
    /// `departed`.
    pub fn throttled(&mut self, departed: Instant, now: Instant) {
        self.learned.refused(departed, self.departures.in_second_before(departed), now);
        self.apply_learned_limit(now);
        if self.learned.is_exhausted() {
            self.held_until = self.held_until.max(departed + self.limits.window());
        }
    }

    /// The server did not refuse a request for its rate. The first byte went out at `departed`.
    pub fn granted(&mut self, departed: Instant, now: Instant) {
        self.learned.granted(departed);
        self.apply_learned_limit(now);
    }

    /// The present limit, in requests a second.
    #[must_use]
    pub fn pace(&self) -> f64 {
        self.learned.pace()
    }

    fn apply_learned_limit(&mut self, now: Instant) {
        self.learned.advance(now);
        let pace = self.learned.pace();
        self.departures.set_limits(count(pace), self.limits.window());
        self.spacing.set_pace(pace);
    }
}

#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod learned_limit_tests;
#[cfg(test)]
mod tests;
