//! What the service manager is told: that the daemon is ready, how far it is, that it lives, and that it stops.
//! `sd_notify(3)`; where no service manager listens, nothing is said.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use super::notify_socket::NotifySocket;
use super::watchers::Situation;
use crate::clock::rough;
use crate::escaping::printable;
use crate::submission::State;

/// The status text is renewed at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// The rate that the status text tells is that of the last minute.
const RECENT: Duration = Duration::from_secs(60);
/// A status text that is longer is cut.
const LONGEST_STATUS: usize = 400;
/// The watchdog is fed three times within its patience.
const FEEDINGS: u32 = 3;

/// What tells the service manager.
pub(super) type Notify = Box<dyn FnMut(&[NotifyState<'_>]) -> io::Result<()> + Send>;

/// The service manager.
pub(super) struct Supervisor {
    notify: Notify,
    /// How long the watchdog waits; none if there is none.
    patience: Option<Duration>,
    fed_at: Option<Instant>,
    told_at: Option<Instant>,
    told: String,
    submitted: VecDeque<(Instant, i64)>,
    /// Readiness could not be told yet.
    owed: bool,
    deaf: bool,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Supervisor")
    }
}

impl Supervisor {
    /// The one that the environment names. Where that can't be one, the work goes on without.
    pub(super) fn of_environment() -> Self {
        let socket = NotifySocket::of_environment().unwrap_or_else(|error| {
            tracing::warn!(
                "NOTIFY_SOCKET can't be used, so the service manager is told nothing: {error}. A socket's name has 107 bytes at \
                 most; correct it, or unset it"
            );
            NotifySocket::none()
        });
        Self::new(Box::new(move |states| socket.tell(states)), sd_notify::watchdog_enabled())
    }

    fn new(notify: Notify, patience: Option<Duration>) -> Self {
        Self {
            notify,
            patience,
            fed_at: None,
            told_at: None,
            told: String::new(),
            submitted: VecDeque::new(),
            owed: false,
            deaf: false,
        }
    }

    /// The daemon takes up work.
    pub(super) fn ready(&mut self) {
        self.owed = !self.tell(&[NotifyState::Ready]);
    }

    /// The daemon reads its configuration anew; [`ready`](Self::ready) ends it.
    pub(super) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                self.tell(&[NotifyState::Reloading, now]);
            }
            Err(error) => tracing::warn!("the monotonic clock can't be read: {error}"),
        }
    }

    /// The daemon stops.
    pub(super) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// When the watchdog has to be fed next.
    pub(super) fn next_feeding(&self) -> Option<Instant> {
        Some(self.fed_at? + self.patience? / FEEDINGS)
    }

    /// One round of the loop: feeds the watchdog, and renews the status text, if it is time.
    pub(super) fn round(&mut self, situation: Situation<'_>, now: Instant) {
        let hungry = self.next_feeding().is_none_or(|at| now >= at);
        if self.patience.is_some() && hungry {
            self.fed_at = Some(now);
            self.tell(&[NotifyState::Watchdog]);
        }
        if self.told_at.is_some_and(|at| now < at + STATUS_EVERY) {
            return;
        }
        self.told_at = Some(now);
        if self.owed {
            self.ready();
        }
        let rate = self.recent_rate(situation.counts.of(State::Submitted), now);
        let status = describe(situation, rate);
        if status != self.told && self.tell(&[NotifyState::Status(&status)]) {
            self.told = status;
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

    /// Whether it could be told.
    fn tell(&mut self, states: &[NotifyState<'_>]) -> bool {
        let told = (self.notify)(states);
        if let (Err(error), false) = (&told, self.deaf) {
            tracing::warn!("the service manager can't be told how it goes: {error}; it is tried again");
        }
        self.deaf = told.is_err();
        told.is_ok()
    }
}

/// One line for `systemctl status`.
fn describe(situation: Situation<'_>, rate: f64) -> String {
    let Situation { counts, why, trouble, paces, .. } = situation;
    let open = counts.open();
    let closed = format!(
        "{} submitted, {} failed, {} held",
        counts.of(State::Submitted),
        counts.of(State::Failed),
        counts.of(State::Held)
    );
    let line = match (trouble, why) {
        (Some(trouble), _) => format!("waits for the database with {open} open: {trouble} ({closed})"),
        (None, Some(why)) => format!("paused with {open} open: {why} ({closed})"),
        (None, None) if open == 0 => format!("idle: {closed}"),
        (None, None) => {
            let doubt = match counts.of(State::InDoubt) {
                0 => String::new(),
                doubt => format!(" ({doubt} in doubt)"),
            };
            format!("{open} open{doubt}, {rate:.1}/s, about {} left; {closed}", rough(counts.time_left(paces)))
        }
    };
    // Whatever it quotes can't begin a line of its own.
    printable(&line, LONGEST_STATUS)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::clock;
    use crate::queue::{Counts, Mode, Paces};

    /// What was told, in order.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Told {
        fn notify(&self) -> Notify {
            let told = self.clone();
            Box::new(move |states| {
                told.0.lock().unwrap().extend(states.iter().map(ToString::to_string));
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

    fn running(counts: &Counts) -> Situation<'_> {
        let paces = Paces { commits: 20.0, reads: 10.0 };
        Situation { counts, mode: Mode::Running, why: None, trouble: None, paces, cap: 20, next_due: None }
    }

    #[test]
    fn the_watchdog_is_fed_three_times_within_its_patience_and_by_rounds_alone() {
        let told = Told::default();
        let mut supervisor = Supervisor::new(told.notify(), Some(Duration::from_secs(30)));
        let (start, empty) = (clock::now().instant, counts(0, 0));
        for second in 0..60 {
            supervisor.round(running(&empty), start + Duration::from_secs(second));
        }
        assert_eq!(told.take().iter().filter(|line| *line == "WATCHDOG=1").count(), 6);
        assert_eq!(supervisor.next_feeding(), Some(start + Duration::from_secs(60)));
    }

    #[test]
    fn without_a_watchdog_nothing_is_fed() {
        let told = Told::default();
        let mut supervisor = Supervisor::new(told.notify(), None);
        supervisor.round(running(&counts(0, 0)), clock::now().instant);
        assert_eq!(
            (told.take(), supervisor.next_feeding()),
            (vec!["STATUS=idle: 0 submitted, 0 failed, 0 held".to_owned()], None)
        );
    }

    #[test]
    fn the_status_tells_counts_rate_and_time_left_and_is_renewed_once_a_second_if_it_changed() {
        let told = Told::default();
        let mut supervisor = Supervisor::new(told.notify(), None);
        let start = clock::now().instant;
        let at = |millis| start + Duration::from_millis(millis);
        supervisor.round(running(&counts(100, 0)), start);
        supervisor.round(running(&counts(90, 10)), at(500));
        supervisor.round(running(&counts(80, 20)), at(1000));
        let expected = [
            "STATUS=100 open, 0.0/s, about 5 s left; 0 submitted, 0 failed, 0 held",
            "STATUS=80 open, 20.0/s, about 4 s left; 20 submitted, 0 failed, 0 held",
        ];
        assert_eq!(told.take(), expected);
        supervisor.round(running(&counts(0, 100)), at(9000));
        supervisor.round(running(&counts(0, 100)), at(10_000));
        assert_eq!(told.take(), ["STATUS=idle: 100 submitted, 0 failed, 0 held"]);
    }

    #[test]
    fn the_time_left_is_also_that_of_reading() {
        let counts = [(State::Pending, 100), (State::InDoubt, 100)].into_iter().collect();
        let line = describe(running(&counts), 0.0);
        assert_eq!(line, "200 open (100 in doubt), 0.0/s, about 20 s left; 0 submitted, 0 failed, 0 held");
    }

    #[test]
    fn what_could_not_be_told_is_told_later() {
        let told = Told::default();
        let (mut full, mut notify) = (true, told.notify());
        let notify: Notify = Box::new(move |states| match std::mem::take(&mut full) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => notify(states),
        });
        let mut supervisor = Supervisor::new(notify, None);
        supervisor.ready();
        assert_eq!(told.take(), [""; 0]);
        supervisor.round(running(&counts(0, 0)), clock::now().instant);
        assert_eq!(told.take(), ["READY=1", "STATUS=idle: 0 submitted, 0 failed, 0 held"]);
    }

    #[test]
    fn a_reason_can_not_say_anything_else_to_the_service_manager() {
        let told = Told::default();
        let mut supervisor = Supervisor::new(told.notify(), None);
        let counts = counts(1, 0);
        let injected = Situation { why: Some("x\nSTOPPING=1"), ..running(&counts) };
        supervisor.round(injected, clock::now().instant);
        assert!(told.take().iter().all(|message| !message.contains('\n')));
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut supervisor = Supervisor::new(Told::default().notify(), None);
        let start = clock::now().instant;
        let rates: Vec<f64> = [(0, 0), (60, 600), (120, 600), (180, 600)]
            .map(|(second, submitted)| supervisor.recent_rate(submitted, start + Duration::from_secs(second)))
            .into();
        assert_eq!(rates, [0.0, 10.0, 0.0, 0.0]);
    }

    #[test]
    fn a_pause_is_told_with_its_reason_and_so_is_trouble_with_the_database() {
        let told = Told::default();
        let mut supervisor = Supervisor::new(told.notify(), None);
        let counts = counts(7, 3);
        let paused = Situation { why: Some("maintenance at the CA"), ..running(&counts) };
        let now = clock::now().instant;
        supervisor.round(paused, now);
        assert_eq!(told.take(), ["STATUS=paused with 7 open: maintenance at the CA (3 submitted, 0 failed, 0 held)"]);
        supervisor.round(Situation { trouble: Some("the disk is full"), ..paused }, now + STATUS_EVERY);
        let expected = "STATUS=waits for the database with 7 open: the disk is full (3 submitted, 0 failed, 0 held)";
        assert_eq!(told.take(), [expected]);
    }
}
