//! Turns at the database: when one is due, what it brings, and what to do while the database fails.

use std::time::Duration;

use tokio::time::Instant;

use super::advice::READING_IS_PAUSED;
use super::desk::{Done, Errand};
use super::ending::Unsent;
use super::lane::Lane;
use super::turns::ENOUGH_RESULTS;
use super::worker::{HEARTBEAT_EVERY, Worker};
use super::{Progress, Until};
use crate::clock::{self, Now};
use crate::logging::LogEvent;
use crate::queue::{Claims, Control, Counts, Heartbeat, Mode, QueueError, Record, RejectedWrite, TurnReport};
use crate::submission::State;

/// After an error of the database, it is tried again this much later.
const DATABASE_RETRY: Duration = Duration::from_secs(1);
/// While the database is unavailable, the log says so this often.
const DATABASE_REMINDER: Duration = Duration::from_secs(60);

/// After a turn, other writers get as long as it took, for they ask for the lock only now and then: on a slow disk, a
/// daemon at full pace would take the next turn at once, and keep them waiting until they give up.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// The database's trouble.
pub(super) struct Trouble {
    /// What it said.
    pub(super) what: String,
    pub(super) since: Instant,
    pub(super) retry_at: Instant,
    pub(super) remind_at: Instant,
}

impl Worker {
    /// From when on a turn may begin; none while one is under way, and once there will be none any more.
    fn desk_opens(&self) -> Option<Instant> {
        let serves = self.desk.is_free() && self.exit.fatal.is_none();
        let retry_at = self.trouble.as_ref().map(|trouble| trouble.retry_at);
        serves.then(|| retry_at.map_or(self.turns.rest_until, |at| at.max(self.turns.rest_until)))
    }

    /// When to see to the next turn.
    pub(super) fn next_turn(&self, now: Now) -> Option<Instant> {
        let opens = self.desk_opens()?;
        if now.instant < opens {
            return Some(opens);
        }
        let look = self.turns.next_look(self.gathers()).unwrap_or(now.instant);
        Some(look.min(self.turns.heartbeat_at))
    }

    pub(super) fn begin_turn(&mut self, now: Now) {
        if self.desk_opens().is_none_or(|at| now.instant < at) {
            return;
        }
        let mode = self.mode();
        // In trouble, a turn has to write something: one that only reads would work on a full disk, too.
        let beat = mode != self.turns.last_mode || now.instant >= self.turns.heartbeat_at || self.trouble.is_some();
        let seconds = now.unix.seconds();
        let hungry = |lane: &Lane| lane.is_hungry(now.instant, seconds, self.turns.took);
        let hungry = hungry(&self.commits) && !self.control.paused || hungry(&self.reads);
        let look = self.turns.is_look_due(self.gathers(), now.instant);
        let claiming = self.why_unsent().is_none();
        // What is due and could not be claimed, for instance since it has to be read first, must not spin.
        let asks = hungry && claiming;
        let hungry = asks && (self.turns.fruitful || look);
        if beat {
            let refused = self.refusals.retry();
            self.records.extend(refused);
        }
        let write = !self.records.is_empty() && (look || !self.gathers());
        let must = beat || write || self.trouble.is_some() || hungry || self.clock_went_back;
        if !must && !look {
            return;
        }
        self.turns.begin(now.instant);
        let progress = now.instant >= self.progress.due;
        let heartbeat = beat.then(|| Heartbeat { mode, why: self.why(), pace: self.commits.limiter.pace() });
        self.turns.last_mode = mode;
        if beat {
            self.turns.heartbeat_at = now.instant + HEARTBEAT_EVERY;
        }
        // Where all is refused, one claim is tried with each heartbeat.
        let most = if self.refusals.stop_sending() { usize::from(beat) } else { usize::MAX };
        let room = |lane: &Lane| if claiming { lane.room(now.instant).min(most) } else { 0 };
        let (commits, reads) = (room(&self.commits), room(&self.reads));
        self.turns.asked = asks;
        let reconcile = self.trouble.is_some() || beat && self.refusals.has_unsettled();
        self.desk.begin(Errand {
            commits,
            reads,
            heartbeat,
            only_if_changed: !must && !progress && self.counts != Counts::default(),
            skip: self.refusals.passed_over(),
            reconcile: reconcile.then(|| (self.held(), self.policy)),
            oldest: progress,
            follow_clock: std::mem::take(&mut self.clock_went_back),
            verify: self.policy.verify,
            probe: self.commits.gate.probe(),
            reading_paused: self.reads.gate.fault().is_some(),
            // A clock that is off makes all seem old; a daemon that works has one that the server takes for right.
            prune: self.upkeep.pruning.due(now).filter(|_| mode == Mode::Running && self.trouble.is_none()),
            records: std::mem::take(&mut self.records),
            without_rules: false,
        });
    }

    /// Whether there are results that wait for others, to share their sync.
    pub(super) fn gathers(&self) -> bool {
        let is_stopping = self.exit.deadline.is_some();
        (1..ENOUGH_RESULTS).contains(&self.records.len()) && self.on_the_way() > 0 && !is_stopping
    }

    /// The requests that this run knows of.
    pub(super) fn held(&self) -> Vec<i64> {
        let results = self.records.iter().map(|record| record.request).chain(self.refusals.held());
        self.commits.held().chain(self.reads.held()).chain(results).collect()
    }

    pub(super) fn after_turn(&mut self, done: Done) {
        let now = clock::now();
        self.turns.end(now.instant);
        if let Some(pruned) = done.pruned {
            self.upkeep.pruning.after(pruned, now.instant);
        }
        // Results that came in the meantime stay behind those that were not written.
        let newer = std::mem::replace(&mut self.records, done.records);
        self.records.extend(newer);
        if let Some(recovered) = done.recovered {
            self.refusals.set_unsettled(&recovered.refused);
            self.refusals.log(&recovered.refused);
        }
        match done.result {
            Ok(report) => {
                self.end_trouble(done.written, now);
                if let Some(report) = report {
                    self.take_refusals(done.refused, &report, now);
                    self.take_report(report, now);
                    if done.oldest {
                        self.log_progress(done.oldest_open, now);
                    }
                }
            }
            Err(error) => {
                self.refusals.turn_failed();
                self.clock_went_back |= done.followed_clock;
                if let QueueError::RolledBack { refused: Some(write), .. } = &error {
                    self.take_rollback(write);
                } else {
                    self.meet_trouble(error, now);
                }
            }
        }
    }

    pub(super) fn take_report(&mut self, report: TurnReport, now: Now) {
        self.turns.rest_until = now.instant + report.held.min(LONGEST_REST);
        let Claims { commits, reads, put_off, .. } = &report.claims;
        self.turns.claimed(!(commits.is_empty() && reads.is_empty()) || *put_off > 0);
        let mut returned = self.commits.take(report.claims.commits, report.next_commit, now.instant);
        returned.extend(self.reads.take(report.claims.reads, report.next_read, now.instant));
        self.give_back(returned, Unsent::Paused);
        // It may have begun to stop, or lost its keys, while the turn was under way.
        if let Some(why) = self.why_unsent() {
            self.give_back_ready(now, why);
        }
        self.obey(report.control, now);
        self.counts = report.counts;
        self.progress.submitted_before.get_or_insert(self.counts.of(State::Submitted));
        self.watchers.progressed(Progress { counts: self.counts.clone(), paused: self.why() });
    }

    /// A trigger rolled back a turn for one write: the next turn does the rest.
    fn take_rollback(&mut self, write: &RejectedWrite) {
        self.refusals.log(std::slice::from_ref(write));
        let index = self.records.iter().position(|record| Some(record.request) == write.request);
        let record = index.map(|index| self.records.remove(index));
        self.refusals.add(write, record);
    }

    fn take_refusals(&mut self, results: Vec<(Record, String)>, report: &TurnReport, now: Now) {
        self.refusals.log(&report.refused);
        self.refusals.log(&report.claims.refused);
        match self.refusals.turn_ended(results, &report.claims.refused) {
            Some(true) => {
                let why = self.refusals.why().unwrap_or_default().to_owned();
                tracing::warn!(
                    event = LogEvent::Paused.as_str(),
                    why,
                    "paused: {why}. One is tried every {} s",
                    HEARTBEAT_EVERY.as_secs()
                );
                if self.exit.until == Until::Empty {
                    self.begin_stop(now, "it can't go on");
                }
            }
            Some(false) => tracing::info!(event = LogEvent::Resumed.as_str(), "resumed: nothing is refused any more"),
            None => {}
        }
    }

    pub(super) fn obey(&mut self, control: Control, now: Now) {
        if control.probe_requested {
            self.commits.gate.probe_now(now.instant);
            self.reads.gate.probe_now(now.instant);
            self.keys.ask();
        }
        let was_paused = std::mem::replace(&mut self.control, control).paused;
        if self.control.paused && !was_paused {
            let why = self.control.pause_reason.as_deref().unwrap_or("no reason given");
            tracing::warn!(
                event = LogEvent::Paused.as_str(),
                why,
                "paused by hand: {why}. To go on: certcommit resume"
            );
            let claims = self.commits.drain_ready(now.instant);
            self.give_back(claims, Unsent::Paused);
        } else if was_paused && !self.control.paused {
            tracing::info!(event = LogEvent::Resumed.as_str(), "resumed by hand");
            self.keys.ask();
        }
    }

    pub(super) fn meet_trouble(&mut self, error: QueueError, now: Now) {
        if matches!(error, QueueError::Altered { .. }) {
            tracing::error!(event = LogEvent::DatabaseUnavailable.as_str(), "{}", error.with_remedy());
        }
        let ends = matches!(
            error,
            QueueError::Altered { .. } | QueueError::Replaced(_) | QueueError::Rewound { .. } | QueueError::Held { .. }
        );
        if ends {
            self.exit.fatal.get_or_insert(error);
            return;
        }
        let known = self.trouble.as_ref().map(|trouble| (trouble.since, trouble.remind_at));
        let (since, remind_at) = known.unwrap_or((now.instant, now.instant));
        let remind = now.instant >= remind_at;
        if remind {
            tracing::error!(
                event = LogEvent::DatabaseUnavailable.as_str(),
                results_in_hand = self.records.len(),
                on_the_way = self.on_the_way(),
                "{}. Nothing more is sent; results are kept and written as soon as it works again",
                error.with_remedy(),
            );
        }
        self.trouble = Some(Trouble {
            what: error.to_string(),
            since,
            retry_at: now.instant + DATABASE_RETRY,
            remind_at: if remind { now.instant + DATABASE_REMINDER } else { remind_at },
        });
    }

    pub(super) fn end_trouble(&mut self, results_written: usize, now: Now) {
        if let Some(trouble) = self.trouble.take() {
            let seconds = now.instant.duration_since(trouble.since).as_secs();
            tracing::info!(
                event = LogEvent::Resumed.as_str(),
                results_written,
                "the database works again, after {seconds} s; {results_written} results that were kept are written",
            );
        }
    }

    pub(super) fn mode(&self) -> Mode {
        let fault = self.keyless_since.is_some() || self.commits.gate.fault().is_some() || self.refusals.stop_sending();
        match (self.exit.deadline, self.control.paused, fault) {
            (Some(_), _, _) => Mode::Stopping,
            (None, true, _) => Mode::PausedByOperator,
            (None, false, true) => Mode::PausedByFault,
            (None, false, false) => Mode::Running,
        }
    }

    pub(super) fn why(&self) -> Option<String> {
        if self.control.paused {
            let reason = self.control.pause_reason.as_deref();
            return Some(reason.unwrap_or("paused by hand").to_owned());
        }
        let keyless = self.keyless_since.and_then(|_| self.keys.why_none(clock::now().instant));
        let reading = || self.advised(&self.reads).map(|why| format!("{READING_IS_PAUSED}{why}"));
        let refused = self.refusals.why().map(str::to_owned);
        let (stopped, refused) = if self.refusals.stop_sending() { (refused, None) } else { (None, refused) };
        stopped.or(keyless).or_else(|| self.advised(&self.commits)).or(refused).or_else(reading)
    }
}
