//! When turns at the database are due.

use std::time::Duration;

use tokio::time::Instant;

use crate::queue::Mode;

/// How often other processes' changes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// While other requests are on the way, a result waits this long for theirs, to share their sync: almost as long as it
/// takes at full pace until more claims are wanted, so that one turn writes results and claims.
const GATHER_FOR: Duration = Duration::from_millis(480);
/// So many results don't wait for others: more than come between two claims, which take them along.
pub(super) const ENOUGH_RESULTS: usize = 16;

/// Somebody's changes are looked for this much after the first sign of them, and then at growing intervals.
const WOKEN_AFTER: Duration = Duration::from_millis(1);
/// Who writes one row often writes more: they are looked for together.
const WOKEN_REST: Duration = Duration::from_millis(5);

/// When turns are due, and what the last ones were.
#[derive(Debug)]
pub(super) struct Turns {
    looked_at: Option<Instant>,
    /// How long the last one took, the wait for the lock included.
    pub(super) took: Duration,
    /// Somebody is writing: when to look for it, and how long to wait before looking once more.
    woken: Option<(Instant, Duration)>,
    /// No turn begins before.
    pub(super) rest_until: Instant,
    /// Whether the present one, or the last, asked for claims that are due.
    pub(super) asked: bool,
    /// Whether the last one that asked for them claimed anything.
    pub(super) fruitful: bool,
    pub(super) heartbeat_at: Instant,
    pub(super) last_mode: Mode,
}

impl Turns {
    /// The first one is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked_at: None,
            took: Duration::ZERO,
            woken: None,
            rest_until: now,
            asked: false,
            fruitful: false,
            heartbeat_at: now,
            last_mode: Mode::Running,
        }
    }

    /// Somebody is writing to the log. What they write can be seen only once it is synced, which nothing tells.
    pub(super) fn wake(&mut self, now: Instant) {
        let rested = self.looked_at.map_or(now, |at| at + WOKEN_REST);
        self.woken = Some((rested.max(now + WOKEN_AFTER), WOKEN_AFTER * 2));
    }

    /// When a turn is due, to look for others' changes and to write the results that are gathered meanwhile; none: at
    /// once.
    pub(super) fn next_look(&self, gathers: bool) -> Option<Instant> {
        let regular = self.looked_at? + if gathers { GATHER_FOR } else { LOOK_EVERY };
        Some(self.woken.map_or(regular, |(at, _)| at.min(regular)))
    }

    /// Whether such a turn is due.
    pub(super) fn is_look_due(&self, gathers: bool, now: Instant) -> bool {
        self.next_look(gathers).is_none_or(|at| now >= at)
    }

    /// A turn ended.
    pub(super) fn end(&mut self, now: Instant) {
        self.took = self.looked_at.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
    }

    /// Whether a turn claimed anything. That one which had no room for what is due claimed nothing says nothing.
    pub(super) fn claimed(&mut self, anything: bool) {
        if anything || self.asked {
            self.fruitful = anything;
        }
    }

    /// A turn begins, of any kind.
    pub(super) fn begin(&mut self, now: Instant) {
        self.looked_at = Some(now);
        if let Some((at, wait)) = self.woken.filter(|(at, _)| now >= *at) {
            self.woken = (wait < LOOK_EVERY).then_some((at.max(now) + wait, wait * 2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);

    /// Turns that only looked, so far, at this moment.
    fn looked(now: Instant) -> Turns {
        let mut turns = Turns::new(now);
        turns.begin(now);
        turns
    }

    /// When turns look, in milliseconds after the beginning, up to this one; as often as they are due.
    fn looks(turns: &mut Turns, began: Instant, until: u32) -> Vec<u128> {
        let mut looks = Vec::new();
        while let Some(at) = turns.next_look(false).filter(|at| *at <= began + MS * until) {
            assert!(turns.is_look_due(false, at) && !turns.is_look_due(false, at - MS / 2));
            turns.begin(at);
            looks.push(at.duration_since(began).as_millis());
        }
        looks
    }

    #[test]
    fn the_first_look_is_due_at_once_and_then_ten_a_second() {
        let now = clock::now().instant;
        assert!(Turns::new(now).is_look_due(false, now) && Turns::new(now).is_look_due(true, now));
        assert_eq!(looks(&mut looked(now), now, 350), [100, 200, 300]);
    }

    #[test]
    fn whoever_writes_is_looked_for_at_growing_intervals_until_the_next_regular_look() {
        let now = clock::now().instant;
        let mut turns = looked(now);
        turns.wake(now + MS * 50);
        assert_eq!(looks(&mut turns, now, 400), [51, 53, 57, 65, 81, 113, 177, 277, 377]);
    }

    #[test]
    fn whoever_writes_without_end_is_looked_for_every_five_milliseconds() {
        let now = clock::now().instant;
        let mut turns = looked(now);
        let mut seen = Vec::new();
        for millisecond in 0..20 {
            let at = now + MS * millisecond;
            turns.wake(at);
            seen.extend(looks(&mut turns, now, millisecond + 1));
        }
        assert_eq!(seen, [5, 10, 15, 20]);
    }

    #[test]
    fn a_turn_without_room_for_what_is_due_says_nothing_of_whether_it_can_be_claimed() {
        let mut turns = Turns::new(clock::now().instant);
        turns.claimed(true);
        turns.claimed(false);
        assert!(turns.fruitful);
        turns.asked = true;
        turns.claimed(false);
        assert!(!turns.fruitful);
    }

    #[test]
    fn the_last_turn_took_from_its_beginning_to_its_end() {
        let now = clock::now().instant;
        let mut turns = looked(now);
        assert_eq!(turns.took, Duration::ZERO);
        turns.end(now + MS * 70);
        turns.begin(now + MS * 100);
        assert_eq!(turns.took, MS * 70);
        turns.end(now + MS * 105);
        assert_eq!(turns.took, MS * 5);
    }

    #[test]
    fn results_wait_for_others_for_less_than_half_a_second() {
        let now = clock::now().instant;
        let mut turns = looked(now);
        assert!(!turns.is_look_due(true, now + MS * 479));
        assert!(turns.is_look_due(true, now + MS * 480));
        turns.wake(now + MS * 50);
        assert!(turns.is_look_due(true, now + MS * 51), "who writes meanwhile is looked for all the same");
    }
}
