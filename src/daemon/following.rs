//! Following: looks at what the CA makes of the orders, until their status is final.
//!
//! It has a connection of its own, and asks for many certificates with one request, one request at a time. The event loop gives
//! it a slot of the reads that readbacks don't need. Nothing waits for it, and what it hasn't done when the daemon ends is due
//! again.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::following_log::{FollowFailure, log_changes, log_failure, log_recovery};
use crate::clock::{self, Now, UnixMillis};
use crate::config::Settings;
use crate::queue::{FileIdentity, FollowCursor, Followed, Look, Queue, QueueError};
use crate::submission::{CertificateId, Outcome, OutcomeClass, Standing};
use crate::tencent::{Client, Credentials, MOST_AT_ONCE, SeenStatus, StatusesRead};

/// When nothing is due, the queue is searched again after this long.
const SEARCH_AGAIN: Duration = Duration::from_secs(10);
/// The orders are counted this often.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// The component.
pub(super) struct Following {
    /// The wait before the first look; none: it is off.
    interval: Option<Duration>,
    /// The first wait after a failure, and the longest.
    retry_after: (Duration, Duration),
    client: Arc<Client>,
    connection: Connection,
    phase: Phase,
    cursor: FollowCursor,
    /// Whether the last search may have left something.
    may_be_more: bool,
    /// The wall clock may have been set back since the last search.
    clock_went_back: bool,
    counted_at: Option<Instant>,
    /// How many certificates the next request asks for. An unusable reply halves it, a good one doubles it: one certificate must
    /// not keep the others from being read.
    at_once: usize,
    failures: Option<Failures>,
}

/// Failures without a success in between.
#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Instant,
    /// How long it waits after the next one.
    wait: Duration,
}

/// What it is doing.
enum Phase {
    /// Nothing, until then.
    Waiting(Instant),
    /// It searches, or looks.
    Working(Pin<Box<dyn Future<Output = Step> + Send>>),
    /// It waits for a slot to look at these.
    Ready(Vec<Followed>),
}

/// A step that has ended.
pub(super) enum Step {
    /// It searched the queue.
    Searched(Result<Found, QueueError>),
    /// It looked at certificates.
    Looked(Box<Looked>),
}

/// What a search found.
#[derive(Debug)]
pub(super) struct Found {
    /// How far it came.
    cursor: FollowCursor,
    may_be_more: bool,
    due: Vec<Followed>,
    standings: Vec<(Standing, i64)>,
}

/// A look, and what was recorded of it.
#[derive(Debug)]
pub(super) struct Looked {
    due: Vec<Followed>,
    read: StatusesRead,
    recorded: Result<Vec<Look>, QueueError>,
}

/// What the other components need to know of a step.
#[derive(Debug, Default)]
pub(super) struct FollowReport {
    /// A look ended.
    pub(super) look: Option<LookEnd>,
    /// How many orders stand how, if they were counted.
    pub(super) standings: Vec<(Standing, i64)>,
}

/// A look that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookEnd {
    /// When its request went out; none, if it never did.
    pub(super) departed: Option<Instant>,
    /// Whether it got the statuses.
    pub(super) succeeded: bool,
}

impl Following {
    pub(super) fn new(settings: &Settings, client: Arc<Client>, file: FileIdentity, now: Instant) -> Self {
        Self {
            interval: settings.follow.interval,
            retry_after: (settings.pause.probe_initial, settings.pause.probe_max),
            client,
            connection: Connection { file, queue: Arc::default() },
            phase: Phase::Waiting(now),
            cursor: FollowCursor::default(),
            may_be_more: false,
            clock_went_back: true,
            counted_at: None,
            at_once: MOST_AT_ONCE,
            failures: None,
        }
    }

    /// Applies other settings, and tries again at once: a reload usually follows a fix.
    pub(super) fn set(&mut self, settings: &Settings, now: Instant) {
        self.interval = settings.follow.interval;
        self.retry_after = (settings.pause.probe_initial, settings.pause.probe_max);
        if let Phase::Waiting(_) = self.phase {
            self.phase = Phase::Waiting(now);
        }
    }

    /// The wall clock was set back.
    pub(super) fn follow_clock(&mut self) {
        self.clock_went_back = true;
    }

    /// When it wants to go on. `slot`: when it could send a request.
    pub(super) fn next_wakeup(&self, slot: Option<Instant>) -> Option<Instant> {
        match self.phase {
            _ if self.interval.is_none() => None,
            Phase::Waiting(until) => Some(until),
            Phase::Ready(_) => slot,
            Phase::Working(_) => None,
        }
    }

    /// Searches the queue for orders to look at, if it is time to.
    pub(super) fn search_if_due(&mut self, now: Now) {
        let Phase::Waiting(until) = self.phase else { return };
        let Some(interval) = self.interval.filter(|_| until <= now.instant) else { return };
        let counts = self.counted_at.is_none_or(|at| now.instant >= at + COUNT_EVERY);
        let clock_went_back = std::mem::take(&mut self.clock_went_back);
        let search = Search {
            from: if clock_went_back { FollowCursor::default() } else { self.cursor },
            interval,
            clock_went_back,
            most: self.at_once,
            counts,
            now: now.unix,
        };
        if counts {
            self.counted_at = Some(now.instant);
        }
        let connection = self.connection.clone();
        self.phase = Phase::Working(Box::pin(async move { Step::Searched(connection.search(search).await) }));
    }

    /// Whether it needs a slot for a request.
    pub(super) fn wants_slot(&self) -> bool {
        matches!(self.phase, Phase::Ready(_)) && self.interval.is_some()
    }

    /// Looks at the certificates that it wants to look at. It has a slot.
    pub(super) fn look(&mut self, credentials: Arc<Credentials>) {
        let (Some(interval), Phase::Ready(due)) = (self.interval, &mut self.phase) else { return };
        let (due, client, connection) = (std::mem::take(due), Arc::clone(&self.client), self.connection.clone());
        self.phase = Phase::Working(Box::pin(async move {
            let ids: Vec<CertificateId> = due.iter().filter_map(certificate_id).collect();
            let read = if ids.is_empty() { StatusesRead::nothing() } else { client.statuses(&credentials, &ids).await };
            let now = clock::now().unix;
            let looks = looks(&due, &read.statuses, interval, now);
            let recorded = connection.record(looks, now).await;
            Step::Looked(Box::new(Looked { due, read, recorded }))
        }));
    }

    /// Waits for the end of the present step; for ever if there is none. Cancelling this loses nothing.
    pub(super) async fn step(&mut self) -> Step {
        match &mut self.phase {
            Phase::Working(work) => work.await,
            Phase::Waiting(_) | Phase::Ready(_) => pending().await,
        }
    }

    /// A step has ended.
    pub(super) fn handle(&mut self, step: Step, now: Now) -> FollowReport {
        match step {
            Step::Searched(Ok(found)) => {
                self.cursor = found.cursor;
                self.may_be_more = found.may_be_more || found.due.len() >= self.at_once;
                self.phase = if found.due.is_empty() { self.pause(now.instant) } else { Phase::Ready(found.due) };
                FollowReport { standings: found.standings, look: None }
            }
            Step::Searched(Err(error)) => {
                self.clock_went_back = true;
                self.failed(FollowFailure::Database(&error), now);
                FollowReport::default()
            }
            Step::Looked(looked) => {
                let succeeded = self.looked(&looked, now);
                FollowReport {
                    look: Some(LookEnd { departed: looked.read.departed, succeeded }),
                    standings: Vec::new(),
                }
            }
        }
    }

    /// Until the next search: none, if there may be more to do. Otherwise orders that are due soon share a request.
    fn pause(&self, now: Instant) -> Phase {
        let wait = self.interval.filter(|_| !self.may_be_more).unwrap_or_default();
        Phase::Waiting(now + wait.min(SEARCH_AGAIN))
    }

    /// Whether the look succeeded.
    fn looked(&mut self, looked: &Looked, now: Now) -> bool {
        let at_once = looked.due.len();
        match (&looked.recorded, &looked.read.statuses) {
            (Err(error), _) => self.failed(FollowFailure::Database(error), now),
            // Which of them it is about is found by asking for fewer.
            (Ok(_), Err(outcome)) if is_about_the_reply(outcome) && at_once > 1 => {
                self.at_once = at_once / 2;
                self.phase = Phase::Waiting(now.instant);
            }
            (Ok(_), Err(outcome)) => self.failed(FollowFailure::Api(outcome), now),
            (Ok(looks), Ok(_)) => {
                log_changes(&looked.due, looks);
                if let Some(failures) = self.failures.take() {
                    log_recovery(now.instant.duration_since(failures.since));
                }
                self.at_once = (self.at_once * 2).min(MOST_AT_ONCE);
                self.phase = self.pause(now.instant);
                return true;
            }
        }
        false
    }

    fn failed(&mut self, failure: FollowFailure<'_>, now: Now) {
        let (first, longest) = self.retry_after;
        let Failures { since, wait } = self.failures.unwrap_or(Failures { since: now.instant, wait: first });
        log_failure(failure, wait);
        self.failures = Some(Failures { since, wait: (wait * 2).min(longest) });
        self.phase = Phase::Waiting(now.instant + wait);
    }

    /// Closes its connection, which must not prevent the last checkpoint. A step under way is given up, and is due again.
    pub(super) async fn end(&mut self, now: Instant) {
        self.phase = Phase::Waiting(now);
        if let Err(error) = self.connection.close().await {
            tracing::warn!("the connection that followed the orders can't be closed: {error}");
        }
    }
}

/// A search of the queue.
#[derive(Debug, Clone, Copy)]
struct Search {
    from: FollowCursor,
    interval: Duration,
    clock_went_back: bool,
    most: usize,
    counts: bool,
    now: UnixMillis,
}

impl Search {
    async fn run(self, queue: &mut Queue) -> Result<Found, QueueError> {
        if self.clock_went_back {
            queue.follow_clock_back(self.now).await?;
        }
        let mut cursor = self.from;
        let may_be_more = queue.adopt(&mut cursor, self.interval, self.now).await?;
        let due = queue.due_to_follow(self.now, self.most).await?;
        let standings = if self.counts { queue.count_standing(&Standing::ALL).await? } else { Vec::new() };
        Ok(Found { cursor, may_be_more, due, standings })
    }
}

/// Its connection, which is opened when it is needed, and dropped after an error.
#[derive(Clone)]
struct Connection {
    file: FileIdentity,
    queue: Arc<Mutex<Option<Queue>>>,
}

impl Connection {
    async fn search(&self, search: Search) -> Result<Found, QueueError> {
        let mut place = self.queue.lock().await;
        let mut queue = self.take(&mut place).await?;
        let found = search.run(&mut queue).await?;
        *place = Some(queue);
        Ok(found)
    }

    async fn record(&self, looks: Vec<Look>, now: UnixMillis) -> Result<Vec<Look>, QueueError> {
        let mut place = self.queue.lock().await;
        let mut queue = self.take(&mut place).await?;
        queue.record_looks(&looks, now).await?;
        *place = Some(queue);
        Ok(looks)
    }

    async fn take(&self, place: &mut Option<Queue>) -> Result<Queue, QueueError> {
        match place.take() {
            Some(queue) => Ok(queue),
            None => Queue::connect_again(&self.file).await,
        }
    }

    async fn close(&self) -> Result<(), QueueError> {
        match self.queue.lock().await.take() {
            Some(queue) => queue.close().await,
            None => Ok(()),
        }
    }
}

/// What a reply shows of each certificate. If it is unusable and about one certificate alone, that one is left for later, and
/// otherwise all are due still.
fn looks(due: &[Followed], read: &Result<Vec<SeenStatus>, Outcome>, interval: Duration, now: UnixMillis) -> Vec<Look> {
    let seen = match read {
        Ok(seen) => seen.as_slice(),
        Err(outcome) if is_about_the_reply(outcome) && due.len() == 1 => &[],
        Err(_) => return Vec::new(),
    };
    let look = |followed: &Followed| {
        let shown = seen.iter().find(|seen| seen.certificate_id.as_str() == followed.certificate_id.as_str());
        let (status, message) = shown.map_or((None, None), |seen| (Some(seen.status), seen.message.clone()));
        followed.seen(status, message, interval, now)
    };
    due.iter().map(look).collect()
}

/// Whether fewer certificates in a request may get a better reply.
fn is_about_the_reply(outcome: &Outcome) -> bool {
    use OutcomeClass::{Account, Denied, NotSent, Throttled};
    !matches!(outcome.class, Account | Denied | NotSent | Throttled)
}

/// What the queue has is not always an ID: anybody may have written it.
fn certificate_id(followed: &Followed) -> Option<CertificateId> {
    followed.certificate_id.as_str().parse().ok()
}

#[cfg(test)]
#[path = "following_tests.rs"]
mod tests;
