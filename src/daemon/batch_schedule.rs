//! When batches are due.

use std::time::Duration;

use tokio::time::Instant;

use crate::cause::Incident;
use crate::queue::Mode;

/// A batch writes the `daemon` row at least this often.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// A batch looks at other processes' changes this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The requests of one batch at full pace, 20 a second: batches are half a second apart, and each writes the results of the
/// last and claims the next.
pub(super) const BATCH_SIZE: usize = 10;
/// A batch for claims begins once so few are left, which last for the time that it takes.
pub(super) const SPARE_CLAIMS: usize = 6;

/// While requests are in flight, results wait until this long after the last batch began, to share the sync of theirs: a little
/// less than [`BATCH_SIZE`] requests take at full pace, so that claims and results need one batch.
const GATHER_FOR: Duration = Duration::from_millis(480);

/// From the first sign of another process's write to the look at it; the intervals after that grow.
const WOKEN_AFTER: Duration = Duration::from_millis(1);
/// A process that writes one row often writes more: one look sees them together.
const WOKEN_REST: Duration = Duration::from_millis(5);

/// After a batch, the lock is free for as long as the batch held it, but no longer than this. Other writers ask for it only
/// now and then: on a slow disk, a daemon at full pace would lock it again at once, until they give up.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// What the last heartbeat reported; a change of it is written at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) mode: Mode,
    /// The code of each incident, and how many of its probes failed.
    pub(super) incidents: Vec<(&'static str, u32)>,
}

impl Reported {
    pub(super) fn new(mode: Mode, incidents: &[Incident]) -> Self {
        let incidents = incidents.iter().map(|incident| (incident.cause.code(), incident.probes.failed));
        Self { mode, incidents: incidents.collect() }
    }
}

/// When batches are due.
#[derive(Debug)]
pub(super) struct BatchSchedule {
    began_at: Option<Instant>,
    /// How long the last batch took, including its wait for the lock.
    took: Duration,
    /// Another process is writing: when to look, and how long to wait before the look after that.
    woken: Option<(Instant, Duration)>,
    /// No batch begins before this.
    rest_until: Instant,
    /// Whether the last batch that asked for claims that were due got none.
    was_fruitless: bool,
    heartbeat_at: Instant,
    reported: Reported,
}

/// What is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueNow {
    /// The heartbeat.
    pub(super) heartbeat: bool,
    /// A look at what other processes changed; it also writes gathered results.
    pub(super) look: bool,
}

impl BatchSchedule {
    /// The first batch is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began_at: None,
            took: Duration::ZERO,
            woken: None,
            rest_until: now,
            was_fruitless: false,
            heartbeat_at: now,
            reported: Reported::new(Mode::Running, &[]),
        }
    }

    /// How long the last batch took, including its wait for the lock.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    /// From when on a batch may begin.
    pub(super) fn rest_until(&self) -> Instant {
        self.rest_until
    }

    /// Another process is writing to the write-ahead log. Its write is visible once it is synced; no event announces that.
    pub(super) fn wake(&mut self, now: Instant) {
        let rested = self.began_at.map_or(now, |at| at + WOKEN_REST);
        self.woken = Some((rested.max(now + WOKEN_AFTER), WOKEN_AFTER * 2));
    }

    /// When to look at what other processes changed; none: at once.
    fn next_look(&self, gathers: bool) -> Option<Instant> {
        let regular = self.began_at? + if gathers { GATHER_FOR } else { LOOK_EVERY };
        Some(self.woken.map_or(regular, |(at, _)| at.min(regular)))
    }

    /// When the next batch is due, apart from claims and from results that don't wait.
    pub(super) fn next_wakeup(&self, gathers: bool, now: Instant) -> Instant {
        self.next_look(gathers).unwrap_or(now).min(self.heartbeat_at)
    }

    /// What is due. A change of what the heartbeat reports is written at once.
    pub(super) fn due(&self, report: &Reported, gathers: bool, now: Instant) -> DueNow {
        DueNow {
            heartbeat: *report != self.reported || now >= self.heartbeat_at,
            look: self.next_look(gathers).is_none_or(|at| now >= at),
        }
    }

    /// Whether to begin a batch for claims. Rows that are due and can't be claimed, because a readback comes first for
    /// instance, must not make batches spin.
    pub(super) fn may_claim(&self, due: DueNow) -> bool {
        !self.was_fruitless || due.look
    }

    /// A batch begins; with a heartbeat, it writes this.
    pub(super) fn begin(&mut self, heartbeat: Option<Reported>, now: Instant) {
        self.began_at = Some(now);
        if let Some((at, wait)) = self.woken.filter(|(at, _)| now >= *at) {
            self.woken = (wait < LOOK_EVERY).then_some((at.max(now) + wait, wait * 2));
        }
        if let Some(report) = heartbeat {
            self.reported = report;
            self.heartbeat_at = now + HEARTBEAT_EVERY;
        }
    }

    /// A batch ended.
    pub(super) fn end(&mut self, now: Instant) {
        self.took = self.began_at.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
    }

    /// A batch held the lock for this long.
    pub(super) fn wrote(&mut self, locked_for: Duration, now: Instant) {
        self.rest_until = now + locked_for.min(LONGEST_REST);
    }

    /// Whether a batch claimed anything, and whether it asked for claims. A batch without capacity tells us nothing.
    pub(super) fn claimed(&mut self, anything: bool, asked: bool) {
        if anything || asked {
            self.was_fruitless = !anything;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);

    /// A schedule whose batch just looked, and did nothing else.
    fn looked(now: Instant) -> BatchSchedule {
        let mut schedule = BatchSchedule::new(now);
        schedule.begin(None, now);
        schedule
    }

    fn is_look_due(schedule: &BatchSchedule, gathers: bool, now: Instant) -> bool {
        schedule.due(&Reported::new(Mode::Running, &[]), gathers, now).look
    }

    /// When batches look, in milliseconds from the beginning to this one.
    fn looks(schedule: &mut BatchSchedule, began: Instant, until: u32) -> Vec<u128> {
        let mut looks = Vec::new();
        while let Some(at) = schedule.next_look(false).filter(|at| *at <= began + MS * until) {
            assert!(is_look_due(schedule, false, at) && !is_look_due(schedule, false, at - MS / 2));
            schedule.begin(None, at);
            looks.push(at.duration_since(began).as_millis());
        }
        looks
    }

    #[test]
    fn the_first_look_is_due_at_once_and_then_ten_a_second() {
        let now = clock::now().instant;
        assert!(is_look_due(&BatchSchedule::new(now), false, now) && is_look_due(&BatchSchedule::new(now), true, now));
        assert_eq!(looks(&mut looked(now), now, 350), [100, 200, 300]);
    }

    #[test]
    fn another_process_that_writes_brings_looks_at_growing_intervals_until_the_next_regular_one() {
        let now = clock::now().instant;
        let mut schedule = looked(now);
        schedule.wake(now + MS * 50);
        assert_eq!(looks(&mut schedule, now, 400), [51, 53, 57, 65, 81, 113, 177, 277, 377]);
    }

    #[test]
    fn a_process_that_writes_all_the_time_brings_a_look_every_five_milliseconds() {
        let now = clock::now().instant;
        let mut schedule = looked(now);
        let mut seen = Vec::new();
        for millisecond in 0..20 {
            let at = now + MS * millisecond;
            schedule.wake(at);
            seen.extend(looks(&mut schedule, now, millisecond + 1));
        }
        assert_eq!(seen, [5, 10, 15, 20]);
    }

    #[test]
    fn after_a_batch_that_could_claim_nothing_claims_wait_for_the_next_look() {
        let mut schedule = BatchSchedule::new(clock::now().instant);
        let [at_once, with_look] = [false, true].map(|look| DueNow { heartbeat: false, look });
        schedule.claimed(true, true);
        schedule.claimed(false, false);
        assert!(schedule.may_claim(at_once));
        schedule.claimed(false, true);
        assert!(!schedule.may_claim(at_once) && schedule.may_claim(with_look));
        schedule.claimed(true, false);
        assert!(schedule.may_claim(at_once));
    }

    #[test]
    fn a_heartbeat_is_due_every_ten_seconds_and_whenever_what_it_reports_changes() {
        let now = clock::now().instant;
        let mut schedule = BatchSchedule::new(now);
        let running = Reported::new(Mode::Running, &[]);
        schedule.begin(Some(running.clone()), now);
        let is_due = |report, seconds| schedule.due(&report, false, now + Duration::from_secs(seconds)).heartbeat;
        assert!(!is_due(running.clone(), 9) && is_due(running.clone(), 10));
        assert!(is_due(Reported { mode: Mode::Stopping, ..running.clone() }, 1));
        assert!(is_due(Reported { incidents: vec![("readback_denied", 0)], ..running }, 1));
    }

    #[test]
    fn a_batch_takes_from_its_beginning_to_its_end() {
        let now = clock::now().instant;
        let mut schedule = looked(now);
        assert_eq!(schedule.took, Duration::ZERO);
        schedule.end(now + MS * 70);
        schedule.begin(None, now + MS * 100);
        assert_eq!(schedule.took, MS * 70);
        schedule.end(now + MS * 105);
        assert_eq!(schedule.took, MS * 5);
    }

    #[test]
    fn results_wait_less_than_half_a_second_for_others() {
        let now = clock::now().instant;
        let mut schedule = looked(now);
        assert!(!is_look_due(&schedule, true, now + MS * 479));
        assert!(is_look_due(&schedule, true, now + MS * 480));
        schedule.wake(now + MS * 50);
        assert!(is_look_due(&schedule, true, now + MS * 51), "another process's write brings a look all the same");
    }
}
