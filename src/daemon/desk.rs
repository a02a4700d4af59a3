//! The desk: the daemon's one connection to the database, lent out to one turn at a time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::pruning::Step;
use crate::clock::{self, UnixMillis};
use crate::queue::{Heartbeat, Pruned, Queue, QueueError, Record, Recovered, RestoreMarker, Run, Turn, TurnReport};
use crate::submission::{Policy, VerifyPolicy};

/// How long a lock that somebody else holds is asked for, again and again.
const PATIENCE: Duration = Duration::from_secs(2);
/// A turn that takes longer is told, but not each of many.
const SLOW: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What a turn is to do.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) records: Vec<Record>,
    pub(super) commits: usize,
    pub(super) reads: usize,
    /// Submissions that are not to be claimed, by their ids.
    pub(super) skip: Vec<i64>,
    pub(super) heartbeat: Option<Heartbeat>,
    /// Only if another process has changed the database.
    pub(super) only_if_changed: bool,
    /// After a failure, or where some couldn't be settled before: settle first what no request in this list explains.
    pub(super) reconcile: Option<(Vec<i64>, Policy)>,
    /// Look also for the oldest open submission.
    pub(super) oldest: bool,
    /// The clock was set back: make due first what it has put off.
    pub(super) follow_clock: bool,
    /// The waits of the read-back.
    pub(super) verify: VerifyPolicy,
    /// Which probe the commit is, if it is one.
    pub(super) probe: Option<u32>,
    pub(super) reading_paused: bool,
    /// A step of pruning.
    pub(super) prune: Option<Step>,
    /// Whatever becomes of the queue's rules: to write at the end what can be written.
    pub(super) without_rules: bool,
}

impl Errand {
    /// One that only writes these records.
    pub(super) fn to_write(records: Vec<Record>, verify: VerifyPolicy) -> Self {
        Self {
            records,
            commits: 0,
            reads: 0,
            skip: Vec::new(),
            heartbeat: None,
            only_if_changed: false,
            reconcile: None,
            oldest: false,
            follow_clock: false,
            verify,
            probe: None,
            reading_paused: false,
            prune: None,
            without_rules: false,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    /// The records, back in hand if they were not written.
    pub(super) records: Vec<Record>,
    /// Records that a rule of the queue refused, with its sentence: nothing of them is written.
    pub(super) refused: Vec<(Record, String)>,
    /// What recovery found, if it was asked for and succeeded.
    pub(super) recovered: Option<Recovered>,
    /// How many records were written.
    pub(super) written: usize,
    /// What the turn did; nothing, if nothing had changed.
    pub(super) result: Result<Option<TurnReport>, QueueError>,
    /// When the oldest open submission was created, in unix seconds.
    pub(super) oldest_open: Option<i64>,
    /// Whether that was asked for.
    pub(super) oldest: bool,
    /// Whether the queue was told that the clock was set back.
    pub(super) followed_clock: bool,
    /// What the step of pruning did, if there was one.
    pub(super) pruned: Option<Pruned>,
}

#[derive(Debug)]
struct Books {
    queue: Queue,
    mark: RestoreMarker,
    run: Run,
    seen: Option<i64>,
    pruned: Option<Pruned>,
    recovered: Option<Recovered>,
    /// Whether the connection may be spoilt.
    suspect: bool,
    /// When a slow turn was told last.
    told_slow: Option<Instant>,
}

type Visit = Pin<Box<dyn Future<Output = (Books, Done)> + Send>>;

/// The desk. At most one turn is under way.
pub(super) struct Desk {
    books: Option<Books>,
    visit: Option<Visit>,
}

impl Desk {
    pub(super) fn new(queue: Queue, mark: RestoreMarker, run: Run) -> Self {
        Self {
            books: Some(Books {
                queue,
                mark,
                run,
                seen: None,
                pruned: None,
                recovered: None,
                suspect: false,
                told_slow: None,
            }),
            visit: None,
        }
    }

    /// Whether a turn can begin.
    pub(super) fn is_free(&self) -> bool {
        self.books.is_some()
    }

    /// Begins a turn, if none is under way.
    pub(super) fn begin(&mut self, errand: Errand) {
        if let Some(books) = self.books.take() {
            self.visit = Some(Box::pin(visit(books, errand)));
        }
    }

    /// Waits for the turn that is under way; for ever, if there is none. Cancelling this loses nothing.
    pub(super) fn done(&mut self) -> impl Future<Output = Done> {
        std::future::poll_fn(|context| self.poll_done(context))
    }

    fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<Done> {
        let Some(visit) = &mut self.visit else {
            return Poll::Pending;
        };
        match visit.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((books, done)) => {
                self.books = Some(books);
                self.visit = None;
                Poll::Ready(done)
            }
        }
    }

    /// Closes the connection. A turn that is still under way is finished first.
    pub(super) async fn close(mut self) -> Result<(), QueueError> {
        if self.visit.is_some() {
            self.done().await;
        }
        match self.books {
            Some(books) => books.queue.close().await,
            None => Ok(()),
        }
    }
}

async fn visit(mut books: Books, errand: Errand) -> (Books, Done) {
    let began = clock::now().instant;
    let until = began + PATIENCE;
    let served = loop {
        match books.serve(&errand).await {
            Err(QueueError::Busy { .. }) if clock::now().instant < until => {}
            served => break served,
        }
    };
    books.tell_if_slow(began, served.is_ok());
    let (result, oldest_open) = match (served, errand.oldest) {
        // Claims of a turn that ends in an error are given back by the recovery before the next one.
        (Ok(Some(report)), true) => match books.queue.oldest_open().await {
            Ok(oldest_open) => (Ok(Some(report)), oldest_open),
            Err(error) => (Err(error), None),
        },
        (result, _) => (result, None),
    };
    let mut refused = Vec::new();
    let (records, written) = match &result {
        Ok(Some(report)) => {
            let of_all = errand.records.len();
            refused.extend(errand.records.into_iter().filter_map(|record| {
                let refusal = report.refused.iter().find(|one| one.request == Some(record.request))?;
                Some((record, refusal.sentence.clone()))
            }));
            (Vec::new(), of_all - refused.len())
        }
        Ok(None) => (errand.records, 0),
        Err(error) => {
            books.suspect |= !error.spares_the_connection();
            (errand.records, 0)
        }
    };
    let (followed_clock, pruned, recovered) = (errand.follow_clock, books.pruned.take(), books.recovered.take());
    let oldest = errand.oldest;
    (books, Done { records, refused, recovered, written, result, oldest_open, oldest, followed_clock, pruned })
}

impl Books {
    /// A step of pruning. What keeps it from being done keeps nothing else: the pass is over then.
    async fn prune(&mut self, verify: &VerifyPolicy, before: UnixMillis, after: i64) -> Result<Pruned, QueueError> {
        match self.queue.prune(&self.run, clock::now(), verify, before, after).await {
            Err(
                error @ (QueueError::Refused(_)
                | QueueError::Full(_)
                | QueueError::Io(_)
                | QueueError::CannotOpen(_)
                | QueueError::Failed(_)),
            ) => {
                tracing::warn!("old requests can't be pruned: {error}. The next pass is in a day");
                self.queue.reconnect().await?;
                Ok(Pruned { deleted: 0, up_to: None })
            }
            pruned => pruned,
        }
    }

    /// Tells that a turn took long. Of one that failed, the failure is told.
    fn tell_if_slow(&mut self, began: Instant, worked: bool) {
        let now = clock::now().instant;
        let took = now.saturating_duration_since(began);
        let told = self.told_slow.is_some_and(|at| now.saturating_duration_since(at) < TELL_EVERY);
        if worked && took > SLOW && !told {
            self.told_slow = Some(now);
            tracing::warn!(
                "the database took {} ms for one transaction: the disk is slow or busy, or another program kept the database locked",
                took.as_millis(),
            );
        }
    }

    async fn serve(&mut self, errand: &Errand) -> Result<Option<TurnReport>, QueueError> {
        if self.suspect {
            self.queue.reconnect().await?;
            (self.suspect, self.seen) = (false, None);
        }
        if errand.without_rules {
            self.queue.allow_altered_schema();
        }
        match self.work(errand).await {
            // A table or a column that is gone: that it is gone tells more than what asked for it.
            Err(error @ QueueError::Failed(_)) if !errand.without_rules => {
                match self.queue.require_intact_schema().await {
                    Err(altered @ QueueError::Altered { .. }) => Err(altered),
                    Ok(()) | Err(_) => Err(error),
                }
            }
            worked => worked,
        }
    }

    async fn work(&mut self, errand: &Errand) -> Result<Option<TurnReport>, QueueError> {
        if let Some((held, policy)) = &errand.reconcile {
            self.queue.check_newest(self.mark.number().unwrap_or(0)).await?;
            // What is claimed and can't be marked is given back, over and over: nothing is claimed before this works.
            self.mark.rewrite()?;
            // What this errand brings was sent, whoever made the list.
            let results = errand.records.iter().map(|record| record.request);
            let held: Vec<i64> = held.iter().copied().chain(results).collect();
            self.recovered = Some(self.queue.recover(&self.run, clock::now(), &held, policy).await?);
        }
        self.queue.files().check()?;
        if errand.follow_clock {
            self.queue.follow_clock(clock::now()).await?;
        }
        if let Some(Step { before, after }) = errand.prune {
            self.pruned = Some(self.prune(&errand.verify, before, after).await?);
        }
        if errand.only_if_changed {
            let version = self.queue.data_version().await?;
            if self.seen.replace(version) == Some(version) {
                return Ok(None);
            }
        }
        let turn = Turn {
            now: clock::now(),
            records: &errand.records,
            may_be_written: errand.reconcile.is_some(),
            commits: errand.commits,
            reads: errand.reads,
            skip: &errand.skip,
            verify: errand.verify,
            newest_request: self.mark.number().unwrap_or(0),
            heartbeat: errand.heartbeat.as_ref(),
            probe: errand.probe,
            reading_paused: errand.reading_paused,
        };
        let mut report = self.queue.turn(&self.run, &turn).await?;
        if !(report.refused.is_empty() && report.claims.refused.is_empty()) {
            // It took another connection, which counts others' changes anew.
            self.seen = None;
        }
        if report.miscounted {
            report.counts = self.queue.recount().await?;
            tracing::warn!("the counts in state_counts were wrong, and are counted anew");
        }
        let newest = report.claims.commits.iter().chain(&report.claims.reads).map(|claim| claim.request).max();
        if let Some(number) = newest {
            // Without its mark, a restored database could not be told: claims that it lacks are not sent.
            self.mark.advance(number)?;
        }
        Ok(Some(report))
    }
}
