//! A pipeline: the claims of one kind between the queue and the wire, behind a circuit breaker and a limiter.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use super::batch_schedule::{BATCH_SIZE, SPARE_CLAIMS};
use super::circuit_breaker::{BreakerPolicy, CircuitBreaker};
use crate::pacing::{Limiter, Limits};
use crate::queue::Claim;

/// The most claims that wait for the limiter.
const CLAIM_AHEAD: usize = SPARE_CLAIMS + BATCH_SIZE;
/// A batch that takes this long met a slow disk, or a writer that holds the lock most of the time: the next one begins as soon
/// as it can claim anything.
const SLOW_BATCH: Duration = Duration::from_millis(100);
/// A batch claims at least this many or none: claims are cheaper together.
const MIN_CLAIMS: usize = CLAIM_AHEAD / 4;
/// Without a row to probe with, look again after this long.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// A request in flight.
#[derive(Debug)]
struct InFlight {
    claim: Claim,
    /// Whether its first byte is known to have gone out.
    departed: bool,
}

/// A pipeline.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) limiter: Limiter,
    pub(super) breaker: CircuitBreaker,
    ready: VecDeque<Claim>,
    in_flight: HashMap<Id, InFlight>,
    max_in_flight: usize,
    /// When the next row is due, in unix seconds, as of the last batch.
    next_due: Option<i64>,
}

/// The settings of a pipeline.
#[derive(Debug, Clone, Copy)]
pub(super) struct PipelineSettings {
    pub(super) limits: Limits,
    pub(super) breaker: BreakerPolicy,
    /// The most claims that wait or are in flight.
    pub(super) max_in_flight: usize,
}

impl Pipeline {
    pub(super) fn new(settings: PipelineSettings, started: Instant) -> Self {
        Self {
            limiter: Limiter::new(settings.limits, started),
            breaker: CircuitBreaker::new(settings.breaker),
            ready: VecDeque::new(),
            in_flight: HashMap::new(),
            max_in_flight: settings.max_in_flight,
            next_due: None,
        }
    }

    /// Applies other settings; the claims that it holds stay.
    pub(super) fn set(&mut self, settings: PipelineSettings, now: Instant) {
        self.limiter.set_limits(settings.limits, now);
        self.breaker.set_policy(settings.breaker);
        self.max_in_flight = settings.max_in_flight;
    }

    /// How many claims it can take now: a handful at least, or none.
    pub(super) fn room(&self, now: Instant) -> usize {
        let lacking = CLAIM_AHEAD.saturating_sub(self.ready.len());
        if lacking < MIN_CLAIMS {
            return 0;
        }
        let free = self.max_in_flight.saturating_sub(self.in_flight.len() + self.ready.len());
        free.min(lacking).min(self.breaker.allows(now))
    }

    /// When the next row is due, in unix seconds, as of the last batch.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.next_due
    }

    /// Whether a claim waits for its slot, or a row is due.
    pub(super) fn has_work(&self, unix_seconds: i64) -> bool {
        !self.ready.is_empty() || self.next_due.is_some_and(|due| due <= unix_seconds)
    }

    /// Whether a batch is worthwhile for the claims of this pipeline alone: rows are due, and too few claims are waiting for
    /// the time that the last batch took.
    pub(super) fn is_hungry(&self, now: Instant, unix_seconds: i64, last_took: Duration) -> bool {
        let is_due = self.next_due.is_some_and(|due| due <= unix_seconds);
        let has_enough = last_took < SLOW_BATCH && self.ready.len() > SPARE_CLAIMS;
        is_due && !has_enough && self.room(now) > 0
    }

    /// Takes a batch's claims, and returns those that the breaker, which may have tripped since, doesn't let through.
    pub(super) fn accept(&mut self, mut claims: Vec<Claim>, next_due: Option<i64>, now: Instant) -> Vec<Claim> {
        self.next_due = next_due;
        let allowed = self.breaker.allows(now);
        let returned = claims.split_off(allowed.min(claims.len()));
        if allowed == 1 {
            if claims.is_empty() {
                self.breaker.probe_at(now + PROBE_AGAIN);
            } else {
                self.breaker.probing();
            }
        }
        self.ready.extend(claims);
        returned
    }

    /// The next claim to send, if a slot is free at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Option<Claim> {
        if self.ready.is_empty() || self.limiter.try_send(now).is_err() {
            return None;
        }
        self.ready.pop_front()
    }

    /// When the next claim can be sent.
    pub(super) fn next_slot(&self, now: Instant) -> Option<Instant> {
        (!self.ready.is_empty()).then(|| self.limiter.next_slot(now))
    }

    /// A claim is being sent by this task.
    pub(super) fn sent(&mut self, task: Id, claim: Claim) {
        self.in_flight.insert(task, InFlight { claim, departed: false });
    }

    /// The first byte of this request went out. False: it isn't in this pipeline, or that was known.
    pub(super) fn departed(&mut self, request: i64, at: Instant) -> bool {
        let one = self.in_flight.values_mut().find(|one| one.claim.request == request && !one.departed);
        let Some(one) = one else {
            return false;
        };
        one.departed = true;
        self.limiter.departed(at);
        true
    }

    /// A task ended, whose request departed at this time or never: its claim.
    pub(super) fn ended(&mut self, task: Id, departed: Option<Instant>) -> Option<Claim> {
        let one = self.in_flight.remove(&task)?;
        match departed {
            _ if one.departed => {}
            Some(at) => self.limiter.departed(at),
            None => self.limiter.never_departed(),
        }
        Some(one.claim)
    }

    /// Returns the claims that were not sent.
    pub(super) fn drain_ready(&mut self, now: Instant) -> Vec<Claim> {
        let was_a_probe = self.breaker.fault().is_some() && self.breaker.next_probe().is_none();
        if was_a_probe && !self.ready.is_empty() {
            self.breaker.probe_at(now + PROBE_AGAIN);
        }
        self.ready.drain(..).collect()
    }

    /// Abandons the requests in flight.
    pub(super) fn drain_in_flight(&mut self) -> Vec<Claim> {
        self.in_flight.drain().map(|(_, one)| one.claim).collect()
    }

    /// How many requests are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The numbers of its requests, in flight or about to be sent.
    pub(super) fn held(&self) -> impl Iterator<Item = i64> {
        let in_flight = self.in_flight.values().map(|one| &one.claim);
        self.ready.iter().chain(in_flight).map(|claim| claim.request)
    }
}
