//! The limiter: when the next request may go out, so that the *server* never sees more than the limit in any
//! sliding second. Time comes in as an argument; nothing here reads a clock or sleeps.
//!
//! The log of recent departures is the law: at most `per_second` in any window of one second and a guard.
//! The guard is what the delays on the way may vary by. Within the law, governor spaces the sends evenly,
//! with a burst of one. (Its plain `per_second(20)` lets 39 through in one second; and spacing alone, without
//! the guard, was seen to make 21 arrivals in a second of a varying network.)
//!
//! The spacing is one second by the pace, a little closer than the law on average, and a send that is a little
//! late counts at its slot, so that late timers are made up for and the whole rate is used. The guard costs its
//! part of the rate: 25 ms of 1.025 s are 2.4 %.
//!
//! Where the server's own limit is lower, it is learnt, and kept in the same way.

mod departure_window;
mod learned_limit;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use departure_window::DepartureWindow;
use learned_limit::LearnedLimit;

/// The second of "requests per second", as the server counts it: sliding.
const SECOND: Duration = Duration::from_secs(1);
/// A send may be late by this part of the time between two without putting off the next one.
const LATE_BY_A_PART: u32 = 4;

/// A limit and its guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most requests in any sliding second; at least one.
    pub per_second: u32,
    /// What the delays on the way to the server may vary by.
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
    log: DepartureWindow,
    allowance: LearnedLimit,
    spacing: Spacing,
    spaced_for: f64,
    not_before: Instant,
    last: Option<Instant>,
}

impl Limiter {
    /// A limiter whose first slot lies a whole window after `started`: an earlier process may have sent just
    /// before.
    #[must_use]
    pub fn new(limits: Limits, started: Instant) -> Self {
        let window = limits.window();
        let cap = limits.cap();
        Self {
            limits,
            log: DepartureWindow::new(limits.per_second.max(1), window),
            allowance: LearnedLimit::new(cap),
            spacing: Spacing::new(cap, started),
            spaced_for: cap,
            not_before: started + window,
            last: None,
        }
    }

    /// Keeps other limits from `now` on. Lower ones hold for what was sent just before, too.
    pub fn set_limits(&mut self, limits: Limits, now: Instant) {
        let longer = limits.window().saturating_sub(self.limits.window());
        if !longer.is_zero() {
            // The log knows all that the old window holds; by then, it knows all that the new one does.
            self.not_before = self.not_before.max(now + longer);
        }
        self.limits = limits;
        self.allowance.set_cap(limits.cap());
        self.follow_allowance(now);
        self.keep_log();
    }

    /// The earliest moment from `now` on at which a request may be sent, as far as is known at `now`: requests
    /// that have not departed yet may put it off.
    #[must_use]
    pub fn next_slot(&self, now: Instant) -> Instant {
        let lawful = self.log.free_at(now).unwrap_or(now);
        now.max(self.not_before).max(lawful)
    }

    /// Takes the slot at `now` for a request that is handed over at once. Tell [`departed`](Self::departed) or
    /// [`never_departed`](Self::never_departed) what became of it.
    ///
    /// # Errors
    /// There is no slot at `now`: when the next one comes.
    pub fn try_send(&mut self, now: Instant) -> Result<(), Instant> {
        self.follow_allowance(now);
        let slot = self.next_slot(now);
        if slot > now {
            return Err(slot);
        }
        let counted = self.counted(now);
        self.spacing.take(counted)?;
        self.not_before = self.spacing.next(counted);
        self.last = Some(counted);
        self.log.hand_over();
        Ok(())
    }

    /// The first byte of a request went out at `at`, on a connection that stands.
    pub fn departed(&mut self, at: Instant) {
        self.log.depart(at);
    }

    /// A request ended, and nothing of it went out.
    pub fn never_departed(&mut self) {
        self.log.forget();
    }

    /// The server refused a request, whose first byte went out at `departed`, for its rate: the true limit is lower than
    /// ours.
    pub fn throttled(&mut self, departed: Instant, now: Instant) {
        self.allowance.refused(departed, self.log.in_second_before(departed), now);
        self.follow_allowance(now);
        if self.allowance.is_exhausted() {
            self.not_before = self.not_before.max(departed + self.limits.window());
        }
    }

    /// The server did not refuse a request, whose first byte went out at `departed`, for its rate.
    pub fn granted(&mut self, departed: Instant, now: Instant) {
        self.allowance.granted(departed);
        self.follow_allowance(now);
    }

    /// Requests a second at present.
    #[must_use]
    pub fn pace(&self) -> f64 {
        self.allowance.pace()
    }

    fn keep_log(&mut self) {
        self.log.set_limits(count(self.allowance.pace()), self.limits.window());
    }

    /// When a send at `now` counts for the spacing: at its slot, if it is only a little late. So the lateness of
    /// timers doesn't add up, and a pace below the cap is kept.
    fn counted(&self, now: Instant) -> Instant {
        let tolerated = SECOND.div_f64(self.spaced_for) / LATE_BY_A_PART;
        let late = now.saturating_duration_since(self.not_before);
        if late <= tolerated { self.not_before.min(now) } else { now }
    }

    fn follow_allowance(&mut self, now: Instant) {
        self.allowance.advance(now);
        let pace = self.allowance.pace();
        if (pace - self.spaced_for).abs() < f64::EPSILON {
            return;
        }
        self.spaced_for = pace;
        self.keep_log();
        self.spacing.set_pace(pace);
        if let Some(last) = self.last {
            // The new spacing counts from the last send.
            self.not_before = match self.spacing.take(last) {
                Ok(()) => self.spacing.next(last),
                Err(at) => at,
            };
        }
    }
}

/// A pace as a count: one at least, since slower ones are the spacing's matter.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 20")]
fn count(pace: f64) -> u32 {
    pace.clamp(1.0, f64::from(u32::MAX)) as u32
}

/// Governor with a burst of one, on a clock that shows what it is told.
#[derive(Debug)]
struct Spacing {
    governor: RateLimiter<NotKeyed, InMemoryState, Dial, NoOpMiddleware<Duration>>,
    dial: Dial,
    epoch: Instant,
}

#[derive(Debug, Clone, Default)]
struct Dial(Arc<AtomicU64>);

impl Clock for Dial {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Spacing {
    fn new(pace: f64, epoch: Instant) -> Self {
        let dial = Dial::default();
        Self { governor: RateLimiter::direct_with_clock(quota(pace), dial.clone()), dial, epoch }
    }

    fn set_pace(&mut self, pace: f64) {
        self.turn_to(self.epoch);
        self.governor = RateLimiter::direct_with_clock(quota(pace), self.dial.clone());
    }

    /// Takes a slot at `now`, or says when one comes.
    fn take(&self, now: Instant) -> Result<(), Instant> {
        self.turn_to(now);
        self.governor.check().map_err(|wait| self.epoch + wait.earliest_possible())
    }

    /// When the slot after the one that was just taken comes: asking for it, with a burst of one, takes nothing.
    fn next(&self, now: Instant) -> Instant {
        match self.take(now) {
            Ok(()) => now,
            Err(at) => at,
        }
    }

    fn turn_to(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.epoch).as_nanos();
        self.dial.0.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn quota(pace: f64) -> Quota {
    let period = SECOND.div_f64(pace);
    // Neither the period nor the burst is zero: the pace has a floor and a cap.
    Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(NonZeroU32::MIN)
}

#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod learned_limit_tests;
#[cfg(test)]
mod tests;
