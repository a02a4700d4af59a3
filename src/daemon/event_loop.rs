//! The event loop: it alone calls the components, and passes on what they return.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::batch_schedule::{HEARTBEAT_EVERY, Reported};
use super::batch_writer::{BatchEnd, BatchWriter, Finished};
use super::circuit_breaker::BreakerChange;
use super::clock_watch::{ClockStep, ClockWatch};
use super::credentials::{CredentialStore, RefreshResult};
use super::dispatcher::{DispatchEvent, Dispatcher};
use super::following::{Following, Step as FollowStep};
use super::maintenance::Maintenance;
use super::pause::Pause;
use super::pause_log::{ControlChange, log_control, log_paused, log_resumed, log_still_paused};
use super::progress_log::ProgressLog;
use super::rejected_writes::RejectedWrites;
use super::reload::Reloading;
use super::reporters::Reporters;
use super::request_outcome::{self, Context};
use super::run_end::{Ended, log_stopped, log_stopped_by, log_stopping};
use super::shutdown::{InHand, Shutdown, Step};
use super::startup::Daemon;
use super::status_snapshot::StatusSnapshot;
use super::{Progress, Stop, Until, reload, request_log};
use crate::cause::{Incident, RowCause};
use crate::clock::{self, Now};
use crate::config::Settings;
use crate::logging::LogEvent;
use crate::queue::{
    BatchRequest, Claim, Control, Counts, DaemonLock, FileIdentity, Heartbeat, Mode, QueueError, Session, WalWatcher,
};
use crate::submission::RequestKind;

/// The event loop, with the components that it calls.
pub(super) struct EventLoop {
    settings: Settings,
    file: FileIdentity,
    batches: BatchWriter,
    dispatcher: Dispatcher,
    credentials: CredentialStore,
    maintenance: Maintenance,
    following: Following,
    shutdown: Shutdown,
    reporters: Reporters,
    progress: ProgressLog,
    clock_watch: ClockWatch,
    wal: WalWatcher,
    reloading: Option<Reloading>,
    /// What operators ask for, as of the last batch.
    control: Control,
    /// Submissions by state, as of the last batch.
    counts: Counts,
    _lock: DaemonLock,
}

impl Daemon {
    /// Runs until a stop is asked for, or until nothing is left to do.
    ///
    /// # Errors
    /// When another daemon took the queue over, or its file was replaced; nothing more is sent then. Other errors
    /// of the database are waited out.
    pub async fn run(
        self,
        until: Until,
        stop: watch::Receiver<Stop>,
        progress: watch::Sender<Progress>,
    ) -> Result<Ended, QueueError> {
        EventLoop::new(self, until, stop, progress).run().await
    }
}

impl EventLoop {
    pub(super) fn new(
        daemon: Daemon,
        until: Until,
        stop: watch::Receiver<Stop>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let Daemon { settings, queue, marker, run, client, credentials, service_manager, metrics, .. } = daemon;
        let mut rejected = RejectedWrites::new(settings.pause.after);
        rejected.set_unsettled(&daemon.recovered.rejected);
        // Until the lock was acquired, another daemon may have been sending.
        let clock = clock::now();
        let now = clock.instant;
        let file = queue.files().clone();
        let client = Arc::new(client);
        tracing::info!(event = LogEvent::Ready.as_str(), run_id = run.id, "ready");
        Self {
            wal: WalWatcher::on(queue.path()),
            batches: BatchWriter::new(Session::new(queue, marker, run), rejected, now),
            following: Following::new(&settings, Arc::clone(&client), file.clone(), now),
            dispatcher: Dispatcher::new(client, daemon.departures, &settings, now),
            credentials,
            maintenance: Maintenance::new(&settings, file.database().to_owned(), daemon.ended_badly, now),
            shutdown: Shutdown::new(until, stop),
            reporters: Reporters::new(service_manager, progress, metrics),
            progress: ProgressLog::new(settings.log.progress_interval, now),
            clock_watch: ClockWatch::new(clock),
            reloading: daemon.reloading,
            control: Control::default(),
            counts: Counts::default(),
            settings,
            file,
            _lock: daemon.lock,
        }
    }

    pub(super) async fn run(mut self) -> Result<Ended, QueueError> {
        self.reporters.ready();
        loop {
            let now = clock::now();
            self.watch_clock(now);
            self.publish_status(now);
            self.refresh_credentials(now).await;
            self.send(now);
            self.follow(now);
            if self.stop(now) {
                return self.finish().await;
            }
            self.begin_batch(now);
            let (wakeup, is_idle) = (self.next_wakeup(now), self.is_idle());
            debug_assert!(wakeup > now.instant, "something that was due was not done, so the loop would spin");
            tokio::select! {
                end = self.batches.ended() => self.after_batch(end, clock::now()),
                step = self.following.step() => self.after_follow(step, clock::now()),
                event = self.dispatcher.next_event() => self.after_request(event, clock::now()),
                result = self.credentials.refreshed() => self.after_refresh(&result, clock::now()),
                findings = self.maintenance.checked() => self.shutdown.fail(self.maintenance.judge(findings)),
                () = self.wal.changed(), if is_idle => self.batches.wake(clock::now().instant),
                () = reload::asked(&mut self.reloading) => self.reload(clock::now()),
                () = self.shutdown.asked() => {}
                () = sleep_until(wakeup) => {}
            }
        }
    }

    /// When to wake up if nothing happens before. What was due is done by now, so this lies in the future.
    fn next_wakeup(&self, now: Now) -> Instant {
        let far = now.instant + HEARTBEAT_EVERY;
        let slot = self.dispatcher.next_slot(now.instant).filter(|_| self.may_send());
        let batch =
            self.batches.next_wakeup(self.others_in_flight(), now.instant).filter(|_| !self.shutdown.is_failed());
        let credentials = self.credentials.next_wakeup(now.instant).filter(|_| !self.shutdown.is_draining());
        let to_come = self.dispatcher.next_probes().chain(self.shutdown.next_wakeup()).filter(|at| *at > now.instant);
        let follow = self.following.next_wakeup(self.dispatcher.next_spare_read(now));
        let follow = follow.filter(|_| self.may_send() && self.credentials.in_use(now.instant).is_some());
        let due = [slot, batch, credentials, follow, self.reporters.next_wakeup()];
        due.into_iter().flatten().chain(to_come).min().unwrap_or(far).min(far)
    }

    /// Whether there is nothing to do. Otherwise batches come often enough to see what other processes write.
    fn is_idle(&self) -> bool {
        let holds_nothing = self.dispatcher.held().next().is_none();
        holds_nothing && !self.batches.is_writing() && !self.batches.is_out()
    }

    fn watch_clock(&mut self, now: Now) {
        if let Some(ClockStep::Back(_)) = self.clock_watch.look(now) {
            self.batches.follow_clock();
            self.following.follow_clock();
        }
    }

    /// In every round, and only there: the watchdog must notice a loop that hangs.
    fn publish_status(&mut self, now: Now) {
        let (mode, incidents) = self.mode_and_incidents(now);
        let outage = self.batches.outage(now);
        let snapshot = StatusSnapshot {
            counts: &self.counts,
            mode,
            incidents: &incidents,
            outage: outage.as_ref(),
            paces: self.dispatcher.paces(),
            cap: self.settings.rate.per_second,
            next_due: self.dispatcher.next_due(),
        };
        self.reporters.publish(snapshot, now);
        self.batches.log_outage(self.dispatcher.in_flight(), now);
    }

    fn mode_and_incidents(&self, now: Now) -> (Mode, Vec<Incident>) {
        let pause = Pause::of(&self.control, &self.credentials, self.batches.rejected(), &self.dispatcher, now);
        let mode = if self.shutdown.is_draining() { Mode::Stopping } else { pause.mode() };
        (mode, pause.incidents())
    }

    /// In every round before anything is sent: credentials that the source has ready are in use at once.
    async fn refresh_credentials(&mut self, now: Now) {
        if self.shutdown.is_draining() {
            return;
        }
        let paused = self.control.paused || self.dispatcher.is_tripped();
        self.credentials.refresh_if_due(now.instant, paused, self.dispatcher.next_probes());
        if let Some(result) = self.credentials.refreshed_at_once().await {
            self.after_refresh(&result, now);
        }
        if let Some(cause) = self.credentials.just_lost(now.instant) {
            self.return_ready(&RequestKind::ALL, &RowCause::PausedUnsent, now);
            self.shutdown.meet_fault(Some(cause.into()));
        }
    }

    fn after_refresh(&mut self, result: &RefreshResult, now: Now) {
        self.credentials.log(result, now.instant);
        if *result == RefreshResult::Changed {
            self.dispatcher.probe_with_new_credentials(now.instant);
        }
    }

    fn may_send(&self) -> bool {
        !self.batches.is_out() && self.shutdown.allows_sending()
    }

    fn send(&mut self, now: Now) {
        let Some(credentials) = self.credentials.in_use(now.instant).filter(|_| self.may_send()) else { return };
        let credentials = credentials.clone();
        let Err(unsent) = self.dispatcher.send(&credentials, &self.file, self.context(now)) else { return };
        let (unsent, error) = *unsent;
        self.batches.push([unsent]);
        // A second name for the file, from a backup by hard links for instance, may be removed again.
        let may_pass = matches!(error, QueueError::Linked { .. });
        let fatal = if may_pass { self.batches.database_failed(error, now.instant) } else { Some(error) };
        self.shutdown.fail(fatal);
    }

    /// Follows the orders, with the reads that readbacks don't need.
    fn follow(&mut self, now: Now) {
        let Some(credentials) = self.credentials.in_use(now.instant).filter(|_| self.may_send()) else { return };
        self.following.search_if_due(now);
        if self.following.wants_slot() && self.dispatcher.take_spare_read(now) {
            self.following.look(Arc::clone(credentials));
        }
    }

    fn after_follow(&mut self, step: FollowStep, now: Now) {
        let report = self.following.handle(step, now);
        if let Some(look) = report.look {
            self.dispatcher.spare_read_ended(look.departed);
        }
        self.reporters.followed(&report);
    }

    fn after_request(&mut self, event: DispatchEvent, now: Now) {
        let keys = self.credentials.key_source();
        let Some(ended) = self.dispatcher.handle(event, keys, self.context(now)) else { return };
        request_log::log(&ended.result, now.unix);
        self.reporters.request_ended(&ended.result);
        let kind = ended.result.claim.kind;
        self.batches.push([ended.result]);
        match ended.breaker {
            Some(BreakerChange::Tripped) => self.after_trip(kind, now),
            Some(BreakerChange::ProbeFailed) => {
                let incident = self.dispatcher.pipeline(kind).breaker.incident(now);
                incident.iter().for_each(|incident| log_still_paused(incident, &self.counts, now));
            }
            Some(BreakerChange::Recovered(cause, after)) => log_resumed(&cause, after),
            None => {}
        }
    }

    fn after_trip(&mut self, kind: RequestKind, now: Now) {
        let breaker = &self.dispatcher.pipeline(kind).breaker;
        let (Some(cause), Some(fault)) = (breaker.cause().cloned(), breaker.fault()) else { return };
        log_paused(&cause.clone().into(), Some(self.settings.pause.probe_initial));
        self.return_ready(&[kind], &RowCause::PausedUnsent, now);
        if kind == RequestKind::Commit && request_outcome::ends_a_run(fault) {
            self.shutdown.meet_fault(Some(cause.into()));
        }
    }

    /// Returns the claims of these kinds that have not been sent.
    fn return_ready(&mut self, kinds: &[RequestKind], cause: &RowCause, now: Now) {
        self.batches.push(self.dispatcher.return_ready(kinds, cause, self.context(now)));
    }

    fn context(&self, now: Now) -> Context {
        Context { policy: self.settings.policy(), now, dice: fastrand::f64() }
    }

    /// Whether results may wait for those of other requests, to share their sync.
    fn others_in_flight(&self) -> bool {
        self.dispatcher.in_flight() > 0 && !self.shutdown.is_draining()
    }

    fn begin_batch(&mut self, now: Now) {
        // Looking at what others changed must not delay the end of a stop.
        let is_done = self.shutdown.is_draining() && self.dispatcher.in_flight() == 0 && !self.batches.has_results();
        if self.shutdown.is_failed() || is_done {
            return;
        }
        let claims = self.shutdown.allows_sending() && !self.credentials.are_missing();
        let hungry = claims && self.dispatcher.is_hungry(now, self.control.paused, self.batches.last_took());
        let (mode, incidents) = self.mode_and_incidents(now);
        let report = Reported::new(mode, &incidents);
        let Some(due) = self.batches.due(&report, hungry, self.others_in_flight(), now.instant) else { return };
        let most = if claims { due.most_claims } else { 0 };
        let pace = self.dispatcher.paces().commits;
        // With a wrong clock, everything may seem old; the API accepts the clock of a daemon that runs.
        let works = mode == Mode::Running && !self.batches.is_out();
        let request = BatchRequest {
            limits: self.dispatcher.claim_limits(now.instant, most, self.batches.rejected().passed_over()),
            heartbeat: due.heartbeat.then_some(Heartbeat { mode, incidents, pace }),
            find_oldest: self.progress.is_due(now.instant),
            prune: self.maintenance.due(now).filter(|_| works),
            ..BatchRequest::new(self.settings.policy())
        };
        self.batches.begin(due, request, self.dispatcher.held(), now.instant);
    }

    fn after_batch(&mut self, end: BatchEnd, now: Now) {
        let BatchEnd { report, found_oldest, fatal, stops_sending } = end;
        self.shutdown.fail(fatal);
        if stops_sending {
            self.shutdown.meet_fault(None);
        }
        let Some(report) = report else { return };
        self.accept(report.claims, [report.next_commit, report.next_readback], now);
        self.obey(report.control, now);
        self.counts = report.counts;
        if let Some(pruned) = report.pruned {
            self.maintenance.pruned(pruned, now.instant);
        }
        self.progress.counted(&self.counts);
        if found_oldest {
            let incident = self.mode_and_incidents(now).1.into_iter().next();
            self.progress.log(&self.counts, self.dispatcher.paces(), report.oldest_open, incident.as_ref(), now);
        }
        let paused = self.mode_and_incidents(now).1.into_iter().next();
        self.reporters.progressed(Progress { counts: self.counts.clone(), paused });
    }

    fn accept(&mut self, claims: Vec<Claim>, next_due: [Option<i64>; 2], now: Now) {
        self.batches.push(self.dispatcher.accept(claims, next_due, self.context(now)));
        // The stop may have begun, or the credentials expired, while the batch was under way.
        if self.shutdown.is_draining() {
            self.return_ready(&RequestKind::ALL, &RowCause::StoppedUnsent, now);
        } else if self.credentials.are_missing() {
            self.return_ready(&RequestKind::ALL, &RowCause::PausedUnsent, now);
        }
    }

    /// Does what operators ask for.
    fn obey(&mut self, control: Control, now: Now) {
        if control.probe_requested {
            self.dispatcher.probe_now(now.instant);
            self.credentials.refresh();
        }
        let before = std::mem::replace(&mut self.control, control);
        match log_control(&before, &self.control) {
            ControlChange::Paused => self.return_ready(&[RequestKind::Commit], &RowCause::PausedUnsent, now),
            ControlChange::Resumed => self.credentials.refresh(),
            ControlChange::None => {}
        }
    }

    /// Reads the configuration again. A configuration that can't be read or is invalid changes nothing.
    fn reload(&mut self, now: Now) {
        let Some(reloading) = &mut self.reloading else { return };
        self.reporters.reloading();
        if let Some(source) = reloading.apply(&mut self.settings) {
            self.dispatcher.set(&self.settings, now.instant);
            self.progress.set(self.settings.log.progress_interval, now.instant);
            self.maintenance.set(&self.settings, now.instant);
            self.following.set(&self.settings, now.instant);
            self.credentials.replace(source);
            // A reload usually follows a fix.
            self.dispatcher.probe_now(now.instant);
        }
        self.reporters.ready();
    }

    /// Does what is due of the shutdown. Whether the run is over.
    fn stop(&mut self, now: Now) -> bool {
        let patience = self.settings.worker.stop_timeout;
        loop {
            match self.shutdown.step(now.instant, self.in_hand(), patience) {
                Step::Continue => return false,
                Step::End => return true,
                Step::Drain(reason) => {
                    log_stopping(reason, self.dispatcher.in_flight(), self.batches.results_in_hand(), patience);
                    self.reporters.stopping();
                    self.return_ready(&RequestKind::ALL, &RowCause::StoppedUnsent, now);
                }
                Step::Abandon => {
                    let results = self.dispatcher.abandon(self.context(now));
                    results.iter().for_each(|result| request_log::log(result, now.unix));
                    self.batches.push(results);
                }
            }
        }
    }

    fn in_hand(&self) -> InHand {
        InHand {
            in_flight: self.dispatcher.in_flight(),
            is_writing: self.batches.is_writing(),
            has_results: self.batches.has_results(),
            is_database_down: self.batches.is_out(),
            is_empty: self.counts != Counts::default() && (self.counts.open() == 0 || self.is_blocked()),
        }
    }

    /// Whether the queue's own rules reject everything that is open.
    fn is_blocked(&self) -> bool {
        let is_at_rest = self.is_idle() && !self.batches.has_results();
        is_at_rest && self.batches.rejected().is_all_of(&self.counts, self.dispatcher.next_due().is_some())
    }

    async fn finish(mut self) -> Result<Ended, QueueError> {
        self.maintenance.end().await;
        self.following.end(clock::now().instant).await;
        let pace = self.dispatcher.paces().commits;
        let held = self.dispatcher.held().collect();
        let refused = match self.shutdown.outcome() {
            Ok(refused) => refused,
            Err(error) => {
                let takes_results = matches!(error, QueueError::Altered { .. } | QueueError::DepartureMarker { .. });
                let unwritten = self.batches.give_up(takes_results, self.settings.policy()).await;
                return Err(log_stopped_by(error, unwritten));
            }
        };
        let heartbeat = Some(Heartbeat { mode: Mode::Stopped, incidents: Vec::new(), pace });
        let request = BatchRequest { heartbeat, ..BatchRequest::new(self.settings.policy()) };
        let finished = self.batches.finish(request, held).await;
        let Finished { report, rejected } = finished.map_err(|(error, unwritten)| log_stopped_by(error, unwritten))?;
        let is_blocked = rejected.unclaimable() > 0 || rejected.has_unsettled() || !report.rejected_results.is_empty();
        log_stopped(&report.counts);
        Ok(Ended { counts: report.counts, refused, is_blocked })
    }
}
