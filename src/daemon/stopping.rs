//! Stopping: nothing new goes out, what is on its way gets its time, and what remains is in doubt.

use tokio::sync::watch;
use tokio::time::Instant;

use super::desk::Errand;
use super::ending::{self, Context, Unsent};
use super::worker::Worker;
use super::{Ended, RunError, Stop, Until};
use crate::clock::{self, Now};
use crate::logging::LogEvent;
use crate::queue::{Counts, Heartbeat, Mode, QueueError};
use crate::submission::State;

/// When the daemon ends, and why.
#[derive(Debug)]
pub(super) struct Exit {
    /// Without being asked.
    pub(super) until: Until,
    /// What people ask for.
    pub(super) asked: watch::Receiver<Stop>,
    /// Once it stops: until when it waits for what is on the way.
    pub(super) deadline: Option<Instant>,
    /// What ends it in bad order.
    pub(super) fatal: Option<QueueError>,
    /// The fault that stopped a run until empty.
    pub(super) refused: Option<String>,
}

impl Exit {
    pub(super) fn new(until: Until, asked: watch::Receiver<Stop>) -> Self {
        Self { until, asked, deadline: None, fatal: None, refused: None }
    }
}

impl Worker {
    pub(super) fn obey_stop(&mut self, now: Now) {
        let asked = *self.exit.asked.borrow_and_update();
        if asked >= Stop::Soon && self.exit.deadline.is_none() {
            self.begin_stop(now, "it was told to");
        }
        if asked == Stop::Now {
            // The second request ends every wait.
            self.exit.deadline = self.exit.deadline.map(|deadline| deadline.min(now.instant));
        }
        let too_late = self.exit.deadline.is_some_and(|deadline| now.instant >= deadline);
        if too_late && self.on_the_way() > 0 {
            self.abandon(now);
        }
    }

    pub(super) fn begin_stop(&mut self, now: Now, why: &str) {
        if self.exit.deadline.is_some() {
            return;
        }
        self.exit.deadline = Some(now.instant + self.settings.worker.stop_timeout);
        tracing::info!(
            event = LogEvent::Stopping.as_str(),
            on_the_way = self.on_the_way(),
            "stopping, since {why}; waits for {} requests on the way, {} s at most",
            self.on_the_way(),
            self.settings.worker.stop_timeout.as_secs(),
        );
        self.watchers.stopping();
        self.give_back_ready(now, Unsent::Stopped);
    }

    pub(super) fn give_back_ready(&mut self, now: Now, why: Unsent) {
        let mut claims = self.commits.drain_ready(now.instant);
        claims.extend(self.reads.drain_ready(now.instant));
        self.give_back(claims, why);
    }

    /// Gives up on the requests on the way: their outcomes are not known.
    pub(super) fn abandon(&mut self, now: Now) {
        self.requests.abort_all();
        let mut claims = self.commits.drain_on_the_way();
        claims.extend(self.reads.drain_on_the_way());
        let context = Context { run: &self.run, policy: &self.policy, now, dice: fastrand::f64() };
        self.records.extend(claims.iter().map(|claim| ending::interrupted(claim, context)));
    }

    pub(super) fn on_the_way(&self) -> usize {
        self.commits.on_the_way() + self.reads.on_the_way()
    }

    pub(super) fn is_finished(&mut self) -> bool {
        let now = clock::now();
        if self.exit.fatal.is_some() {
            return self.on_the_way() == 0 || self.exit.deadline.is_some_and(|deadline| now.instant >= deadline) || {
                let why = match self.exit.fatal {
                    Some(QueueError::Corrupt { .. }) => "the database is corrupt",
                    Some(QueueError::Altered { .. }) => "rules of the queue are gone",
                    _ => "the database is not ours any more",
                };
                self.begin_stop(now, why);
                self.on_the_way() == 0
            };
        }
        let empty = self.counts != Counts::default() && (self.counts.open() == 0 || self.only_refused_is_left());
        if self.exit.until == Until::Empty && empty && self.on_the_way() == 0 {
            self.begin_stop(now, "nothing is left to do");
        }
        let idle = self.on_the_way() == 0 && self.desk.is_free();
        let overdue = self.exit.deadline.is_some_and(|deadline| now.instant >= deadline) && self.trouble.is_some();
        self.exit.deadline.is_some() && idle && (self.records.is_empty() || overdue)
    }

    /// Whether a rule of the queue refuses all that is open: its row is in flight although nothing is on the way, waits for
    /// a read whose result is refused, or can't be claimed. The counts alone don't say so: anybody can write them.
    fn only_refused_is_left(&self) -> bool {
        let at_rest =
            self.desk.is_free() && self.trouble.is_none() && self.held().len() == self.refusals.held().count();
        let is_due = self.commits.next_due().is_some() || self.reads.next_due().is_some();
        let reads = self.refusals.results().filter(|record| record.from != State::InFlight).count();
        let others = self.counts.open() - self.counts.of(State::InFlight);
        let unclaimable = self.refusals.unclaimable();
        let refused = i64::try_from(reads + unclaimable).unwrap_or(i64::MAX);
        at_rest && (unclaimable > 0 || !is_due) && others <= refused
    }

    /// Without some of the rules, results can be written all the same, and what is sent and on record is sent no second time.
    /// How many could not be.
    async fn write_what_can_be_written(&mut self) -> usize {
        self.give_back_ready(clock::now(), Unsent::Stopped);
        let refused = self.refusals.take_results();
        self.records.extend(refused);
        let records = std::mem::take(&mut self.records);
        self.desk.begin(Errand { without_rules: true, ..Errand::to_write(records, self.policy.verify) });
        let done = self.desk.done().await;
        done.records.len() + done.refused.len()
    }

    pub(super) async fn end(mut self) -> Result<Ended, RunError> {
        self.end_inspection().await;
        if let Some(error) = self.exit.fatal.take() {
            let unwritten = if matches!(error, QueueError::Altered { .. }) {
                self.write_what_can_be_written().await
            } else {
                self.records.len() + self.refusals.held().count()
            };
            return Err(stopped_by(error, unwritten));
        }
        let heartbeat = Some(Heartbeat { mode: Mode::Stopped, why: None, pace: self.commits.limiter.pace() });
        let refused = self.refusals.take_results();
        self.records.extend(refused);
        // Before the results are handed over: without them, what was sent would count as never sent.
        let reconcile = self.trouble.is_some().then(|| (self.held(), self.policy));
        let records = std::mem::take(&mut self.records);
        self.desk.begin(Errand { heartbeat, reconcile, ..Errand::to_write(records, self.policy.verify) });
        let done = self.desk.done().await;
        let counts = match done.result {
            Ok(report) => report.map_or(self.counts, |report| report.counts),
            Err(error) => return Err(stopped_by(error, done.records.len())),
        };
        self.desk.close().await?;
        let blocked = self.refusals.unclaimable() > 0 || self.refusals.has_unsettled() || !done.refused.is_empty();
        if !done.refused.is_empty() {
            tracing::error!(
                event = LogEvent::WriteRefused.as_str(),
                "the queue's own rules refuse {} results to the end: the lines above tell them, and the next start reads \
                 their submissions back",
                done.refused.len(),
            );
        }
        tracing::info!(
            event = LogEvent::Stopped.as_str(),
            submitted = counts.of(State::Submitted),
            failed = counts.of(State::Failed),
            held = counts.of(State::Held),
            in_doubt = counts.of(State::InDoubt),
            pending = counts.of(State::Pending),
            "stopped; {} submitted, {} failed, {} held, {} in doubt, {} pending",
            counts.of(State::Submitted),
            counts.of(State::Failed),
            counts.of(State::Held),
            counts.of(State::InDoubt),
            counts.of(State::Pending),
        );
        Ok(Ended { counts, refused: self.exit.refused, blocked })
    }
}

/// The last line of a run that the database ends. What it couldn't write, the log has, and the next run reads back.
fn stopped_by(error: QueueError, unwritten: usize) -> RunError {
    let left = match unwritten {
        0 => String::new(),
        _ => format!(
            ". {unwritten} results could not be written: the lines above tell them, and their submissions are in doubt \
             until the next run has read them back"
        ),
    };
    tracing::error!(event = LogEvent::Stopped.as_str(), unwritten, "stopped: {}{left}", error.with_remedy());
    error.into()
}
