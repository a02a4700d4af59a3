//! The loop itself.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::clock_watch::{ClockWatch, Step};
use super::desk::Desk;
use super::keys::Keys;
use super::lane::Lane;
use super::progress::ProgressLog;
use super::refusals::Refusals;
use super::reload::{Reloading, commit_lane, read_lane};
use super::start::Daemon;
use super::stopping::Exit;
use super::turning::Trouble;
use super::turns::Turns;
use super::upkeep::Upkeep;
use super::waking::Waking;
use super::watchers::{Situation, Watchers};
use super::{Ended, Progress, RunError, Stop, Until};
use crate::clock::{self, Now};
use crate::config::Settings;
use crate::logging::LogEvent;
use crate::queue::{Control, Counts, DaemonLock, FileIdentity, Record, Run};
use crate::submission::{CommitOutcome, Policy, ReadOutcome};
use crate::tencent::{Client, Exchange};

pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// A request that ended.
pub(super) enum Reply {
    Commit(Exchange<CommitOutcome>),
    Read(Exchange<ReadOutcome>),
}

impl Reply {
    /// When the request's first byte went out; none if nothing of it did.
    pub(super) fn departed(&self) -> Option<Instant> {
        match self {
            Self::Commit(exchange) => exchange.departed,
            Self::Read(exchange) => exchange.departed,
        }
    }
}

/// Departures of requests, by their numbers.
type Departures = (mpsc::UnboundedSender<(i64, Instant)>, mpsc::UnboundedReceiver<(i64, Instant)>);

/// The daemon at work.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) policy: Policy,
    pub(super) run: Run,
    pub(super) desk: Desk,
    pub(super) place: FileIdentity,
    pub(super) client: Arc<Client>,
    pub(super) keys: Keys,
    /// Since when there are no good keys, if there are none.
    pub(super) keyless_since: Option<Instant>,
    pub(super) commits: Lane,
    pub(super) reads: Lane,
    pub(super) requests: JoinSet<Reply>,
    pub(super) departures: Departures,
    /// Results that are not written yet.
    pub(super) records: Vec<Record>,
    /// What a rule of the queue refuses to write.
    pub(super) refusals: Refusals,
    pub(super) trouble: Option<Trouble>,
    pub(super) control: Control,
    pub(super) counts: Counts,
    pub(super) exit: Exit,
    pub(super) turns: Turns,
    alarm: Alarm,
    pub(super) waking: Waking,
    pub(super) clock_watch: ClockWatch,
    /// The clock was set back, and the queue doesn't know yet.
    pub(super) clock_went_back: bool,
    pub(super) upkeep: Upkeep,
    pub(super) progress: ProgressLog,
    pub(super) watchers: Watchers,
    pub(super) reloading: Option<Reloading>,
    pub(super) _lock: DaemonLock,
}

impl Worker {
    pub(super) fn new(
        daemon: Daemon,
        until: Until,
        stop: watch::Receiver<Stop>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let Daemon {
            settings,
            queue,
            mark,
            run,
            client,
            keys,
            supervisor,
            monitor,
            reloading,
            ended_badly,
            recovered,
            lock,
        } = daemon;
        let mut refusals = Refusals::new(settings.pause.after);
        refusals.set_unsettled(&recovered.refused);
        refusals.log(&recovered.refused);
        // Only since the lock is ours does nobody else send.
        let clock = clock::now();
        let now = clock.instant;
        let place = queue.files().clone();
        let waking = Waking::new(queue.path());
        Self {
            commits: Lane::new(commit_lane(&settings), now),
            reads: Lane::new(read_lane(&settings), now),
            policy: settings.policy(),
            desk: Desk::new(queue, mark, run.clone()),
            progress: ProgressLog::new(now + settings.log.progress_interval),
            upkeep: Upkeep::new(&settings, ended_badly.then(|| place.database().to_owned()), now),
            place,
            settings,
            run,
            client: Arc::new(client),
            keys,
            keyless_since: None,
            requests: JoinSet::new(),
            departures: mpsc::unbounded_channel(),
            records: Vec::new(),
            refusals,
            trouble: None,
            control: Control::default(),
            counts: Counts::default(),
            exit: Exit::new(until, stop),
            turns: Turns::new(now),
            alarm: Alarm::new(),
            waking,
            clock_watch: ClockWatch::new(clock),
            clock_went_back: false,
            watchers: Watchers::new(supervisor, progress, monitor),
            reloading,
            _lock: lock,
        }
    }

    pub(super) async fn run(mut self) -> Result<Ended, RunError> {
        tracing::info!(event = LogEvent::Ready.as_str(), run_id = self.run.id, "ready");
        self.watchers.ready();
        loop {
            let now = clock::now();
            self.watch_clock(now);
            self.tell_watchers(now);
            self.obey_stop(now);
            self.tend_keys(now).await;
            self.send_ready(now);
            self.begin_turn(now);
            if self.is_finished() {
                break;
            }
            let (wake, idle) = (self.wake_at(now), self.is_idle());
            debug_assert!(wake > now.instant, "a round left what is due undone, and the next would come at once");
            tokio::select! {
                done = self.desk.done() => self.after_turn(done),
                Some(departure) = self.departures.1.recv() => self.after_departure(departure),
                ended = next_ended(&mut self.requests) => self.after_request(ended),
                news = self.keys.answered() => self.after_answer(news, clock::now()),
                findings = Self::inspected(&mut self.upkeep.inspection) => self.after_inspection(findings),
                () = self.waking.noticed(), if idle => self.turns.wake(clock::now().instant),
                () = self.alarm.rings(wake) => {}
                () = changed(&mut self.exit.asked) => {}
                () = asked(&mut self.reloading) => self.reload(clock::now()),
            }
        }
        self.end().await
    }

    fn watch_clock(&mut self, now: Now) {
        if let Some(step) = self.clock_watch.look(now) {
            tracing::warn!("{}", step.describe());
            self.clock_went_back |= matches!(step, Step::Back(_));
        }
    }

    /// In every round, and nowhere else.
    fn tell_watchers(&mut self, now: Now) {
        let why = self.why();
        let situation = Situation {
            counts: &self.counts,
            mode: self.mode(),
            why: why.as_deref(),
            trouble: self.trouble.as_ref().map(|trouble| trouble.what.as_str()),
            paces: self.paces(),
            cap: self.settings.rate.per_second,
            next_due: self.commits.next_due().into_iter().chain(self.reads.next_due()).min(),
        };
        self.watchers.round(situation, now);
    }

    /// When something is due next by itself. What is due now was done in this round, so it never lies in the past.
    fn wake_at(&self, now: Now) -> Instant {
        let slots = [self.commits.next_slot(now.instant), self.reads.next_slot(now.instant)];
        let slots = slots.into_iter().flatten().filter(|_| self.sends_with(now.instant).is_some());
        let probes = [self.commits.gate.next_probe(), self.reads.gate.next_probe()].into_iter().flatten();
        let keys = self.keys.next_due(now.instant).filter(|_| self.exit.deadline.is_none());
        let to_come = probes.chain(self.exit.deadline).filter(|at| *at > now.instant);
        let far = now.instant + HEARTBEAT_EVERY;
        let due = self.next_turn(now).into_iter().chain(slots).chain(keys).chain(self.watchers.next_round());
        due.chain(to_come).min().unwrap_or(far).min(far)
    }
}

/// The next request that ends; for ever, if none is on the way. A task that panicked ends without a reply.
async fn next_ended(requests: &mut JoinSet<Reply>) -> (Id, Option<Reply>) {
    match requests.join_next_with_id().await {
        Some(Ok((id, reply))) => (id, Some(reply)),
        Some(Err(error)) => (error.id(), None),
        None => pending().await,
    }
}

/// Waits for a change; for ever, if nobody can make one any more.
async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// Waits until somebody asks to reload.
async fn asked(reloading: &mut Option<Reloading>) {
    match reloading {
        Some(reloading) => changed(&mut reloading.asked).await,
        None => pending().await,
    }
}
