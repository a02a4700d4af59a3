//! The gate before a lane: it closes on faults that are no row's, and probes, at growing intervals, whether
//! they are over. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// When a gate closes, and how it probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GatePolicy {
    /// Like failures of different rows, in succession, that close it.
    pub(super) after: u32,
    /// From closing to the first probe.
    pub(super) probe_initial: Duration,
    /// The longest wait between probes.
    pub(super) probe_max: Duration,
}

/// A fault that may be no row's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The account or its credentials are refused. Closes the gate at once.
    Account(String),
    /// No permission, for a row or for all.
    Denied(String),
    /// Nothing could be sent.
    Unreachable,
    /// The CA behind the API is busy.
    Busy(String),
    /// The outcomes aren't known.
    Lost,
}

/// How a request ended, as the gate sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server answered about the row.
    Answered,
    /// Over the rate; it says nothing else.
    Throttled,
    /// It says nothing.
    Unknown,
    /// A fault, with its details for people.
    Fault(Fault, String),
}

/// What the gate did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Swing {
    /// It closed, for this reason.
    Closed(String),
    /// It opened again, after this long.
    Opened(Duration),
}

/// A gate.
#[derive(Debug)]
pub(super) struct Gate {
    policy: GatePolicy,
    streak: Streak,
    closed: Option<Closed>,
}

#[derive(Debug, Default)]
struct Streak {
    fault: Option<Fault>,
    rows: Vec<i64>,
}

#[derive(Debug)]
struct Closed {
    since: Instant,
    fault: Fault,
    why: String,
    interval: Duration,
    /// When to probe; none while a probe is on the way.
    next_probe: Option<Instant>,
}

impl Gate {
    pub(super) fn new(policy: GatePolicy) -> Self {
        Self { policy, streak: Streak::default(), closed: None }
    }

    /// How many requests may be on their way to be sent: no limit, one probe, or none.
    pub(super) fn allows(&self, now: Instant) -> usize {
        match &self.closed {
            None => usize::MAX,
            Some(closed) => usize::from(closed.next_probe.is_some_and(|at| at <= now)),
        }
    }

    /// Why it is closed.
    pub(super) fn why(&self) -> Option<&str> {
        self.closed.as_ref().map(|closed| closed.why.as_str())
    }

    /// The fault for which it is closed.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.closed.as_ref().map(|closed| &closed.fault)
    }

    /// When the next probe is due.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.closed.as_ref().and_then(|closed| closed.next_probe)
    }

    /// A probe was claimed: no other one until it ends.
    pub(super) fn probing(&mut self) {
        if let Some(closed) = &mut self.closed {
            closed.next_probe = None;
        }
    }

    /// No row was there to probe with, or the probe was given back unsent: try again at this time.
    pub(super) fn probe_at(&mut self, at: Instant) {
        if let Some(closed) = &mut self.closed {
            closed.next_probe = Some(at);
        }
    }

    /// Somebody says that the fault is over: probe at once, and at short intervals again.
    pub(super) fn probe_now(&mut self, now: Instant) {
        if let Some(closed) = &mut self.closed {
            closed.next_probe = Some(now);
            closed.interval = self.policy.probe_initial;
        }
    }

    /// Whether it is closed since many rows were denied with this code: then it is the account's fault.
    pub(super) fn denies(&self, code: &str) -> bool {
        matches!(self.fault(), Some(Fault::Denied(closed_for)) if closed_for == code)
    }

    /// Takes note of a request's end.
    pub(super) fn observe(&mut self, row: i64, ending: &Ending, sent: Instant, now: Instant) -> Option<Swing> {
        match &self.closed {
            // What was sent before it closed says nothing new.
            Some(closed) if sent < closed.since => None,
            Some(_) => self.observe_probe(ending, now),
            None => self.observe_streak(row, ending, now),
        }
    }

    fn observe_probe(&mut self, ending: &Ending, now: Instant) -> Option<Swing> {
        let closed = self.closed.as_mut()?;
        match ending {
            Ending::Fault(Fault::Denied(_), _) if !matches!(closed.fault, Fault::Denied(_)) => self.open(now),
            Ending::Answered => self.open(now),
            Ending::Throttled | Ending::Unknown => {
                closed.next_probe = Some(now + closed.interval);
                None
            }
            Ending::Fault(fault, why) => {
                closed.interval = closed.interval.saturating_mul(2).min(self.policy.probe_max);
                closed.next_probe = Some(now + closed.interval);
                closed.fault = fault.clone();
                closed.why.clone_from(why);
                None
            }
        }
    }

    fn open(&mut self, now: Instant) -> Option<Swing> {
        self.streak = Streak::default();
        let closed = self.closed.take()?;
        Some(Swing::Opened(now.duration_since(closed.since)))
    }

    fn observe_streak(&mut self, row: i64, ending: &Ending, now: Instant) -> Option<Swing> {
        let (fault, why) = match ending {
            Ending::Answered => {
                self.streak = Streak::default();
                return None;
            }
            Ending::Throttled | Ending::Unknown => return None,
            Ending::Fault(fault, why) => (fault, why),
        };
        if self.streak.fault.as_ref() != Some(fault) {
            self.streak = Streak { fault: Some(fault.clone()), rows: Vec::new() };
        }
        // Not being able to send is never the row's fault, and a row that may not be read is read until it may: there
        // every request counts.
        if matches!(fault, Fault::Unreachable | Fault::Denied(_)) || !self.streak.rows.contains(&row) {
            self.streak.rows.push(row);
        }
        let enough = usize::try_from(self.policy.after).is_ok_and(|after| self.streak.rows.len() >= after);
        (enough || matches!(fault, Fault::Account(_))).then(|| self.close(fault.clone(), why.clone(), now))
    }

    fn close(&mut self, fault: Fault, why: String, now: Instant) -> Swing {
        let interval = self.policy.probe_initial;
        self.closed = Some(Closed { since: now, fault, why: why.clone(), interval, next_probe: Some(now + interval) });
        Swing::Closed(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: GatePolicy =
        GatePolicy { after: 5, probe_initial: Duration::from_secs(30), probe_max: Duration::from_secs(900) };

    fn busy() -> Ending {
        Ending::Fault(Fault::Busy("FailedOperation.NetworkError".into()), "the CA is busy".into())
    }

    fn account() -> Ending {
        Ending::Fault(Fault::Account("AuthFailure.SecretIdNotFound".into()), "refused".into())
    }

    fn start() -> Instant {
        crate::clock::now().instant
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn five_different_rows_in_succession_close_it() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        for row in 1..5 {
            assert_eq!(gate.observe(row, &busy(), at, at), None);
        }
        assert_eq!(gate.observe(5, &busy(), at, at), Some(Swing::Closed("the CA is busy".into())));
        assert_eq!(gate.allows(after(at, 29)), 0);
        assert_eq!(gate.allows(after(at, 30)), 1);
    }

    #[test]
    fn one_row_that_fails_again_and_again_closes_nothing() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        for _ in 0..50 {
            assert_eq!(gate.observe(1, &busy(), at, at), None);
        }
    }

    #[test]
    fn an_answer_or_another_fault_breaks_the_succession() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        let lost = Ending::Fault(Fault::Lost, "lost".into());
        for row in 0..40 {
            let ending = match row % 5 {
                4 => Ending::Answered,
                _ => busy(),
            };
            assert_eq!(gate.observe(row, &ending, at, at), None);
        }
        for row in 0..40 {
            let ending = if row % 5 == 4 { lost.clone() } else { busy() };
            assert_eq!(gate.observe(row, &ending, at, at), None);
        }
    }

    #[test]
    fn an_account_fault_closes_it_at_once() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        assert_eq!(gate.observe(1, &account(), at, at), Some(Swing::Closed("refused".into())));
    }

    #[test]
    fn a_row_that_can_not_be_sent_five_times_closes_it_alone() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        let unreachable = Ending::Fault(Fault::Unreachable, "refused".into());
        let swings: Vec<_> = (0..5).map(|_| gate.observe(1, &unreachable, at, at).is_some()).collect();
        assert_eq!(swings, [false, false, false, false, true]);
    }

    #[test]
    fn probes_come_at_doubling_intervals_up_to_the_maximum() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        gate.observe(1, &account(), at, at);
        let mut waits = Vec::new();
        let mut now = at;
        for row in 2..10 {
            let probe = gate.next_probe().unwrap();
            waits.push(probe.duration_since(now).as_secs());
            now = probe;
            gate.probing();
            assert_eq!(gate.allows(after(now, 10_000)), 0, "one probe at a time");
            assert_eq!(gate.observe(row, &account(), now, now), None);
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    }

    #[test]
    fn a_probe_that_is_answered_opens_it() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        gate.observe(1, &account(), at, at);
        gate.probing();
        let probe = after(at, 30);
        assert_eq!(gate.observe(2, &Ending::Answered, probe, probe), Some(Swing::Opened(Duration::from_secs(30))));
        assert_eq!(gate.allows(probe), usize::MAX);
    }

    #[test]
    fn what_was_sent_before_it_closed_neither_opens_it_nor_counts_as_a_probe() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        gate.observe(1, &account(), after(at, 1), after(at, 1));
        assert_eq!(gate.observe(2, &Ending::Answered, at, after(at, 2)), None);
        assert_eq!(gate.observe(3, &account(), at, after(at, 2)), None);
        assert_eq!(gate.next_probe(), Some(after(at, 31)));
    }

    #[test]
    fn a_request_to_resume_probes_at_once() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        gate.observe(1, &account(), at, at);
        gate.probe_now(after(at, 1));
        assert_eq!(gate.allows(after(at, 1)), 1);
    }

    #[test]
    fn it_says_for_which_fault_it_is_closed_and_why() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        assert_eq!((gate.why(), gate.fault()), (None, None));
        gate.observe(1, &account(), at, at);
        assert_eq!(gate.why(), Some("refused"));
        assert_eq!(gate.fault(), Some(&Fault::Account("AuthFailure.SecretIdNotFound".into())));
        gate.observe(2, &busy(), at, at);
        assert_eq!(gate.why(), Some("the CA is busy"), "the newest probe found another fault");
    }

    #[test]
    fn it_denies_the_code_that_many_rows_in_succession_were_denied_with() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        let denied = |code: &str| Ending::Fault(Fault::Denied(code.to_owned()), "no permission".into());
        for _ in 0..4 {
            assert_eq!(gate.observe(1, &denied("This.Code"), at, at), None);
            assert!(!gate.denies("This.Code"));
        }
        assert!(gate.observe(1, &denied("This.Code"), at, at).is_some(), "each request counts");
        assert!(gate.denies("This.Code") && !gate.denies("Other.Code"));
        assert_eq!(gate.observe(2, &denied("Other.Code"), at, at), None, "it stays closed");
        assert!(gate.denies("Other.Code"));
    }

    #[test]
    fn a_denial_is_an_answer_where_the_fault_was_another_one() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        gate.observe(1, &account(), at, at);
        let denied = Ending::Fault(Fault::Denied("This.Code".into()), "no permission".into());
        assert_eq!(gate.observe(2, &denied, at, after(at, 7)), Some(Swing::Opened(Duration::from_secs(7))));
        assert_eq!(gate.why(), None);
    }

    #[test]
    fn a_probe_that_says_nothing_is_repeated_after_the_same_interval() {
        for ending in [Ending::Throttled, Ending::Unknown] {
            let (mut gate, at) = (Gate::new(POLICY), start());
            assert_eq!(gate.observe(1, &ending, at, at), None, "it closes nothing either");
            gate.observe(1, &account(), at, at);
            gate.probing();
            assert_eq!(gate.observe(2, &ending, after(at, 30), after(at, 31)), None);
            assert_eq!(gate.next_probe(), Some(after(at, 61)));
        }
    }

    #[test]
    fn a_probe_can_be_put_off_and_a_request_to_resume_begins_at_short_intervals_again() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        gate.probe_at(at);
        assert_eq!(gate.next_probe(), None, "an open gate probes nothing");
        gate.observe(1, &account(), at, at);
        gate.probe_at(after(at, 5));
        assert_eq!(gate.next_probe(), Some(after(at, 5)));
        gate.observe(2, &account(), at, at);
        gate.observe(2, &account(), at, at);
        gate.probe_now(at);
        gate.observe(2, &account(), at, at);
        assert_eq!(gate.next_probe(), Some(after(at, 60)));
    }

    #[test]
    fn a_succession_begins_anew_once_it_opened() {
        let (mut gate, at) = (Gate::new(POLICY), start());
        (1..=5).for_each(|row| drop(gate.observe(row, &busy(), at, at)));
        assert!(gate.observe(6, &Ending::Answered, at, at).is_some());
        for row in 1..=4 {
            assert_eq!(gate.observe(row, &busy(), at, at), None);
        }
    }
}
