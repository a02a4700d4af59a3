//! A lane: claims of one kind on their way from the queue to the wire, behind a gate and a limiter.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use super::gate::{Gate, GatePolicy};
use crate::pacing::{Limiter, Limits};
use crate::queue::Claim;

/// Claims that wait ahead of the limiter at most.
const CLAIM_AHEAD: usize = 16;
/// With more than this many waiting, no turn is taken for the sake of more. At full pace the next one is half a second
/// after the last, as it is for results.
const ENOUGH_AHEAD: usize = 6;
/// A turn that takes this long met a slow disk, or somebody who hardly lets go of the lock. The next one is taken as early as
/// it may claim anything.
const SLOW_TURN: Duration = Duration::from_millis(100);
/// One that is taken anyway claims along no fewer than these: claims cost less by the handful.
const HANDFUL: usize = CLAIM_AHEAD / 4;
/// With nothing to probe with, look again after this long.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// A request on its way.
#[derive(Debug)]
struct OnTheWay {
    claim: Claim,
    /// Whether its first byte is known to have gone out.
    departed: bool,
}

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) limiter: Limiter,
    pub(super) gate: Gate,
    ready: VecDeque<Claim>,
    on_the_way: HashMap<Id, OnTheWay>,
    max_in_flight: usize,
    /// When the next row is due, in unix seconds, as of the last turn.
    next_due: Option<i64>,
}

/// How a lane is to work.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneSettings {
    pub(super) limits: Limits,
    pub(super) gate: GatePolicy,
    /// Claims that wait or are on the way, at most.
    pub(super) max_in_flight: usize,
}

impl Lane {
    pub(super) fn new(settings: LaneSettings, started: Instant) -> Self {
        Self {
            limiter: Limiter::new(settings.limits, started),
            gate: Gate::new(settings.gate),
            ready: VecDeque::new(),
            on_the_way: HashMap::new(),
            max_in_flight: settings.max_in_flight,
            next_due: None,
        }
    }

    /// Works otherwise from now on; what it holds stays.
    pub(super) fn set(&mut self, settings: LaneSettings, now: Instant) {
        self.limiter.set_limits(settings.limits, now);
        self.gate.set_policy(settings.gate);
        self.max_in_flight = settings.max_in_flight;
    }

    /// How many claims the lane can take now; none, if it lacks less than a handful.
    pub(super) fn room(&self, now: Instant) -> usize {
        let lacking = CLAIM_AHEAD.saturating_sub(self.ready.len());
        if lacking < HANDFUL {
            return 0;
        }
        let free = self.max_in_flight.saturating_sub(self.on_the_way.len() + self.ready.len());
        free.min(lacking).min(self.gate.allows(now))
    }

    /// When the row that is due first is due, in unix seconds, as of the last turn.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.next_due
    }

    /// Whether a turn is worth taking for this lane's sake, where the last one took so long: it would find something, and
    /// too little is waiting.
    pub(super) fn is_hungry(&self, now: Instant, unix_seconds: i64, last_took: Duration) -> bool {
        let is_due = self.next_due.is_some_and(|due| due <= unix_seconds);
        let has_enough = last_took < SLOW_TURN && self.ready.len() > ENOUGH_AHEAD;
        is_due && !has_enough && self.room(now) > 0
    }

    /// Takes a turn's claims, and gives back what the gate, which may have closed since, doesn't let in.
    pub(super) fn take(&mut self, mut claims: Vec<Claim>, next_due: Option<i64>, now: Instant) -> Vec<Claim> {
        self.next_due = next_due;
        let allowed = self.gate.allows(now);
        let returned = claims.split_off(allowed.min(claims.len()));
        if allowed == 1 {
            if claims.is_empty() {
                self.gate.probe_at(now + PROBE_AGAIN);
            } else {
                self.gate.probing();
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

    /// A claim went out, in this task.
    pub(super) fn sent(&mut self, task: Id, claim: Claim) {
        self.on_the_way.insert(task, OnTheWay { claim, departed: false });
    }

    /// The first byte of this request went out. False: it isn't this lane's, or was known to have.
    pub(super) fn departed(&mut self, request: i64, at: Instant) -> bool {
        let one = self.on_the_way.values_mut().find(|one| one.claim.request == request && !one.departed);
        let Some(one) = one else {
            return false;
        };
        one.departed = true;
        self.limiter.departed(at);
        true
    }

    /// A task ended, and its request departed at this time or never: its claim.
    pub(super) fn ended(&mut self, task: Id, departed: Option<Instant>) -> Option<Claim> {
        let one = self.on_the_way.remove(&task)?;
        match departed {
            _ if one.departed => {}
            Some(at) => self.limiter.departed(at),
            None => self.limiter.never_departed(),
        }
        Some(one.claim)
    }

    /// Gives back what was not sent.
    pub(super) fn drain_ready(&mut self, now: Instant) -> Vec<Claim> {
        let was_a_probe = self.gate.fault().is_some() && self.gate.next_probe().is_none();
        if was_a_probe && !self.ready.is_empty() {
            self.gate.probe_at(now + PROBE_AGAIN);
        }
        self.ready.drain(..).collect()
    }

    /// Gives up on what is on its way.
    pub(super) fn drain_on_the_way(&mut self) -> Vec<Claim> {
        self.on_the_way.drain().map(|(_, one)| one.claim).collect()
    }

    /// How many requests are on their way.
    pub(super) fn on_the_way(&self) -> usize {
        self.on_the_way.len()
    }

    /// The numbers of the requests that this lane holds.
    pub(super) fn held(&self) -> impl Iterator<Item = i64> {
        let on_the_way = self.on_the_way.values().map(|one| &one.claim);
        self.ready.iter().chain(on_the_way).map(|claim| claim.request)
    }
}
