//! The gate before a lane: it closes on faults that are no row's, and probes, at growing intervals, whether
//! they are over. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// A server counts by the second: what is refused later than this after the last grant is not refused for our rate.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// The longest wait between probes while every request is refused for its rate. Others' storms end without anybody
/// mending anything, so the end is found out soon.
const STORM_PROBE_MAX: Duration = Duration::from_secs(60);

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
    /// Every request is refused for its rate, however slow ours is: others use up the limit, or it is zero.
    Storm,
}

/// How a request ended, as the gate sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server answered about the row.
    Answered,
    /// Over the rate, with its details for people; it says nothing else.
    Throttled(String),
    /// It says nothing.
    Unknown,
    /// A fault, with its details for people.
    Fault(Fault, String),
}

impl Ending {
    /// Whether the server let the request through its limit of the rate.
    pub(super) fn is_granted(&self) -> bool {
        matches!(self, Self::Answered | Self::Fault(Fault::Busy(_) | Fault::Denied(_), _))
    }
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
    refusals: Refusals,
    closed: Option<Closed>,
}

/// Refusals for the rate that can't be for ours, since the last grant.
#[derive(Debug, Default)]
struct Refusals {
    count: u32,
    granted_at: Option<Instant>,
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
    /// How many probes were claimed so far.
    probes: u32,
    /// When to probe; none while a probe is on the way.
    next_probe: Option<Instant>,
}

impl GatePolicy {
    /// The longest wait between probes for the end of this fault.
    fn longest(&self, fault: &Fault) -> Duration {
        if *fault == Fault::Storm { self.probe_max.min(STORM_PROBE_MAX) } else { self.probe_max }
    }
}

impl Closed {
    /// The next probe comes after twice the wait of before.
    fn wait_longer(&mut self, policy: GatePolicy, now: Instant) {
        self.interval = self.interval.saturating_mul(2).min(policy.longest(&self.fault));
        self.next_probe = Some(now + self.interval);
    }
}

impl Gate {
    pub(super) fn new(policy: GatePolicy) -> Self {
        Self { policy, streak: Streak::default(), refusals: Refusals::default(), closed: None }
    }

    /// Follows another policy from now on.
    pub(super) fn set_policy(&mut self, policy: GatePolicy) {
        self.policy = policy;
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

    /// Which probe is the next one, counted from 0, if it is closed.
    pub(super) fn probe(&self) -> Option<u32> {
        self.closed.as_ref().map(|closed| closed.probes)
    }

    /// A probe was claimed: no other one until it ends.
    pub(super) fn probing(&mut self) {
        if let Some(closed) = &mut self.closed {
            closed.next_probe = None;
            closed.probes = closed.probes.wrapping_add(1);
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
            None => self.observe_refusals(ending, sent, now).or_else(|| self.observe_streak(row, ending, now)),
        }
    }

    fn observe_refusals(&mut self, ending: &Ending, sent: Instant, now: Instant) -> Option<Swing> {
        if ending.is_granted() {
            self.refusals = Refusals { count: 0, granted_at: Some(now) };
        }
        let Ending::Throttled(why) = ending else {
            return None;
        };
        let for_our_rate = self.refusals.granted_at.is_some_and(|granted| sent < granted + COUNTED_FOR);
        self.refusals.count += u32::from(!for_our_rate);
        (self.refusals.count >= self.policy.after).then(|| self.close(Fault::Storm, why.clone(), now))
    }

    fn observe_probe(&mut self, ending: &Ending, now: Instant) -> Option<Swing> {
        let closed = self.closed.as_mut()?;
        match ending {
            Ending::Fault(Fault::Denied(_), _) if !matches!(closed.fault, Fault::Denied(_)) => self.open(now),
            Ending::Answered => self.open(now),
            Ending::Throttled(_) if closed.fault == Fault::Storm => {
                closed.wait_longer(self.policy, now);
                None
            }
            Ending::Throttled(_) | Ending::Unknown => {
                closed.next_probe = Some(now + closed.interval);
                None
            }
            Ending::Fault(fault, why) => {
                closed.fault = fault.clone();
                closed.why.clone_from(why);
                closed.wait_longer(self.policy, now);
                None
            }
        }
    }

    fn open(&mut self, now: Instant) -> Option<Swing> {
        self.streak = Streak::default();
        self.refusals = Refusals { count: 0, granted_at: Some(now) };
        let closed = self.closed.take()?;
        Some(Swing::Opened(now.duration_since(closed.since)))
    }

    fn observe_streak(&mut self, row: i64, ending: &Ending, now: Instant) -> Option<Swing> {
        let (fault, why) = match ending {
            Ending::Answered => {
                self.streak = Streak::default();
                return None;
            }
            Ending::Throttled(_) | Ending::Unknown => return None,
            Ending::Fault(fault, why) => (fault, why),
        };
        if self.streak.fault.as_ref() != Some(fault) {
            self.streak = Streak { fault: Some(fault.clone()), rows: Vec::new() };
        }
        // Not being able to send is never the row's fault: there every request counts. A policy can deny one row alone.
        if *fault == Fault::Unreachable || !self.streak.rows.contains(&row) {
            self.streak.rows.push(row);
        }
        let enough = usize::try_from(self.policy.after).is_ok_and(|after| self.streak.rows.len() >= after);
        (enough || matches!(fault, Fault::Account(_))).then(|| self.close(fault.clone(), why.clone(), now))
    }

    fn close(&mut self, fault: Fault, why: String, now: Instant) -> Swing {
        let interval = self.policy.probe_initial.min(self.policy.longest(&fault));
        let next_probe = Some(now + interval);
        self.closed = Some(Closed { since: now, fault, why: why.clone(), interval, probes: 0, next_probe });
        Swing::Closed(why)
    }
}
