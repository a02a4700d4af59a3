//! Sending claims in their slots, and what follows when a request ends.

use std::sync::Arc;

use tokio::task::Id;
use tokio::time::Instant;

use super::Until;
use super::ending::{self, Context, Unsent};
use super::gate::{Ending, Fault, Swing};
use super::worker::{Reply, Worker};
use crate::clock::{self, Now};
use crate::logging::LogEvent;
use crate::queue::{Claim, QueueError, RequestKind};
use crate::tencent::Credentials;

impl Worker {
    /// The keys to send with; none while nothing is to be sent.
    pub(super) fn sends_with(&self, now: Instant) -> Option<&Arc<Credentials>> {
        let sends = self.trouble.is_none() && self.exit.fatal.is_none() && self.exit.deadline.is_none();
        self.keys.in_use(now).filter(|_| sends)
    }

    /// Why claims are given back unsent, if they are.
    pub(super) fn why_unsent(&self) -> Option<Unsent> {
        match (self.exit.deadline, self.keyless_since) {
            (Some(_), _) => Some(Unsent::Stopped),
            (None, Some(_)) => Some(Unsent::Paused),
            (None, None) => None,
        }
    }

    pub(super) fn send_ready(&mut self, now: Now) {
        let Some(credentials) = self.sends_with(now.instant).cloned() else {
            return;
        };
        while let Some(claim) = self.commits.next(clock::now().instant) {
            if !self.is_in_place(now) {
                return self.give_back(vec![claim], Unsent::NotInPlace);
            }
            let (client, credentials, sent) = (Arc::clone(&self.client), Arc::clone(&credentials), claim.clone());
            let departed = self.tells_departure(claim.request);
            let task = self.requests.spawn(async move {
                Reply::Commit(client.commit(&credentials, &sent.certificate_id, sent.verify_type, departed).await)
            });
            self.commits.sent(task.id(), claim);
        }
        while let Some(claim) = self.reads.next(clock::now().instant) {
            let (client, credentials, sent) = (Arc::clone(&self.client), Arc::clone(&credentials), claim.clone());
            let departed = self.tells_departure(claim.request);
            let task = self
                .requests
                .spawn(async move { Reply::Read(client.read(&credentials, &sent.certificate_id, departed).await) });
            self.reads.sent(task.id(), claim);
        }
    }

    /// What a request calls when its first byte goes out.
    pub(super) fn tells_departure(&self, request: i64) -> impl FnOnce(Instant) + Send + Sync + 'static {
        let departures = self.departures.0.clone();
        // Nobody listens any more only after the loop has ended.
        move |at| departures.send((request, at)).unwrap_or_default()
    }

    pub(super) fn after_departure(&mut self, (request, at): (i64, Instant)) {
        let known = self.commits.departed(request, at) || self.reads.departed(request, at);
        tracing::trace!(request, known, "departed");
    }

    /// Whether the database's file is still the one that is open, and has no other name; if not, nothing more is sent. A
    /// name that somebody gave it, a backup by hard links for instance, may go again.
    fn is_in_place(&mut self, now: Now) -> bool {
        match self.place.check() {
            Ok(()) => true,
            Err(error @ QueueError::Linked { .. }) => {
                self.meet_trouble(error, now);
                false
            }
            Err(error) => {
                self.exit.fatal.get_or_insert(error);
                false
            }
        }
    }

    pub(super) fn after_request(&mut self, (task, reply): (Id, Option<Reply>)) {
        let now = clock::now();
        let context = Context { run: &self.run, policy: &self.policy, now, dice: fastrand::f64() };
        // Of a task that panicked nobody knows whether its request went out: it counts as if it had.
        let departed = reply.as_ref().map_or(Some(now.instant), Reply::departed);
        let (kind, claim) = match (self.commits.ended(task, departed), self.reads.ended(task, departed)) {
            (Some(claim), _) => (RequestKind::Commit, claim),
            (None, Some(claim)) => (RequestKind::Read, claim),
            (None, None) => return,
        };
        let lane = match kind {
            RequestKind::Commit => &mut self.commits,
            RequestKind::Read => &mut self.reads,
        };
        let (record, ending, sent) = match reply {
            Some(Reply::Commit(exchange)) => {
                let sent = exchange.sent.instant;
                let (record, ending) = ending::commit(&claim, exchange, &lane.gate, context);
                (record, ending, sent)
            }
            Some(Reply::Read(exchange)) => {
                let sent = exchange.sent.instant;
                let (record, ending) = ending::read(&claim, exchange, context);
                (record, ending, sent)
            }
            None => (ending::interrupted(&claim, context), Ending::Unknown, now.instant),
        };
        if matches!(ending, Ending::Throttled(_)) {
            lane.limiter.throttled(departed.unwrap_or(sent), now.instant);
        } else if ending.is_granted() {
            lane.limiter.granted(departed.unwrap_or(sent), now.instant);
        }
        let swing = lane.gate.observe(claim.submission, &ending, sent, now.instant);
        self.watchers.request_ended(kind, &record.finished);
        self.records.push(record);
        if let Some(swing) = swing {
            self.after_swing(kind, &swing, now);
        }
    }

    pub(super) fn after_swing(&mut self, kind: RequestKind, swing: &Swing, now: Now) {
        let what = match kind {
            RequestKind::Commit => "",
            RequestKind::Read => " reading back",
        };
        match swing {
            Swing::Closed(_) => {
                let why = match kind {
                    RequestKind::Commit => self.advised(&self.commits),
                    RequestKind::Read => self.advised(&self.reads),
                };
                let why = why.unwrap_or_default();
                let event = if kind == RequestKind::Commit { LogEvent::Paused } else { LogEvent::VerifyPaused };
                let probe_in = self.settings.pause.probe_initial.as_secs();
                tracing::warn!(
                    event = event.as_str(),
                    why,
                    probe_in_s = probe_in,
                    "paused{what}: {why}. It probes by itself, first in {probe_in} s; or run: certcommit resume",
                );
                let lane = match kind {
                    RequestKind::Commit => &mut self.commits,
                    RequestKind::Read => &mut self.reads,
                };
                let claims = lane.drain_ready(now.instant);
                let fault = lane.gate.fault().cloned();
                self.give_back(claims, Unsent::Paused);
                if self.exit.until == Until::Empty && kind == RequestKind::Commit && ends_a_run(fault.as_ref()) {
                    self.exit.refused = Some(why);
                    self.begin_stop(now, "it can't go on");
                }
            }
            Swing::Opened(after) => {
                tracing::info!(
                    event = LogEvent::Resumed.as_str(),
                    paused_s = after.as_secs(),
                    "resumed{what} after {} s",
                    after.as_secs()
                );
            }
        }
    }

    pub(super) fn give_back(&mut self, claims: Vec<Claim>, why: Unsent) {
        let context = Context { run: &self.run, policy: &self.policy, now: clock::now(), dice: 0.0 };
        let records = claims.iter().map(|claim| ending::unsent(claim, why, context));
        self.records.extend(records);
    }
}

/// Faults for which a run until empty doesn't wait.
fn ends_a_run(fault: Option<&Fault>) -> bool {
    matches!(fault, Some(Fault::Account(_) | Fault::Denied(_) | Fault::Unreachable))
}
