//! The log of recent sends: the law.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The last sends, as many as one window may hold.
#[derive(Debug)]
pub(super) struct SendLog {
    sends: VecDeque<Instant>,
    most: usize,
    window: Duration,
}

impl SendLog {
    pub(super) fn new(most: u32, window: Duration) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { sends: VecDeque::with_capacity(most), most, window }
    }

    /// From when on one more send is lawful; `None`: always.
    pub(super) fn free_at(&self) -> Option<Instant> {
        if self.sends.len() < self.most {
            return None;
        }
        self.sends.front().map(|oldest| *oldest + self.window)
    }

    /// The last send.
    pub(super) fn last(&self) -> Option<Instant> {
        self.sends.back().copied()
    }

    /// Takes note of a send. Sends come in the order of time.
    pub(super) fn push(&mut self, at: Instant) {
        if self.sends.len() == self.most {
            self.sends.pop_front();
        }
        self.sends.push_back(at);
    }
}
