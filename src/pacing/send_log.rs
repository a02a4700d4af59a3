//! The log of recent sends: the law.
//!
//! What counts is when a request departs, that is, when its first byte goes out on a connection that stands:
//! setting one up takes a few round trips, and requests on new and on warm connections would otherwise arrive
//! closer together than they were sent. Until it departs, a request counts as if it could at any moment.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The last departures, as many as one window may hold or ever could, and the requests that have not departed yet.
#[derive(Debug)]
pub(super) struct SendLog {
    departures: VecDeque<Instant>,
    waiting: usize,
    most: usize,
    kept: usize,
    window: Duration,
}

impl SendLog {
    pub(super) fn new(most: u32, window: Duration) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { departures: VecDeque::with_capacity(most), waiting: 0, most, kept: most, window }
    }

    /// Counts by other limits from now on. Departures that it has dropped lay outside the old window; a longer one
    /// must not be relied on before it has grown by what it is longer.
    pub(super) fn set_limits(&mut self, most: u32, window: Duration) {
        self.most = usize::try_from(most).unwrap_or(usize::MAX);
        self.kept = self.kept.max(self.most);
        self.window = window;
    }

    /// From when on one more send is lawful, as far as is known at `now`; `None`: always.
    pub(super) fn free_at(&self, now: Instant) -> Option<Instant> {
        let Some(places) = self.most.checked_sub(self.waiting).filter(|places| *places > 0) else {
            // Only a departure will tell; ask again by then.
            return Some(now + self.window);
        };
        let oldest = self.departures.len().checked_sub(places)?;
        self.departures.get(oldest).map(|departed| *departed + self.window)
    }

    /// A request was handed over for sending.
    pub(super) fn hand_over(&mut self) {
        self.waiting += 1;
    }

    /// A request departed.
    pub(super) fn depart(&mut self, at: Instant) {
        self.waiting = self.waiting.saturating_sub(1);
        let later = self.departures.iter().rev().take_while(|departed| **departed > at).count();
        self.departures.insert(self.departures.len() - later, at);
        if self.departures.len() > self.kept {
            self.departures.pop_front();
        }
    }

    /// A request ended without ever departing.
    pub(super) fn forget(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }
}
