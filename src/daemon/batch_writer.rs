//! The batch writer: it keeps results until they are written, and runs the batches that write them and claim submissions,
//! one at a time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::batch_schedule::{BATCH_SIZE, BatchSchedule, Reported, SPARE_CLAIMS};
use super::outage::Outage;
use super::rejected_writes::{RejectedWrites, log_never_written};
use crate::cause::Incident;
use crate::clock::{self, Now};
use crate::logging::LogEvent;
use crate::queue::{BatchReport, BatchRequest, Completed, Fault, Heartbeat, QueueError, Session};
use crate::submission::{OutcomeClass, Policy};

/// A batch that finds the database locked by another process tries again for this long.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// A batch that takes longer is logged, at most once a minute.
const SLOW: Duration = Duration::from_secs(1);
const LOG_SLOW_EVERY: Duration = Duration::from_secs(60);

/// So many results don't wait for others: more than come between two batches for claims, which write them, too.
const ENOUGH_RESULTS: usize = BATCH_SIZE + SPARE_CLAIMS;

/// A batch that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueBatch {
    /// Whether it writes the heartbeat.
    pub(super) heartbeat: bool,
    /// The most claims of each kind.
    pub(super) most_claims: usize,
    /// Whether it only looks at what others may have changed.
    pub(super) only_looks: bool,
    /// Whether it asks for claims that are due.
    asks: bool,
}

/// How a batch ended.
#[derive(Debug, Default)]
pub(super) struct BatchEnd {
    /// What it did and found; none if it failed, or nothing had changed.
    pub(super) report: Option<BatchReport>,
    /// Whether it looked for the oldest open submission.
    pub(super) found_oldest: bool,
    /// An error that ends the run.
    pub(super) fatal: Option<QueueError>,
    /// Whether what the queue's rules refuse stops the sending from now on.
    pub(super) stops_sending: bool,
}

/// A batch that has ended.
pub(super) struct Ran {
    pub(super) session: Session,
    pub(super) request: BatchRequest,
    /// Whether it asked for claims that are due.
    pub(super) asked: bool,
    pub(super) result: Result<Option<BatchReport>, QueueError>,
    pub(super) took: Duration,
}

/// The batch writer.
pub(super) struct BatchWriter {
    /// None while a batch is under way, which has it.
    pub(super) session: Option<Session>,
    running: Option<Pin<Box<dyn Future<Output = Ran> + Send>>>,
    pub(super) schedule: BatchSchedule,
    pub(super) results: Vec<Completed>,
    rejected: RejectedWrites,
    outage: Option<Outage>,
    /// The wall clock was set back, and the queue doesn't know yet.
    pub(super) clock_went_back: bool,
    slow_logged_at: Option<Instant>,
}

impl BatchWriter {
    pub(super) fn new(session: Session, rejected: RejectedWrites, now: Instant) -> Self {
        Self {
            session: Some(session),
            running: None,
            schedule: BatchSchedule::new(now),
            results: Vec::new(),
            rejected,
            outage: None,
            clock_went_back: false,
            slow_logged_at: None,
        }
    }

    /// Takes results; the next batch writes them.
    pub(super) fn push(&mut self, results: impl IntoIterator<Item = Completed>) {
        self.results.extend(results);
    }

    /// The wall clock was set back: the queue follows it with the next batch.
    pub(super) fn follow_clock(&mut self) {
        self.clock_went_back = true;
    }

    /// Another process is writing: look at it soon.
    pub(super) fn wake(&mut self, now: Instant) {
        self.schedule.wake(now);
    }

    /// How long the last batch took.
    pub(super) fn last_took(&self) -> Duration {
        self.schedule.took()
    }

    /// Whether a batch is under way.
    pub(super) fn is_writing(&self) -> bool {
        self.running.is_some()
    }

    /// Whether there are results that are not written yet, other than those that the queue's rules reject.
    pub(super) fn has_results(&self) -> bool {
        !self.results.is_empty()
    }

    /// Why the database doesn't work, during an outage.
    pub(super) fn outage(&self, now: Now) -> Option<Incident> {
        self.outage.as_ref().map(|outage| outage.incident(now))
    }

    /// Whether the database doesn't work at present.
    pub(super) fn is_out(&self) -> bool {
        self.outage.is_some()
    }

    /// What the queue's rules reject.
    pub(super) fn rejected(&self) -> &RejectedWrites {
        &self.rejected
    }

    /// The requests whose results are not written.
    pub(super) fn held(&self) -> impl Iterator<Item = i64> {
        self.results.iter().map(|result| result.claim.request).chain(self.rejected.held())
    }

    /// Whether results wait for those of requests in flight, to share their sync.
    fn gathers(&self, others_in_flight: bool) -> bool {
        (1..ENOUGH_RESULTS).contains(&self.results.len()) && others_in_flight
    }

    /// When the next batch may be due; none while one is under way.
    pub(super) fn next_wakeup(&self, others_in_flight: bool, now: Instant) -> Option<Instant> {
        let opens = self.opens()?;
        Some(if now < opens { opens } else { self.schedule.next_wakeup(self.gathers(others_in_flight), now) })
    }

    /// From when on a batch may begin; none while one is under way.
    fn opens(&self) -> Option<Instant> {
        self.session.as_ref()?;
        let rest_until = self.schedule.rest_until();
        Some(self.outage.as_ref().map_or(rest_until, |outage| outage.retry_at().max(rest_until)))
    }

    /// The batch that is due now, if one is. `hungry`: there is room for claims, and some are due.
    pub(super) fn due(
        &mut self,
        report: &Reported,
        hungry: bool,
        others_in_flight: bool,
        now: Instant,
    ) -> Option<DueBatch> {
        if self.opens().is_none_or(|at| now < at) {
            return None;
        }
        let gathers = self.gathers(others_in_flight);
        let due = self.schedule.due(report, gathers, now);
        // In an outage, a batch has to write something: one that only reads would work on a full disk, too.
        let heartbeat = due.heartbeat || self.outage.is_some();
        if heartbeat {
            let retried = self.rejected.retry();
            self.results.extend(retried);
        }
        let writes = !self.results.is_empty() && (due.look || !gathers);
        let claims = hungry && self.schedule.may_claim(due);
        let must = heartbeat || writes || claims || self.clock_went_back;
        if !must && !due.look {
            return None;
        }
        // Once rejected writes stop the sending, each heartbeat tries one claim.
        let most_claims = if self.rejected.stops_sending() { usize::from(heartbeat) } else { usize::MAX };
        Some(DueBatch { heartbeat, most_claims, only_looks: !must, asks: hungry })
    }

    /// Begins a batch with all results. `unfinished` are the requests that are in flight or about to be sent.
    pub(super) fn begin(
        &mut self,
        due: DueBatch,
        request: BatchRequest,
        unfinished: impl IntoIterator<Item = i64>,
        now: Instant,
    ) {
        let Some(session) = self.session.take() else { return };
        let report = |beat: &Heartbeat| Reported::new(beat.mode, &beat.incidents);
        let heartbeat = request.heartbeat.as_ref().map(report);
        self.schedule.begin(heartbeat, now);
        let reconciles = self.outage.is_some() || due.heartbeat && self.rejected.has_unsettled();
        let reconcile = reconciles.then(|| unfinished.into_iter().chain(self.held()).collect());
        let results = std::mem::take(&mut self.results);
        let follow_clock = std::mem::take(&mut self.clock_went_back);
        let only_if_changed = due.only_looks && !request.find_oldest && request.prune.is_none();
        let request = BatchRequest { results, only_if_changed, reconcile, follow_clock, ..request };
        self.running = Some(Box::pin(run(session, request, due.asks)));
    }

    /// Waits for the end of the batch that is under way; for ever, if there is none. Cancelling this loses nothing.
    pub(super) async fn ended(&mut self) -> BatchEnd {
        let ran = std::future::poll_fn(|context| self.poll_ran(context)).await;
        self.absorb(ran, clock::now())
    }

    fn poll_ran(&mut self, context: &mut Context<'_>) -> Poll<Ran> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        let ran = std::task::ready!(running.as_mut().poll(context));
        self.running = None;
        Poll::Ready(ran)
    }

    /// Takes the session back, and the results of a batch that failed.
    pub(super) fn absorb(&mut self, ran: Ran, now: Now) -> BatchEnd {
        let Ran { session, request, asked, result, took } = ran;
        self.session = Some(session);
        self.schedule.end(now.instant);
        match result {
            Ok(report) => {
                self.log_if_slow(took, now.instant);
                self.absorb_success(request, report, asked, now)
            }
            Err(error) => {
                // Results that came in the meantime stay behind those that were not written.
                let newer = std::mem::replace(&mut self.results, request.results);
                self.results.extend(newer);
                self.clock_went_back |= request.follow_clock;
                self.rejected.batch_failed();
                BatchEnd { fatal: self.absorb_failure(error, now.instant), ..BatchEnd::default() }
            }
        }
    }

    fn absorb_success(
        &mut self,
        request: BatchRequest,
        report: Option<BatchReport>,
        asked: bool,
        now: Now,
    ) -> BatchEnd {
        // It only looked, and nothing had changed: so it had nothing to write.
        let Some(report) = report else { return BatchEnd::default() };
        if let Some(recovered) = &report.recovered {
            self.rejected.set_unsettled(&recovered.rejected);
        }
        if let Some(outage) = self.outage.take() {
            outage.log_end(request.results.len() - report.rejected_results.len(), now.instant);
        }
        let rejected = request.results.into_iter().filter_map(|result| {
            let rejected = report.rejected_results.iter().find(|one| one.request == Some(result.claim.request))?;
            Some((result, rejected.clone()))
        });
        let stops_sending = self.rejected.batch_ended(rejected.collect(), &report.rejected_claims, now.instant);
        self.schedule.wrote(report.locked_for, now.instant);
        self.schedule.claimed(!report.claims.is_empty() || report.postponed > 0, asked);
        BatchEnd { report: Some(report), found_oldest: request.find_oldest, fatal: None, stops_sending }
    }

    /// Handles an error, and returns it if it ends the run.
    fn absorb_failure(&mut self, error: QueueError, now: Instant) -> Option<QueueError> {
        if let QueueError::RolledBack { refused: Some(write), .. } = &error {
            // A trigger rolled the whole batch back because of one write: the next batch does the rest.
            let index = self.results.iter().position(|result| Some(result.claim.request) == write.request);
            let result = index.map(|index| self.results.remove(index));
            self.rejected.add(write, result);
            return None;
        }
        self.database_failed(error, now)
    }

    /// The database doesn't work. Returns the error if it ends the run.
    pub(super) fn database_failed(&mut self, error: QueueError, now: Instant) -> Option<QueueError> {
        if let QueueError::Altered { .. } = &error {
            let (event, cause) = (LogEvent::DatabaseUnavailable.as_str(), error.code());
            tracing::error!(event, cause, "{}", error.with_remedy());
            return Some(error);
        }
        if matches!(error, QueueError::Replaced(_) | QueueError::Rewound { .. } | QueueError::Held { .. }) {
            return Some(error);
        }
        self.outage = Some(Outage::after(&error, self.outage.as_ref(), now));
        None
    }

    /// How many results of requests that were sent are not written. A batch that is under way has taken some.
    pub(super) fn results_in_hand(&self) -> usize {
        self.results.iter().filter(|result| result.outcome.class != OutcomeClass::NotSent).count()
    }

    /// Logs an outage at its beginning, and then at growing intervals; between two batches, since one under way has the results.
    pub(super) fn log_outage(&mut self, on_the_way: usize, now: Now) {
        let results = self.results_in_hand();
        if let (Some(outage), Some(_)) = (&mut self.outage, &self.session) {
            outage.log_if_due(results, on_the_way, now);
        }
    }

    fn log_if_slow(&mut self, took: Duration, now: Instant) {
        let was_logged = self.slow_logged_at.is_some_and(|at| now.saturating_duration_since(at) < LOG_SLOW_EVERY);
        if took > SLOW && !was_logged {
            self.slow_logged_at = Some(now);
            tracing::warn!(
                "the database took {} ms for one transaction: the disk is slow or busy, or another program kept the \
                 database locked",
                took.as_millis(),
            );
        }
    }

    /// Writes all results, and closes the database.
    ///
    /// # Errors
    /// When the database doesn't take the results: the error, and how many are not written.
    pub(super) async fn finish(
        mut self,
        request: BatchRequest,
        unfinished: Vec<i64>,
    ) -> Result<Finished, (QueueError, usize)> {
        self.collect_all().await;
        // The results count as held: without them, what was sent would count as never sent.
        let reconcile = self.outage.is_some().then(|| unfinished.into_iter().chain(self.held()).collect());
        let (session, report) = self.execute_last(BatchRequest { reconcile, ..request }).await?;
        session.close().await.map_err(|error| (error, 0))?;
        log_never_written(report.rejected_results.len());
        Ok(Finished { report, rejected: self.rejected })
    }

    /// Ends with a fault, and returns how many results are not written. If the database still takes results, although some of
    /// its rules may be gone, they are written, and the next run sends nothing twice that is on record.
    pub(super) async fn give_up(mut self, takes_results: bool, policy: Policy) -> usize {
        self.collect_all().await;
        if !takes_results {
            return self.results_in_hand();
        }
        match self.execute_last(BatchRequest { waive_rules: true, ..BatchRequest::new(policy) }).await {
            Ok((_, report)) => report.rejected_results.len(),
            Err((error, unwritten)) => {
                tracing::error!("results can't be written without the rules either: {}", error.with_remedy());
                unwritten
            }
        }
    }

    /// Waits for the batch that is under way, and takes back the results that the rules rejected. Claims of that batch are
    /// not sent: the next run settles them.
    async fn collect_all(&mut self) {
        if self.is_writing() {
            self.ended().await;
        }
        let rejected = self.rejected.take_results();
        self.results.extend(rejected);
    }

    async fn execute_last(&mut self, request: BatchRequest) -> Result<(Session, BatchReport), (QueueError, usize)> {
        let unwritten = self.results_in_hand();
        let results = std::mem::take(&mut self.results);
        let Some(session) = self.session.take() else {
            let fault = Fault { what: Some("closing"), detail: "no connection is left".to_owned() };
            return Err((QueueError::Failed(fault), unwritten));
        };
        let Ran { session, result, .. } = run(session, BatchRequest { results, ..request }, false).await;
        let report = result.map_err(|error| (error, unwritten))?;
        Ok((session, report.unwrap_or_default()))
    }
}

/// The end of a run in good order.
#[derive(Debug)]
pub(super) struct Finished {
    /// What the last batch found.
    pub(super) report: BatchReport,
    /// What the rules rejected.
    pub(super) rejected: RejectedWrites,
}

async fn run(mut session: Session, request: BatchRequest, asked: bool) -> Ran {
    let began = clock::now().instant;
    let result = loop {
        match session.execute(&request).await {
            Err(QueueError::Busy { .. }) if clock::now().instant < began + LOCK_PATIENCE => {}
            result => break result,
        }
    };
    let took = clock::now().instant.saturating_duration_since(began);
    Ran { session, request, asked, result, took }
}
