//! Even spacing of the sends, by governor with a burst of one.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::departure_window::SECOND;

/// A send that is late by at most this part of the time between two sends doesn't delay the next one.
const TOLERATED_PART: u32 = 4;

/// When the next send is due, at a pace in requests a second.
#[derive(Debug)]
pub(super) struct Spacing {
    pace: f64,
    governor: RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Nanos>>,
    /// Time is an argument, so governor reads a manual clock. It shows the time of the last slot.
    clock: FakeRelativeClock,
    /// The slot of the last send, and the next one.
    slots: Option<(Instant, Instant)>,
}

impl Spacing {
    pub(super) fn new(pace: f64) -> Self {
        let clock = FakeRelativeClock::default();
        // Neither the period nor the burst is zero: the pace has a floor and a cap.
        let quota = Quota::with_period(SECOND.div_f64(pace)).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let governor = RateLimiter::direct_with_clock(quota.allow_burst(NonZeroU32::MIN), clock.clone());
        Self { pace, governor, clock, slots: None }
    }

    /// Changes the pace. The new spacing counts from the last send.
    pub(super) fn set_pace(&mut self, pace: f64) {
        if (pace - self.pace).abs() >= f64::EPSILON {
            let new = Self::new(pace);
            let slots = self.slots.map(|(last, _)| (last, last + new.take_slot()));
            *self = Self { slots, ..new };
        }
    }

    /// The next slot; `None` before the first send.
    pub(super) fn next(&self) -> Option<Instant> {
        self.slots.map(|(_, next)| next)
    }

    /// Takes the slot for a send at `now`, not before the [next one](Self::next). If it is only a little late, it counts
    /// as on time, so that the lateness of timers doesn't add up.
    pub(super) fn take(&mut self, now: Instant) {
        let tolerated = SECOND.div_f64(self.pace) / TOLERATED_PART;
        let slot = self.next().filter(|next| now.saturating_duration_since(*next) <= tolerated).unwrap_or(now);
        if let Some((last, _)) = self.slots {
            self.clock.advance(slot.saturating_duration_since(last));
        }
        self.slots = Some((slot, slot + self.take_slot()));
    }

    /// Takes the slot at the time that the clock shows, and returns the time from it to the next one. With a burst of
    /// one, a second check takes nothing.
    fn take_slot(&self) -> Duration {
        let next = self.governor.check().and_then(|()| self.governor.check());
        next.map_or_else(|next| next.wait_time_from(self.clock.now()), |()| Duration::ZERO)
    }
}
