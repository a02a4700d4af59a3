//! The circuit breaker of a pipeline: it trips on faults that are not specific to one submission, and then probes at growing
//! intervals whether they are over. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::cause::{Incident, PauseCause, Probes, Quote};
use crate::clock::Now;
use crate::submission::{FaultKind, HealthSignal, RateSignal};

/// A server counts by the second: a refusal later than this after the last grant isn't caused by our rate.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// The longest wait between probes while every request is refused for its rate: that ends by itself, and should be noticed
/// soon.
const EXHAUSTION_PROBE_MAX: Duration = Duration::from_secs(60);

/// When a circuit breaker trips, and how it probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BreakerPolicy {
    /// The same fault of this many different submissions in succession trips it.
    pub(super) after: u32,
    /// From tripping to the first probe.
    pub(super) probe_initial: Duration,
    /// The longest wait between probes.
    pub(super) probe_max: Duration,
}

/// A fault; two that are equal belong to one streak.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    kind: FaultKind,
    /// The error code, where the server gave one.
    code: Option<Quote>,
}

/// How a request ended, as the breaker sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Observation {
    /// The submission's id.
    pub(super) submission: i64,
    /// When the request was signed.
    pub(super) sent: Instant,
    /// What its outcome says about the service and our account.
    pub(super) health: HealthSignal,
    /// What its outcome says about the server's rate limit.
    pub(super) rate: RateSignal,
    /// The error code, if the server gave one.
    pub(super) code: Option<Quote>,
    /// Why requests pause if this outcome trips the breaker.
    pub(super) cause: Option<PauseCause>,
}

impl Observation {
    /// A request whose end tells nothing.
    pub(super) fn nothing(submission: i64, sent: Instant) -> Self {
        let (health, rate) = (HealthSignal::Silent, RateSignal::Silent);
        Self { submission, sent, health, rate, code: None, cause: None }
    }
}

/// How the breaker changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BreakerChange {
    /// It tripped.
    Tripped,
    /// A probe found that the fault isn't over.
    ProbeFailed,
    /// It recovered from this cause, after this long.
    Recovered(PauseCause, Duration),
}

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    policy: BreakerPolicy,
    streak: Streak,
    exhaustion: Exhaustion,
    tripped: Option<Tripped>,
}

/// Refusals since the last grant that our rate doesn't explain.
#[derive(Debug, Default)]
struct Exhaustion {
    count: u32,
    granted_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Streak {
    fault: Option<Fault>,
    submissions: Vec<i64>,
}

#[derive(Debug)]
struct Tripped {
    since: Instant,
    fault: Fault,
    cause: PauseCause,
    interval: Duration,
    /// How many probes were claimed.
    claimed: u32,
    /// How many found that the fault isn't over.
    failed: u32,
    /// When the last of them ended.
    last_probe: Option<Instant>,
    /// When to probe; none while a probe is in flight.
    next_probe: Option<Instant>,
}

impl BreakerPolicy {
    /// The longest wait between probes for this fault.
    fn longest(&self, fault: &Fault) -> Duration {
        if fault.kind == FaultKind::RateExhausted { self.probe_max.min(EXHAUSTION_PROBE_MAX) } else { self.probe_max }
    }
}

impl Tripped {
    /// The next probe comes after twice the last wait.
    fn wait_longer(&mut self, policy: BreakerPolicy, now: Instant) {
        self.interval = self.interval.saturating_mul(2).min(policy.longest(&self.fault));
        self.next_probe = Some(now + self.interval);
    }
}

impl CircuitBreaker {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, streak: Streak::default(), exhaustion: Exhaustion::default(), tripped: None }
    }

    /// Applies another policy.
    pub(super) fn set_policy(&mut self, policy: BreakerPolicy) {
        self.policy = policy;
    }

    /// How many requests may go out: no limit, one probe, or none.
    pub(super) fn allows(&self, now: Instant) -> usize {
        match &self.tripped {
            None => usize::MAX,
            Some(tripped) => usize::from(tripped.next_probe.is_some_and(|at| at <= now)),
        }
    }

    /// Why it is tripped, if it is.
    pub(super) fn cause(&self) -> Option<&PauseCause> {
        self.tripped.as_ref().map(|tripped| &tripped.cause)
    }

    /// Why, since when, and what probes found, if it is tripped.
    pub(super) fn incident(&self, now: Now) -> Option<Incident> {
        let tripped = self.tripped.as_ref()?;
        let at = |instant: Option<Instant>| instant.map(|instant| now.at(instant));
        let (last, next) = (at(tripped.last_probe), at(tripped.next_probe));
        let probes = Probes { failed: tripped.failed, last, next };
        Some(Incident { probes, ..Incident::new(tripped.cause.clone(), at(Some(tripped.since))) })
    }

    /// The kind of fault for which it is tripped, if it is.
    pub(super) fn fault(&self) -> Option<FaultKind> {
        self.tripped.as_ref().map(|tripped| tripped.fault.kind)
    }

    /// When the next probe is due.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.tripped.as_ref().and_then(|tripped| tripped.next_probe)
    }

    /// The number of the next probe, from 0, if it is tripped.
    pub(super) fn probe(&self) -> Option<u32> {
        self.tripped.as_ref().map(|tripped| tripped.claimed)
    }

    /// A probe was claimed; the next one waits for its end.
    pub(super) fn probing(&mut self) {
        if let Some(tripped) = &mut self.tripped {
            tripped.next_probe = None;
            tripped.claimed = tripped.claimed.wrapping_add(1);
        }
    }

    /// There was no row to probe with, or the probe was returned unsent: probe at this time.
    pub(super) fn probe_at(&mut self, at: Instant) {
        if let Some(tripped) = &mut self.tripped {
            tripped.next_probe = Some(at);
        }
    }

    /// The fault may be over: probe at once, and start again with the shortest interval.
    pub(super) fn probe_now(&mut self, now: Instant) {
        if let Some(tripped) = &mut self.tripped {
            tripped.next_probe = Some(now);
            tripped.interval = self.policy.probe_initial;
        }
    }

    /// Whether many submissions were denied with this code, which tripped it: then the account is at fault.
    pub(super) fn denies(&self, code: &Quote) -> bool {
        let fault = self.tripped.as_ref().map(|tripped| &tripped.fault);
        fault.is_some_and(|fault| fault.kind == FaultKind::Denied && fault.code.as_ref() == Some(code))
    }

    /// Observes how a request ended.
    pub(super) fn observe(&mut self, seen: &Observation, now: Instant) -> Option<BreakerChange> {
        match &self.tripped {
            // A request that was sent before the trip tells nothing new.
            Some(tripped) if seen.sent < tripped.since => None,
            Some(_) => self.observe_probe(seen, now),
            None => self.observe_exhaustion(seen, now).or_else(|| self.observe_streak(seen, now)),
        }
    }

    fn observe_exhaustion(&mut self, seen: &Observation, now: Instant) -> Option<BreakerChange> {
        match seen.rate {
            RateSignal::Granted => {
                self.exhaustion = Exhaustion { count: 0, granted_at: Some(now) };
                None
            }
            RateSignal::Silent => None,
            RateSignal::Exhausted => {
                let granted_at = self.exhaustion.granted_at;
                let for_our_rate = granted_at.is_some_and(|granted| seen.sent < granted + COUNTED_FOR);
                self.exhaustion.count += u32::from(!for_our_rate);
                let fault = Fault { kind: FaultKind::RateExhausted, code: None };
                let exhausted = self.exhaustion.count >= self.policy.after;
                exhausted.then(|| self.trip(fault, seen.cause.as_ref(), now)).flatten()
            }
        }
    }

    fn observe_probe(&mut self, seen: &Observation, now: Instant) -> Option<BreakerChange> {
        let tripped = self.tripped.as_mut()?;
        match (seen.health, &seen.cause) {
            (HealthSignal::Healthy, _) => return self.recover(now),
            // The API answered about this certificate, so the fault that tripped it is over.
            (HealthSignal::Fault(FaultKind::Denied), _) if tripped.fault.kind != FaultKind::Denied => {
                return self.recover(now);
            }
            (HealthSignal::Fault(kind), Some(cause)) => {
                tripped.fault = Fault { kind, code: seen.code.clone() };
                tripped.cause = cause.clone();
                tripped.wait_longer(self.policy, now);
            }
            _ if seen.rate == RateSignal::Exhausted && tripped.fault.kind == FaultKind::RateExhausted => {
                tripped.wait_longer(self.policy, now);
            }
            _ => {
                tripped.next_probe = Some(now + tripped.interval);
                return None;
            }
        }
        tripped.failed = tripped.failed.saturating_add(1);
        tripped.last_probe = Some(now);
        Some(BreakerChange::ProbeFailed)
    }

    fn recover(&mut self, now: Instant) -> Option<BreakerChange> {
        self.streak = Streak::default();
        self.exhaustion = Exhaustion { count: 0, granted_at: Some(now) };
        let tripped = self.tripped.take()?;
        Some(BreakerChange::Recovered(tripped.cause, now.duration_since(tripped.since)))
    }

    fn observe_streak(&mut self, seen: &Observation, now: Instant) -> Option<BreakerChange> {
        let fault = match seen.health {
            HealthSignal::Healthy => {
                self.streak = Streak::default();
                return None;
            }
            HealthSignal::Silent => return None,
            HealthSignal::Fault(kind) => Fault { kind, code: seen.code.clone() },
        };
        if self.streak.fault.as_ref() != Some(&fault) {
            self.streak = Streak { fault: Some(fault.clone()), submissions: Vec::new() };
        }
        // Where nothing can be sent, every request counts; otherwise the fault may be this submission's, which counts once.
        if fault.kind == FaultKind::Unreachable || !self.streak.submissions.contains(&seen.submission) {
            self.streak.submissions.push(seen.submission);
        }
        let enough = usize::try_from(self.policy.after).is_ok_and(|after| self.streak.submissions.len() >= after);
        let trips = enough || fault.kind == FaultKind::Account;
        trips.then(|| self.trip(fault, seen.cause.as_ref(), now)).flatten()
    }

    fn trip(&mut self, fault: Fault, cause: Option<&PauseCause>, now: Instant) -> Option<BreakerChange> {
        let cause = cause?.clone();
        let interval = self.policy.probe_initial.min(self.policy.longest(&fault));
        let next_probe = Some(now + interval);
        let (claimed, failed, last_probe) = (0, 0, None);
        self.tripped = Some(Tripped { since: now, fault, cause, interval, claimed, failed, last_probe, next_probe });
        Some(BreakerChange::Tripped)
    }
}
