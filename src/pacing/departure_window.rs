//! The window of recent departures, which limits how many requests depart within it.
//!
//! A request departs when its first byte goes out on an established connection. The time of sending would not do:
//! connecting takes a few round trips, so requests on new and on warm connections would arrive closer together than
//! they were sent. Until it departs, a request counts as if it could depart at any moment.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The second of "requests per second". The server counts it as sliding.
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Departures are kept for this many windows: a refusal becomes known late, and needs the departures before it.
const WINDOWS_KEPT: usize = 5;

/// The last departures, and the requests that have not departed yet.
#[derive(Debug)]
pub(super) struct DepartureWindow {
    departures: VecDeque<Instant>,
    waiting: usize,
    max: usize,
    capacity: usize,
    window: Duration,
}

impl DepartureWindow {
    pub(super) fn new(max: u32, window: Duration) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let capacity = max.saturating_mul(WINDOWS_KEPT);
        Self { departures: VecDeque::new(), waiting: 0, max, capacity, window }
    }

    /// Changes the limits. Departures that were dropped lay outside the old window. A longer window is covered only
    /// once the difference has passed.
    pub(super) fn set_limits(&mut self, max: u32, window: Duration) {
        self.max = usize::try_from(max).unwrap_or(usize::MAX);
        self.capacity = self.capacity.max(self.max.saturating_mul(WINDOWS_KEPT));
        self.window = window;
    }

    /// When one more may be sent, as far as is known at `now`; `None` means at any time.
    pub(super) fn free_at(&self, now: Instant) -> Option<Instant> {
        let Some(free) = self.max.checked_sub(self.waiting).filter(|free| *free > 0) else {
            // The next departure decides; ask again then.
            return Some(now + self.window);
        };
        let oldest = self.departures.len().checked_sub(free)?;
        self.departures.get(oldest).map(|departed| *departed + self.window)
    }

    /// How many departed in the second before this moment; `None` if it is too long ago to know.
    pub(super) fn in_second_before(&self, at: Instant) -> Option<usize> {
        let is_within = |departed: &&Instant| **departed < at && at < **departed + SECOND;
        let has_dropped = self.departures.len() >= self.capacity;
        if has_dropped && self.departures.front().is_some_and(|oldest| at < *oldest + SECOND) {
            return None;
        }
        Some(self.departures.iter().filter(is_within).count())
    }

    /// A request was sent.
    pub(super) fn sent(&mut self) {
        self.waiting += 1;
    }

    /// A request departed.
    pub(super) fn departed(&mut self, at: Instant) {
        self.waiting = self.waiting.saturating_sub(1);
        let later = self.departures.iter().rev().take_while(|departed| **departed > at).count();
        self.departures.insert(self.departures.len() - later, at);
        if self.departures.len() > self.capacity {
            self.departures.pop_front();
        }
    }

    /// A request ended without ever departing.
    pub(super) fn never_departed(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }
}
