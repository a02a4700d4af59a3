//! The shutdown, as a state machine: nothing more is sent, requests in flight get time to end, and those that don't are in
//! doubt. Pure.
//!
//! ```text
//! running ──stop asked for, nothing left, or a fault──▶ draining ──nothing in flight, results written──▶ ended
//!                                                          └──deadline, or asked again──▶ abandon, then ended
//! ```

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Stop, Until};
use crate::cause::Cause;
use crate::queue::QueueError;

/// Why the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// A stop was asked for.
    Asked,
    /// A run until empty has nothing left to do.
    NothingLeft,
    /// A run until empty can't go on.
    Fault,
    /// The database ends it.
    Database,
}

impl StopReason {
    /// For the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "it was asked to",
            Self::NothingLeft => "nothing is left to do",
            Self::Fault => "it can't go on",
            Self::Database => "the database ends it",
        }
    }
}

/// What the daemon still has to finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InHand {
    /// Requests in flight.
    pub(super) in_flight: usize,
    /// Whether a batch is under way.
    pub(super) is_writing: bool,
    /// Whether results are not written yet.
    pub(super) has_results: bool,
    /// Whether the database doesn't work at present.
    pub(super) is_database_down: bool,
    /// Whether nothing is left to do.
    pub(super) is_empty: bool,
}

/// The next step of the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on.
    Continue,
    /// Begin to stop: return the claims that have not been sent.
    Drain(StopReason),
    /// Time is up: abandon the requests in flight.
    Abandon,
    /// Nothing is left to wait for.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Until when it waits for requests in flight.
    Draining(Instant),
}

/// The state machine.
#[derive(Debug)]
pub(super) struct Shutdown {
    until: Until,
    asked: watch::Receiver<Stop>,
    phase: Phase,
    /// The error that ends the run.
    fatal: Option<QueueError>,
    /// The fault that a run until empty met and doesn't wait out, with its cause if the run reports one.
    fault: Option<Option<Cause>>,
}

impl Shutdown {
    pub(super) fn new(until: Until, asked: watch::Receiver<Stop>) -> Self {
        Self { until, asked, phase: Phase::Running, fatal: None, fault: None }
    }

    /// The next step. Call it again until it is `Continue` or `End`: several may be due at once.
    pub(super) fn step(&mut self, now: Instant, in_hand: InHand, patience: Duration) -> Step {
        let asked = *self.asked.borrow_and_update();
        match self.phase {
            Phase::Running => match self.reason(asked, in_hand) {
                Some(reason) => {
                    self.phase = Phase::Draining(now + patience);
                    Step::Drain(reason)
                }
                None => Step::Continue,
            },
            Phase::Draining(deadline) => {
                // The second request to stop ends every wait.
                let is_over = now >= deadline || asked == Stop::Now;
                if is_over && in_hand.in_flight > 0 {
                    return Step::Abandon;
                }
                let is_quiet = in_hand.in_flight == 0 && (!in_hand.is_writing || self.fatal.is_some());
                let is_written = !in_hand.has_results || self.fatal.is_some() || is_over && in_hand.is_database_down;
                if is_quiet && is_written { Step::End } else { Step::Continue }
            }
        }
    }

    fn reason(&self, asked: Stop, in_hand: InHand) -> Option<StopReason> {
        if self.fatal.is_some() {
            return Some(StopReason::Database);
        }
        if asked >= Stop::Soon {
            return Some(StopReason::Asked);
        }
        if self.fault.is_some() {
            return Some(StopReason::Fault);
        }
        let is_empty = self.until == Until::Empty && in_hand.is_empty && in_hand.in_flight == 0;
        is_empty.then_some(StopReason::NothingLeft)
    }

    /// The database ends the run, if there is an error. The first one counts.
    pub(super) fn fail(&mut self, error: impl Into<Option<QueueError>>) {
        self.fatal = self.fatal.take().or(error.into());
    }

    /// A run until empty met a fault that it doesn't wait out, for this cause if the run reports one.
    pub(super) fn meet_fault(&mut self, cause: Option<Cause>) {
        if self.until == Until::Empty {
            self.fault.get_or_insert(cause);
        }
    }

    /// Whether requests may go out: not from the moment on at which a stop is asked for, or the run can't go on.
    pub(super) fn allows_sending(&self) -> bool {
        let is_asked = *self.asked.borrow() >= Stop::Soon;
        !(self.is_draining() || self.is_failed() || self.fault.is_some() || is_asked)
    }

    /// Whether the daemon is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.phase != Phase::Running
    }

    /// Whether the database ends the run.
    pub(super) fn is_failed(&self) -> bool {
        self.fatal.is_some()
    }

    /// When it stops waiting.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => None,
            Phase::Draining(deadline) => Some(deadline),
        }
    }

    /// Waits for a request to stop; for ever, if none can come any more.
    pub(super) async fn asked(&mut self) {
        if self.asked.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How the run ends: with an error of the database, or with the fault that it didn't wait out, if there was one.
    pub(super) fn outcome(self) -> Result<Option<Cause>, QueueError> {
        match self.fatal {
            Some(error) => Err(error),
            None => Ok(self.fault.flatten()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::PauseCause;

    const PATIENCE: Duration = Duration::from_secs(35);
    const IDLE: InHand =
        InHand { in_flight: 0, is_writing: false, has_results: false, is_database_down: false, is_empty: false };
    const BUSY: InHand = InHand { in_flight: 3, is_writing: true, has_results: true, ..IDLE };

    struct Machine {
        shutdown: Shutdown,
        stop: watch::Sender<Stop>,
        began: Instant,
    }

    impl Machine {
        fn new(until: Until) -> Self {
            let (stop, asked) = watch::channel(Stop::No);
            Self { shutdown: Shutdown::new(until, asked), stop, began: crate::clock::now().instant }
        }

        fn step(&mut self, seconds: u64, in_hand: InHand) -> Step {
            self.shutdown.step(self.began + Duration::from_secs(seconds), in_hand, PATIENCE)
        }
    }

    #[test]
    fn an_empty_queue_stops_no_daemon_that_runs_until_stopped() {
        let mut machine = Machine::new(Until::Stopped);
        assert_eq!(machine.step(0, InHand { is_empty: true, ..IDLE }), Step::Continue);
        machine.shutdown.meet_fault(None);
        assert_eq!(machine.step(1, BUSY), Step::Continue);
        machine.stop.send_replace(Stop::Soon);
        assert_eq!(machine.step(2, BUSY), Step::Drain(StopReason::Asked));
    }

    #[test]
    fn nothing_is_sent_once_a_stop_is_asked_for_or_the_run_can_not_go_on_even_before_the_next_step() {
        let allows = |until, change: fn(&mut Machine)| {
            let mut machine = Machine::new(until);
            change(&mut machine);
            machine.shutdown.allows_sending()
        };
        assert!(allows(Until::Stopped, |_| {}));
        assert!(allows(Until::Stopped, |machine| machine.shutdown.meet_fault(None)));
        assert!(!allows(Until::Empty, |machine| machine.shutdown.meet_fault(None)));
        assert!(!allows(Until::Stopped, |machine| {
            machine.stop.send_replace(Stop::Soon);
        }));
        assert!(!allows(Until::Stopped, |machine| machine.shutdown.fail(QueueError::Replaced("queue.db".into()))));
    }

    #[test]
    fn it_waits_for_requests_and_results_and_then_ends() {
        let mut machine = Machine::new(Until::Stopped);
        machine.stop.send_replace(Stop::Soon);
        machine.step(0, BUSY);
        assert_eq!(machine.step(1, BUSY), Step::Continue);
        assert_eq!(machine.step(2, InHand { in_flight: 0, ..BUSY }), Step::Continue);
        assert_eq!(machine.step(3, InHand { has_results: true, ..IDLE }), Step::Continue);
        assert_eq!(machine.step(4, IDLE), Step::End);
    }

    #[test]
    fn at_the_deadline_or_when_asked_again_it_abandons_requests_in_flight() {
        let mut machine = Machine::new(Until::Stopped);
        machine.stop.send_replace(Stop::Soon);
        machine.step(0, BUSY);
        assert_eq!(machine.step(34, BUSY), Step::Continue);
        assert_eq!(machine.step(35, BUSY), Step::Abandon);
        let mut machine = Machine::new(Until::Stopped);
        machine.stop.send_replace(Stop::Now);
        assert_eq!([machine.step(0, BUSY), machine.step(0, BUSY)], [Step::Drain(StopReason::Asked), Step::Abandon]);
    }

    #[test]
    fn it_waits_until_the_deadline_for_a_database_that_does_not_take_results() {
        let mut machine = Machine::new(Until::Stopped);
        machine.stop.send_replace(Stop::Soon);
        let down = InHand { has_results: true, is_database_down: true, ..IDLE };
        machine.step(0, down);
        assert_eq!(machine.step(34, down), Step::Continue);
        assert_eq!(machine.step(35, down), Step::End);
    }

    #[test]
    fn a_run_until_empty_ends_when_nothing_is_left_or_it_can_not_go_on() {
        let mut machine = Machine::new(Until::Empty);
        assert_eq!(machine.step(0, InHand { is_empty: true, in_flight: 1, ..IDLE }), Step::Continue);
        assert_eq!(machine.step(1, InHand { is_empty: true, ..IDLE }), Step::Drain(StopReason::NothingLeft));
        let mut machine = Machine::new(Until::Empty);
        machine.shutdown.meet_fault(Some(PauseCause::RestoredDump.into()));
        assert_eq!(machine.step(0, BUSY), Step::Drain(StopReason::Fault));
        assert_eq!(machine.shutdown.outcome().unwrap(), Some(PauseCause::RestoredDump.into()));
    }

    #[test]
    fn a_database_that_is_gone_ends_the_run_without_its_results() {
        let mut machine = Machine::new(Until::Stopped);
        machine.shutdown.fail(QueueError::Replaced("queue.db".into()));
        machine.shutdown.fail(QueueError::Replaced("another.db".into()));
        assert_eq!(machine.step(0, BUSY), Step::Drain(StopReason::Database));
        assert_eq!(machine.step(1, BUSY), Step::Continue);
        assert_eq!(machine.step(2, InHand { in_flight: 0, ..BUSY }), Step::End);
        let error = machine.shutdown.outcome().unwrap_err();
        assert!(matches!(&error, QueueError::Replaced(path) if path.ends_with("queue.db")), "{error}");
    }
}
