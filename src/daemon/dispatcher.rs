//! The dispatcher: it sends claims as soon as they have a slot, and reports how each request ended.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::circuit_breaker::{BreakerChange, BreakerPolicy, Observation};
use super::early_readbacks::EarlyReadbacks;
use super::pipeline::{Pipeline, PipelineSettings};
use super::request_outcome::{self, Context};
use crate::cause::{KeySource, Quote, RowCause};
use crate::clock::{self, Now};
use crate::config::Settings;
use crate::pacing::Limits;
use crate::queue::{Claim, ClaimLimits, Completed, DepartureMarker, FileIdentity, Paces, QueueError};
use crate::submission::{RateSignal, RequestKind};
use crate::tencent::{Client, Credentials, Exchange};

/// Departures of requests, by their numbers.
type Departure = (i64, Instant);

/// What happened to a request.
#[derive(Debug)]
pub(super) enum DispatchEvent {
    /// The first byte of this request went out.
    Departed(i64, Instant),
    /// Its task ended, without an exchange if it panicked.
    Ended(Id, Option<Box<Exchange>>),
}

/// A request that ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The result, to be written.
    pub(super) result: Completed,
    /// How the circuit breaker of its kind changed.
    pub(super) breaker: Option<BreakerChange>,
}

/// The dispatcher.
pub(super) struct Dispatcher {
    pub(super) commits: Pipeline,
    pub(super) readbacks: Pipeline,
    early_readbacks: EarlyReadbacks,
    client: Arc<Client>,
    pub(super) marker: Option<DepartureMarker>,
    requests: JoinSet<Exchange>,
    departed: mpsc::UnboundedSender<Departure>,
    departures: mpsc::UnboundedReceiver<Departure>,
}

impl Dispatcher {
    pub(super) fn new(
        client: Arc<Client>,
        marker: Option<DepartureMarker>,
        settings: &Settings,
        started: Instant,
    ) -> Self {
        let (departed, departures) = mpsc::unbounded_channel();
        Self {
            commits: Pipeline::new(pipeline(settings, settings.rate.per_second), started),
            readbacks: Pipeline::new(pipeline(settings, settings.verify.per_second), started),
            early_readbacks: EarlyReadbacks::default(),
            client,
            marker,
            requests: JoinSet::new(),
            departed,
            departures,
        }
    }

    /// Applies other settings.
    pub(super) fn set(&mut self, settings: &Settings, now: Instant) {
        self.commits.set(pipeline(settings, settings.rate.per_second), now);
        self.readbacks.set(pipeline(settings, settings.verify.per_second), now);
    }

    /// Whether a circuit breaker is tripped.
    pub(super) fn is_tripped(&self) -> bool {
        self.pipelines().into_iter().any(|pipeline| pipeline.breaker.fault().is_some())
    }

    /// Both pipelines.
    fn pipelines(&self) -> [&Pipeline; 2] {
        [&self.commits, &self.readbacks]
    }

    /// The pipeline of this kind.
    pub(super) fn pipeline(&self, kind: RequestKind) -> &Pipeline {
        match kind {
            RequestKind::Commit => &self.commits,
            RequestKind::Readback => &self.readbacks,
        }
    }

    fn pipeline_mut(&mut self, kind: RequestKind) -> &mut Pipeline {
        match kind {
            RequestKind::Commit => &mut self.commits,
            RequestKind::Readback => &mut self.readbacks,
        }
    }

    /// Probes at once where a circuit breaker is tripped: an operator says that the fault is over.
    pub(super) fn probe_now(&mut self, now: Instant) {
        self.commits.breaker.probe_now(now);
        self.readbacks.breaker.probe_now(now);
    }

    /// Probes at once where other credentials may have ended the fault.
    pub(super) fn probe_with_new_credentials(&mut self, now: Instant) {
        for pipeline in [&mut self.commits, &mut self.readbacks] {
            if pipeline.breaker.fault().is_some_and(request_outcome::is_about_credentials) {
                pipeline.breaker.probe_now(now);
            }
        }
    }

    /// What a batch may claim. `most` bounds the claims of each kind.
    pub(super) fn claim_limits(&self, now: Instant, most: usize, skip: Vec<i64>) -> ClaimLimits {
        ClaimLimits {
            commits: self.commits.room(now).min(most),
            readbacks: self.readbacks.room(now).min(most),
            skip,
            probe: self.commits.breaker.probe(),
            early_readbacks_in: self.early_readbacks.allowed_in(now),
            readback_paused: self.readbacks.breaker.fault().is_some(),
        }
    }

    /// Whether a batch is worthwhile for its claims alone.
    pub(super) fn is_hungry(&self, now: Now, commits_paused: bool, last_took: Duration) -> bool {
        let is_hungry = |pipeline: &Pipeline| pipeline.is_hungry(now.instant, now.unix.seconds(), last_took);
        is_hungry(&self.commits) && !commits_paused || is_hungry(&self.readbacks)
    }

    /// Takes a batch's claims, and returns those that a circuit breaker which tripped meanwhile doesn't let through.
    pub(super) fn accept(
        &mut self,
        claims: Vec<Claim>,
        next_due: [Option<i64>; 2],
        context: Context,
    ) -> Vec<Completed> {
        let now = context.now.instant;
        let (commits, readbacks): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| claim.kind == RequestKind::Commit);
        let [next_commit, next_readback] = next_due;
        let mut excess = self.commits.accept(commits, next_commit, now);
        excess.extend(self.readbacks.accept(readbacks, next_readback, now));
        returned(excess, &RowCause::PausedUnsent, context).collect()
    }

    /// Sends claims that have a slot. Before each commit, checks that the database's file is still the one that is open, and
    /// raises the departure marker.
    ///
    /// # Errors
    /// When it isn't, or the marker can't be written: the result of the claim that was not sent, and the reason.
    pub(super) fn send(
        &mut self,
        credentials: &Arc<Credentials>,
        file: &FileIdentity,
        context: Context,
    ) -> Result<(), Box<(Completed, QueueError)>> {
        for kind in [RequestKind::Commit, RequestKind::Readback] {
            while let Some(claim) = self.pipeline_mut(kind).next(clock::now().instant) {
                if kind == RequestKind::Commit
                    && let Err(error) = self.clear_for_departure(claim.request, file)
                {
                    let has_moved = matches!(error, QueueError::Replaced(_) | QueueError::Linked { .. });
                    let why = || RowCause::NotSent { why: Quote::new(&error.to_string()) };
                    let cause = if has_moved { RowCause::DatabaseMovedUnsent } else { why() };
                    let unsent = request_outcome::returned(claim, cause, context);
                    return Err(Box::new((unsent, error)));
                }
                self.spawn(claim, Arc::clone(credentials));
            }
        }
        Ok(())
    }

    fn clear_for_departure(&mut self, request: i64, file: &FileIdentity) -> Result<(), QueueError> {
        file.check()?;
        self.marker.as_mut().map_or(Ok(()), |marker| marker.advance(request))
    }

    fn spawn(&mut self, claim: Claim, credentials: Arc<Credentials>) {
        let (client, departures, sent) = (Arc::clone(&self.client), self.departed.clone(), claim.clone());
        let task = self.requests.spawn(async move {
            let Claim { request, kind, certificate_id, verify_type, .. } = sent;
            // The receiver is gone only after the loop has ended.
            let departed = move |at| departures.send((request, at)).unwrap_or_default();
            client.request(kind, &credentials, &certificate_id, verify_type, departed).await
        });
        self.pipeline_mut(claim.kind).sent(task.id(), claim);
    }

    /// Waits for the next event of a request; for ever if none is in flight. Cancelling this loses nothing.
    pub(super) async fn next_event(&mut self) -> DispatchEvent {
        tokio::select! {
            Some((request, at)) = self.departures.recv() => DispatchEvent::Departed(request, at),
            (task, exchange) = next_ended(&mut self.requests) => DispatchEvent::Ended(task, exchange.map(Box::new)),
        }
    }

    /// Handles an event. `keys` is where the credentials in use come from.
    pub(super) fn handle(&mut self, event: DispatchEvent, keys: KeySource, context: Context) -> Option<Ended> {
        match event {
            DispatchEvent::Departed(request, at) => {
                let known = self.commits.departed(request, at) || self.readbacks.departed(request, at);
                tracing::trace!(request, known, "departed");
                None
            }
            DispatchEvent::Ended(task, exchange) => self.ended(task, exchange.as_deref(), keys, context),
        }
    }

    fn ended(&mut self, task: Id, exchange: Option<&Exchange>, keys: KeySource, context: Context) -> Option<Ended> {
        let now = context.now;
        // Whether the request of a task that panicked went out is unknown: it counts as if it had.
        let departed = exchange.map_or(Some(now.instant), |exchange| exchange.departed);
        let claim = self.commits.ended(task, departed).or_else(|| self.readbacks.ended(task, departed))?;
        let pipeline = self.pipeline_mut(claim.kind);
        let (observation, result) = match exchange {
            Some(exchange) => (
                request_outcome::observation(&claim, exchange, keys, now),
                request_outcome::ended(claim, exchange, &pipeline.breaker, context),
            ),
            None => (Observation::nothing(claim.submission, now.instant), request_outcome::interrupted(claim, context)),
        };
        let sent = departed.unwrap_or(observation.sent);
        match observation.rate {
            RateSignal::Exhausted => pipeline.limiter.throttled(sent, now.instant),
            RateSignal::Granted => pipeline.limiter.granted(sent, now.instant),
            RateSignal::Silent => {}
        }
        let breaker = pipeline.breaker.observe(&observation, now.instant);
        self.early_readbacks.observe(&result, &context.policy.verify, now.instant);
        Some(Ended { result, breaker })
    }

    /// Returns the claims of these kinds that have not been sent, for this cause.
    pub(super) fn return_ready(&mut self, kinds: &[RequestKind], cause: &RowCause, context: Context) -> Vec<Completed> {
        let mut results = Vec::new();
        for kind in kinds {
            let claims = self.pipeline_mut(*kind).drain_ready(context.now.instant);
            results.extend(returned(claims, cause, context));
        }
        results
    }

    /// Abandons the requests in flight: their outcomes are unknown.
    pub(super) fn abandon(&mut self, context: Context) -> Vec<Completed> {
        self.requests.abort_all();
        let mut claims = self.commits.drain_in_flight();
        claims.extend(self.readbacks.drain_in_flight());
        claims.into_iter().map(|claim| request_outcome::interrupted(claim, context)).collect()
    }

    /// How many requests are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.commits.in_flight() + self.readbacks.in_flight()
    }

    /// The numbers of its requests, in flight or about to be sent.
    pub(super) fn held(&self) -> impl Iterator<Item = i64> {
        self.commits.held().chain(self.readbacks.held())
    }

    /// The present pace of each kind, in requests a second.
    pub(super) fn paces(&self) -> Paces {
        Paces { commits: self.commits.limiter.pace(), reads: self.readbacks.limiter.pace() }
    }

    /// When a read may go out that no readback needs: none, while one is due, or readback is paused.
    pub(super) fn next_spare_read(&self, now: Now) -> Option<Instant> {
        let Pipeline { limiter, breaker, .. } = &self.readbacks;
        let is_spare = breaker.fault().is_none() && !self.readbacks.has_work(now.unix.seconds());
        is_spare.then(|| limiter.next_slot(now.instant))
    }

    /// Takes the slot for a read at once, if there is one. Report its end with [`spare_read_ended`](Self::spare_read_ended).
    pub(super) fn take_spare_read(&mut self, now: Now) -> bool {
        self.next_spare_read(now).is_some() && self.readbacks.limiter.try_send(now.instant).is_ok()
    }

    /// Such a read ended. It went out then, or never.
    pub(super) fn spare_read_ended(&mut self, departed: Option<Instant>) {
        match departed {
            Some(at) => self.readbacks.limiter.departed(at),
            None => self.readbacks.limiter.never_departed(),
        }
    }

    /// When the next row is due, in unix seconds, as of the last batch.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.pipelines().into_iter().filter_map(Pipeline::next_due).min()
    }

    /// When probes are due.
    pub(super) fn next_probes(&self) -> impl Iterator<Item = Instant> {
        self.pipelines().into_iter().filter_map(|pipeline| pipeline.breaker.next_probe())
    }

    /// When the next claim can be sent, if there is one.
    pub(super) fn next_slot(&self, now: Instant) -> Option<Instant> {
        self.pipelines().into_iter().filter_map(|pipeline| pipeline.next_slot(now)).min()
    }
}

fn returned(claims: Vec<Claim>, cause: &RowCause, context: Context) -> impl Iterator<Item = Completed> {
    claims.into_iter().map(move |claim| request_outcome::returned(claim, cause.clone(), context))
}

/// Waits for the next request that ends; for ever if none is in flight. A task that panicked has no exchange.
async fn next_ended(requests: &mut JoinSet<Exchange>) -> (Id, Option<Exchange>) {
    match requests.join_next_with_id().await {
        Some(Ok((id, exchange))) => (id, Some(exchange)),
        Some(Err(error)) => (error.id(), None),
        None => pending().await,
    }
}

fn pipeline(settings: &Settings, per_second: u32) -> PipelineSettings {
    PipelineSettings {
        limits: Limits { per_second, guard: settings.rate.guard },
        breaker: BreakerPolicy {
            after: settings.pause.after,
            probe_initial: settings.pause.probe_initial,
            probe_max: settings.pause.probe_max,
        },
        max_in_flight: settings.worker.max_in_flight,
    }
}
