//! Notifies systemd that the daemon is ready, reloading, stopping and alive, and of its status; see `sd_notify(3)`. Without
//! `NOTIFY_SOCKET`, nothing is sent.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use super::status_snapshot::StatusSnapshot;
use super::systemd_socket::NotifySocket;
use crate::cause::{Incident, Probes};
use crate::clock::rough;
use crate::escaping::printable;
use crate::submission::State;

/// The status text is updated at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// The status text shows the rate of the last minute.
const RECENT: Duration = Duration::from_secs(60);
/// A longer status text is cut.
const LONGEST_STATUS: usize = 400;
/// The watchdog is fed this often within its timeout.
const FEEDINGS: u32 = 3;

/// Sends one message to systemd.
pub(super) type Notify = Box<dyn FnMut(&[NotifyState<'_>]) -> io::Result<()> + Send>;

/// The service manager.
pub(super) struct ServiceManager {
    notify: Notify,
    /// The watchdog's timeout; none without a watchdog.
    timeout: Option<Duration>,
    fed_at: Option<Instant>,
    status_at: Option<Instant>,
    status: String,
    submitted: VecDeque<(Instant, i64)>,
    /// The message that the daemon is ready was not delivered.
    is_ready_pending: bool,
    /// The last message was not delivered.
    has_failed: bool,
}

impl fmt::Debug for ServiceManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceManager")
    }
}

impl ServiceManager {
    /// The one that the environment names. If its socket can't be used, the daemon works without notifications.
    pub(super) fn of_environment() -> Self {
        let socket = NotifySocket::of_environment().unwrap_or_else(|error| {
            tracing::warn!(
                "NOTIFY_SOCKET can't be used, so systemd gets no notifications: {error}. A socket's name has at most 107 bytes; \
                 correct it, or unset it"
            );
            NotifySocket::none()
        });
        Self::new(Box::new(move |states| socket.send(states)), sd_notify::watchdog_enabled())
    }

    fn new(notify: Notify, timeout: Option<Duration>) -> Self {
        Self {
            notify,
            timeout,
            fed_at: None,
            status_at: None,
            status: String::new(),
            submitted: VecDeque::new(),
            is_ready_pending: false,
            has_failed: false,
        }
    }

    /// The daemon is ready.
    pub(super) fn ready(&mut self) {
        self.is_ready_pending = !self.send(&[NotifyState::Ready]);
    }

    /// The daemon reloads its configuration; [`ready`](Self::ready) follows.
    pub(super) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                self.send(&[NotifyState::Reloading, now]);
            }
            Err(error) => tracing::warn!("the monotonic clock can't be read: {error}"),
        }
    }

    /// The daemon is stopping.
    pub(super) fn stopping(&mut self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// When to feed the watchdog next.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        Some(self.fed_at? + self.timeout? / FEEDINGS)
    }

    /// One round of the event loop: feeds the watchdog and updates the status text when they are due.
    pub(super) fn publish(&mut self, snapshot: StatusSnapshot<'_>, now: Instant) {
        let is_due = self.next_wakeup().is_none_or(|at| now >= at);
        if self.timeout.is_some() && is_due {
            self.fed_at = Some(now);
            self.send(&[NotifyState::Watchdog]);
        }
        if self.status_at.is_some_and(|at| now < at + STATUS_EVERY) {
            return;
        }
        self.status_at = Some(now);
        if self.is_ready_pending {
            self.ready();
        }
        let rate = self.recent_rate(snapshot.counts.of(State::Submitted), now);
        let status = describe(snapshot, rate);
        if status != self.status && self.send(&[NotifyState::Status(&status)]) {
            self.status = status;
        }
    }

    /// Submissions a second over the last minute, or since the first round.
    fn recent_rate(&mut self, submitted: i64, now: Instant) -> f64 {
        self.submitted.push_back((now, submitted));
        while self.submitted.get(1).is_some_and(|(at, _)| *at + RECENT <= now) {
            self.submitted.pop_front();
        }
        let Some((since, before)) = self.submitted.front() else { return 0.0 };
        let elapsed = now.saturating_duration_since(*since).as_secs_f64();
        let done = u32::try_from(submitted - before).unwrap_or(0);
        if elapsed > 0.0 { f64::from(done) / elapsed } else { 0.0 }
    }

    /// Whether the message was delivered.
    fn send(&mut self, states: &[NotifyState<'_>]) -> bool {
        let sent = (self.notify)(states);
        if let (Err(error), false) = (&sent, self.has_failed) {
            tracing::warn!("failed to notify systemd: {error}; trying again");
        }
        self.has_failed = sent.is_err();
        sent.is_ok()
    }
}

/// One line for `systemctl status`.
fn describe(snapshot: StatusSnapshot<'_>, rate: f64) -> String {
    let StatusSnapshot { counts, incidents, outage, paces, .. } = snapshot;
    let open = counts.open();
    let closed = format!(
        "{} submitted, {} failed, {} held",
        counts.of(State::Submitted),
        counts.of(State::Failed),
        counts.of(State::Held)
    );
    // The cause comes last: it may be long, and is cut.
    let interrupted = |what: &str, incident: &Incident| {
        let since = incident.since.map(|since| format!(" since {since}")).unwrap_or_default();
        let probes =
            if incident.probes == Probes::default() { String::new() } else { format!("; {}", incident.probes) };
        format!("{what}{since}, {open} open ({closed}){probes}: {}", incident.cause)
    };
    let line = match (outage, incidents.first()) {
        (Some(outage), _) => interrupted("waits for the database", outage),
        (None, Some(incident)) if incident.is_of_readback() => interrupted("runs without readback", incident),
        (None, Some(incident)) => interrupted("paused", incident),
        (None, None) if open == 0 => format!("idle: {closed}"),
        (None, None) => {
            let doubt = match counts.of(State::InDoubt) {
                0 => String::new(),
                doubt => format!(" ({doubt} in doubt)"),
            };
            format!("{open} open{doubt}, {rate:.1}/s, about {} left; {closed}", rough(counts.time_left(paces)))
        }
    };
    // Quoted text can't begin another line, which systemd would take for another message.
    printable(&line, LONGEST_STATUS)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::cause::{DatabaseCause, PauseCause};
    use crate::clock::{self, UnixMillis};
    use crate::queue::{Counts, Mode, Paces};

    /// The messages, in order.
    #[derive(Clone, Default)]
    struct Messages(Arc<Mutex<Vec<String>>>);

    impl Messages {
        fn notify(&self) -> Notify {
            let messages = self.clone();
            Box::new(move |states| {
                messages.0.lock().unwrap().extend(states.iter().map(ToString::to_string));
                Ok(())
            })
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn counts(pending: i64, submitted: i64) -> Counts {
        [(State::Pending, pending), (State::Submitted, submitted)].into_iter().collect()
    }

    fn running(counts: &Counts) -> StatusSnapshot<'_> {
        let paces = Paces { commits: 20.0, reads: 10.0 };
        StatusSnapshot { counts, mode: Mode::Running, incidents: &[], outage: None, paces, cap: 20, next_due: None }
    }

    #[test]
    fn rounds_feed_the_watchdog_three_times_within_its_timeout() {
        let messages = Messages::default();
        let mut service_manager = ServiceManager::new(messages.notify(), Some(Duration::from_secs(30)));
        let (start, empty) = (clock::now().instant, counts(0, 0));
        for second in 0..60 {
            service_manager.publish(running(&empty), start + Duration::from_secs(second));
        }
        assert_eq!(messages.take().iter().filter(|line| *line == "WATCHDOG=1").count(), 6);
        assert_eq!(service_manager.next_wakeup(), Some(start + Duration::from_secs(60)));
    }

    #[test]
    fn without_a_watchdog_only_the_status_is_sent() {
        let messages = Messages::default();
        let mut service_manager = ServiceManager::new(messages.notify(), None);
        service_manager.publish(running(&counts(0, 0)), clock::now().instant);
        assert_eq!(
            (messages.take(), service_manager.next_wakeup()),
            (vec!["STATUS=idle: 0 submitted, 0 failed, 0 held".to_owned()], None)
        );
    }

    #[test]
    fn the_status_has_counts_rate_and_time_left_and_is_updated_once_a_second_if_it_changed() {
        let messages = Messages::default();
        let mut service_manager = ServiceManager::new(messages.notify(), None);
        let start = clock::now().instant;
        let at = |millis| start + Duration::from_millis(millis);
        service_manager.publish(running(&counts(100, 0)), start);
        service_manager.publish(running(&counts(90, 10)), at(500));
        service_manager.publish(running(&counts(80, 20)), at(1000));
        let expected = [
            "STATUS=100 open, 0.0/s, about 5 s left; 0 submitted, 0 failed, 0 held",
            "STATUS=80 open, 20.0/s, about 4 s left; 20 submitted, 0 failed, 0 held",
        ];
        assert_eq!(messages.take(), expected);
        service_manager.publish(running(&counts(0, 100)), at(9000));
        service_manager.publish(running(&counts(0, 100)), at(10_000));
        assert_eq!(messages.take(), ["STATUS=idle: 100 submitted, 0 failed, 0 held"]);
    }

    #[test]
    fn the_time_left_includes_readbacks() {
        let counts = [(State::Pending, 100), (State::InDoubt, 100)].into_iter().collect();
        let line = describe(running(&counts), 0.0);
        assert_eq!(line, "200 open (100 in doubt), 0.0/s, about 20 s left; 0 submitted, 0 failed, 0 held");
    }

    #[test]
    fn a_message_that_was_not_delivered_is_sent_again() {
        let messages = Messages::default();
        let (mut full, mut notify) = (true, messages.notify());
        let notify: Notify = Box::new(move |states| match std::mem::take(&mut full) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => notify(states),
        });
        let mut service_manager = ServiceManager::new(notify, None);
        service_manager.ready();
        assert_eq!(messages.take(), [""; 0]);
        service_manager.publish(running(&counts(0, 0)), clock::now().instant);
        assert_eq!(messages.take(), ["READY=1", "STATUS=idle: 0 submitted, 0 failed, 0 held"]);
    }

    #[test]
    fn a_reason_can_not_smuggle_in_another_message() {
        let messages = Messages::default();
        let mut service_manager = ServiceManager::new(messages.notify(), None);
        let counts = counts(1, 0);
        let cause = PauseCause::ByOperator { reason: Some("x\nSTOPPING=1".into()) };
        let incident = Incident::new(cause, None);
        let injected = StatusSnapshot { incidents: std::slice::from_ref(&incident), ..running(&counts) };
        service_manager.publish(injected, clock::now().instant);
        assert!(messages.take().iter().all(|message| !message.contains('\n')));
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut service_manager = ServiceManager::new(Messages::default().notify(), None);
        let start = clock::now().instant;
        let rates: Vec<f64> = [(0, 0), (60, 600), (120, 600), (180, 600)]
            .map(|(second, submitted)| service_manager.recent_rate(submitted, start + Duration::from_secs(second)))
            .into();
        assert_eq!(rates, [0.0, 10.0, 0.0, 0.0]);
    }

    #[test]
    fn the_status_has_the_cause_of_a_pause_or_of_an_outage() {
        let messages = Messages::default();
        let mut service_manager = ServiceManager::new(messages.notify(), None);
        let counts = counts(7, 3);
        let cause = PauseCause::ByOperator { reason: Some("maintenance at the CA".into()) };
        let incident = Incident::new(cause, Some(UnixMillis(0)));
        let paused = StatusSnapshot { incidents: std::slice::from_ref(&incident), ..running(&counts) };
        let now = clock::now().instant;
        service_manager.publish(paused, now);
        assert_eq!(
            messages.take(),
            [
                "STATUS=paused since 1970-01-01T00:00:00Z, 7 open (3 submitted, 0 failed, 0 held): an operator paused the queue: maintenance at the CA"
            ]
        );
        let (sentence, remedy) = ("the disk is full".into(), "make room".into());
        let full = Incident::new(DatabaseCause { code: "disk_full", sentence, remedy }, None);
        service_manager.publish(StatusSnapshot { outage: Some(&full), ..paused }, now + STATUS_EVERY);
        let expected = "STATUS=waits for the database, 7 open (3 submitted, 0 failed, 0 held): the disk is full";
        assert_eq!(messages.take(), [expected]);
    }
}
