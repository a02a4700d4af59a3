//! The world of the model: one certificate, the network, the server, and a daemon that crashes.

use std::time::Duration;

use super::super::*;
use crate::cause::{ApiError, RowCause};

/// A signature lives this long: nothing signed earlier is executed any more.
pub(super) const SIGNATURE_LIVES: u64 = 300;
const SIGNATURE: Duration = Duration::from_secs(SIGNATURE_LIVES);
/// The status of a certificate that waits for its commit.
pub(super) const WAITS: i64 = 13;
/// The status of a certificate whose commit landed.
pub(super) const COMMITTED: i64 = 8;

/// How a commit fares.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    Answered,
    /// The answer is lost or never comes; the commit lands this many seconds after the signing.
    Late(u64),
    /// It isn't executed, or never arrives.
    Fails(Outcome),
    /// It is executed, and answered with an error of the backend.
    ActsAndErrs,
    /// It is executed, and answered as busy. The order shows at once: the server says that nothing was placed, so no read
    /// waits.
    ActsAndIsBusy,
}

/// What happens next.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The wall clock leaps, so that the row looks due at once.
    pub(super) leap: bool,
    /// How much later than due the daemon comes to it, in seconds.
    pub(super) dawdle: u64,
    /// How long the request takes, in seconds.
    pub(super) takes: u64,
    pub(super) commit: Fate,
    /// How a read fails; otherwise it shows what is so, or was.
    pub(super) read: Option<Outcome>,
    /// How far a read lags behind, as a share of the longest lag that the policy allows for.
    pub(super) lag: f64,
    /// The daemon dies before it records how the request ended.
    pub(super) crash: bool,
    /// It dies before it hands a commit to the network, and the departure marker says so.
    pub(super) unsent: bool,
    /// Its commit is the probe of a paused queue.
    pub(super) probe: bool,
    /// The certificate's status becomes this one, by somebody else's doing.
    pub(super) turn: Option<i64>,
    /// Somebody sends a failed row once more.
    pub(super) by_hand: bool,
    pub(super) dice: f64,
}

#[derive(Debug, Clone)]
enum Entry {
    Commit { class: OutcomeClass, signed: u64 },
    Read { class: OutcomeClass, sent: u64, run_began: u64 },
}

#[derive(Debug)]
pub(super) struct World {
    policy: Policy,
    now: u64,
    run_began: u64,
    pub(super) state: State,
    tries: u32,
    due: u64,
    record: Vec<Entry>,
    /// Commits that were sent and count, since somebody last cleared the tries.
    counted: u32,
    status: i64,
    /// Orders that this queue placed.
    pub(super) orders: u32,
    /// Status and orders, by the time from which on they were so.
    history: Vec<(u64, i64, u32)>,
    /// Commits that are still under way to the server: when they land.
    under_way: Vec<u64>,
    /// When the newest commit was signed, if it may have been executed; and when reads found nothing since.
    doubt: Option<(u64, Vec<u64>)>,
    /// When a commit was signed that was answered, may have been executed, and was not disproved by a read since; and
    /// how long an order may take to show.
    unread: Option<(u64, u64)>,
}

impl World {
    pub(super) fn new(policy: Policy, status: i64) -> Self {
        Self {
            policy,
            now: 1000,
            run_began: 1000,
            state: State::Pending,
            tries: 0,
            due: 1000,
            record: Vec::new(),
            counted: 0,
            status,
            orders: 0,
            history: vec![(0, status, 0)],
            under_way: Vec::new(),
            doubt: None,
            unread: None,
        }
    }

    fn evidence(&self) -> Evidence {
        // What an earlier run signed ages from the start of this one.
        let age = |signed: u64| Duration::from_secs(self.now - signed.max(self.run_began));
        let mut evidence = Evidence { age: age(0), ..Evidence::none() };
        let mut newest = None;
        for entry in &self.record {
            evidence = match entry {
                Entry::Commit { class, signed } => {
                    newest = if effects(RequestKind::Commit, *class).readbacks_to_disprove > 0 {
                        Some(*signed)
                    } else {
                        newest
                    };
                    evidence.with_commit(*class, age(*signed))
                }
                Entry::Read { class, sent, run_began } => {
                    let since = newest.map(|signed: u64| Duration::from_secs(sent - signed.max(*run_began)));
                    evidence.with_readback(*class, since.unwrap_or(evidence.age), &self.policy.verify)
                }
            };
        }
        evidence
    }

    /// The daemon comes to the row, and what is to happen happens.
    pub(super) fn step(&mut self, step: &Step) {
        let wait = if step.leap { 0 } else { self.due.saturating_sub(self.now) };
        self.pass(wait + step.dawdle);
        // Somebody else places an order only where none stands.
        let possible = |status: &i64| *status != COMMITTED || matches!(self.status, 5 | WAITS);
        if let Some(status) = step.turn.filter(|_| self.state.is_open()).filter(possible) {
            self.becomes(status);
        }
        if step.by_hand && self.state == State::Failed {
            (self.state, self.tries, self.counted, self.due) = (State::Pending, 0, 0, self.now);
        }
        let evidence = self.evidence();
        let settles_in = evidence.settles_in(&self.policy.verify);
        match self.state {
            State::Pending if !evidence.needs_readback() && step.crash && step.unsent => {
                self.claim_in_vain(step, evidence)
            }
            State::Pending if !evidence.needs_readback() => self.commit(step, evidence),
            // The queue claims no other read of it yet.
            State::InDoubt if !settles_in.is_zero() && evidence.was_read_early => self.pass(settles_in.as_secs()),
            State::Pending if !evidence.readbacks_count_in(&self.policy.verify).is_zero() => {
                self.pass(evidence.readbacks_count_in(&self.policy.verify).as_secs());
            }
            State::Pending | State::InDoubt => self.read(step, evidence),
            State::InFlight | State::Submitted | State::Failed | State::Held | State::Canceled => {}
        }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let now = self.now;
        let landed: Vec<u64> = self.under_way.iter().copied().filter(|at| *at <= now).collect();
        self.under_way.retain(|at| *at > now);
        landed.into_iter().for_each(|at| self.execute(at));
    }

    fn becomes(&mut self, status: i64) {
        self.status = status;
        self.history.push((self.now, status, self.orders));
    }

    /// What a read shows that lags behind by this share of what the policy allows for: a read after `settle` shows what
    /// was executed at once, and one after `resend_after` whatever a signature still allowed.
    fn shown(&self, lag: f64) -> Outcome {
        let longest = self.policy.verify.settle.min(self.policy.verify.resend_after - SIGNATURE);
        let at = self.now - longest.mul_f64(lag).as_secs();
        let (_, status, orders) = self.history.iter().rfind(|(since, ..)| *since <= at).copied().unwrap();
        let order_id = (orders > 0 || status == COMMITTED).then(|| "SO1".to_owned());
        Outcome::shown(order_id, Some(status), None)
    }

    /// A commit arrives, and places an order if the status allows it.
    fn execute(&mut self, at: u64) {
        assert_eq!(self.orders, 0, "it landed although an order stands: {self:?}");
        if matches!(self.status, 5 | WAITS) {
            self.status = COMMITTED;
            self.orders += 1;
            self.history.push((at, self.status, self.orders));
        }
    }

    /// The daemon claims the row, and dies before it sends the commit.
    fn claim_in_vain(&mut self, step: &Step, evidence: Evidence) {
        self.state = State::InFlight;
        let row = Row { state: State::InFlight, tries: self.tries, is_probe: step.probe && !step.crash, evidence };
        let signed = self.now;
        self.restart_if(step.crash);
        self.record.push(Entry::Commit { class: OutcomeClass::NotSent, signed });
        self.apply(&row, &Event::Returned(RowCause::CrashedUnsent), step.dice);
    }

    fn commit(&mut self, step: &Step, evidence: Evidence) {
        self.state = State::InFlight;
        let row = Row { state: State::InFlight, tries: self.tries, is_probe: step.probe && !step.crash, evidence };
        let signed = self.now;
        self.assert_may_be_sent();
        let outcome = self.send(&step.commit);
        let class = if step.crash { OutcomeClass::InDoubt } else { outcome.class };
        let event = if step.crash { Event::Interrupted } else { Event::Ended(outcome) };
        self.pass(step.takes);
        self.restart_if(step.crash);
        let effects = effects(RequestKind::Commit, class);
        let met_the_fault = step.probe && !step.crash && matches!(effects.health, HealthSignal::Fault(_));
        self.counted += u32::from(effects.spends_try && !met_the_fault);
        // The model's own words for what may have been executed.
        if !matches!(class, OutcomeClass::Throttled | OutcomeClass::Account | OutcomeClass::NotSent) {
            let settle = self.policy.verify.settle.as_secs();
            self.doubt = (class == OutcomeClass::InDoubt).then(|| (signed, Vec::new()));
            let shows_late = matches!(class, OutcomeClass::BackendError | OutcomeClass::StatusRefused);
            let shows_after = if shows_late { settle } else { 0 };
            self.unread = (class != OutcomeClass::InDoubt).then_some((signed, shows_after));
        }
        self.record.push(Entry::Commit { class, signed });
        self.apply(&row, &event, step.dice);
    }

    fn assert_may_be_sent(&self) {
        assert_eq!(self.orders, 0, "sent again although an order stands: {self:?}");
        assert!(self.under_way.is_empty(), "sent again while a commit is under way: {self:?}");
        assert!(self.unread.is_none(), "sent again unread after a commit that may have been executed: {self:?}");
        if let Some((signed, disproved)) = &self.doubt {
            let late_enough = signed + self.policy.verify.resend_after.as_secs();
            let disproved_late = disproved.last().is_some_and(|at| *at >= late_enough);
            assert!(disproved.len() >= 2 && disproved_late, "sent again although it may have landed: {self:?}");
        }
    }

    fn send(&mut self, fate: &Fate) -> Outcome {
        match fate {
            Fate::Answered if !matches!(self.status, 5 | WAITS) => refused(OutcomeClass::StatusRefused),
            Fate::Answered => {
                self.execute(self.now);
                Outcome::submitted("SO1".into(), COMMITTED, None)
            }
            Fate::Late(seconds) => {
                self.under_way.push(self.now + (*seconds).min(SIGNATURE_LIVES));
                lost()
            }
            Fate::Fails(outcome) => outcome.clone(),
            Fate::ActsAndErrs => {
                self.execute(self.now);
                refused(OutcomeClass::BackendError)
            }
            Fate::ActsAndIsBusy => {
                self.execute(self.now);
                self.history = vec![(0, self.status, self.orders)];
                refused(OutcomeClass::Retry)
            }
        }
    }

    fn read(&mut self, step: &Step, evidence: Evidence) {
        let row = Row { state: self.state, tries: self.tries, is_probe: false, evidence };
        let outcome = match &step.read {
            Some(outcome) => outcome.clone(),
            None => self.shown(step.lag),
        };
        let class = row.evidence.class_of_readback(outcome.class, &self.policy.verify);
        let outcome = Outcome { class, ..outcome };
        // A read that was cut off by the end of the daemon proves nothing.
        let class = if step.crash { OutcomeClass::Retry } else { outcome.class };
        let shows = |(signed, settle): &(u64, u64)| self.now - signed >= *settle;
        if class == OutcomeClass::NotCommitted && self.unread.as_ref().is_some_and(shows) {
            self.unread = None;
        }
        if let (Some((_, disproved)), OutcomeClass::NotCommitted) = (&mut self.doubt, class) {
            disproved.push(self.now);
        }
        let (sent, run_began) = (self.now, self.run_began);
        self.pass(step.takes);
        self.restart_if(step.crash);
        self.record.push(Entry::Read { class, sent, run_began });
        if !step.crash {
            self.apply(&row, &Event::Ended(outcome), step.dice);
        }
    }

    fn restart_if(&mut self, crash: bool) {
        self.pass(u64::from(crash));
        self.run_began = if crash { self.now } else { self.run_began };
    }

    fn apply(&mut self, row: &Row, event: &Event, dice: f64) {
        let kind = if row.state == State::InFlight { RequestKind::Commit } else { RequestKind::Readback };
        let change = next_state(row, kind, event, &self.policy, dice).unwrap();
        assert!(change.to == row.state || row.state.may_become(change.to), "{:?} to {:?}", row.state, change.to);
        if (row.state, change.to) == (State::InDoubt, State::Pending) {
            let Evidence { age, negative_readbacks, .. } = row.evidence;
            assert!(negative_readbacks >= 1 && age >= self.policy.verify.resend_after, "too early: {row:?}");
        }
        self.state = change.to;
        self.tries += u32::from(change.spends_try);
        self.due = self.now + change.due_in.as_secs() + u64::from(change.due_in.subsec_nanos() > 0);
        self.assert_true();
    }

    /// What the row says is so.
    pub(super) fn assert_true(&self) {
        use OutcomeClass::{DeadEnd, Failed, NotCommitted, Unclear};
        let shown = |entry: &Entry| matches!(entry, Entry::Read { class: DeadEnd | Failed | Unclear, .. });
        let contradicts = |entry: &Entry| {
            let evidence = self.evidence();
            (evidence.last_commit == Some(OutcomeClass::StatusRefused) || evidence.placed)
                && matches!(entry, Entry::Read { class: NotCommitted, .. })
        };
        match self.state {
            State::Submitted => {
                // A read that lags behind may show an order that somebody else has canceled since.
                let stood = self.history.iter().any(|(_, status, _)| *status == COMMITTED);
                assert!(stood, "no order stands: {self:?}");
            }
            State::Failed => {
                let by_status = self.evidence().last_commit == Some(OutcomeClass::StatusRefused);
                let elsewhere = by_status && self.status == COMMITTED;
                let ours = self.orders > 0 || !self.under_way.is_empty();
                assert!(!ours && !elsewhere, "an order may stand: {self:?}");
            }
            State::Held => assert!(
                self.record.iter().any(|entry| shown(entry) || contradicts(entry)),
                "held for nothing: {self:?}"
            ),
            State::Pending | State::InFlight | State::InDoubt | State::Canceled => {}
        }
        assert!(self.tries <= self.policy.retry.max_tries && self.counted <= self.tries, "too many tries: {self:?}");
    }
}

fn error() -> ApiError {
    ApiError::new("Code", "message", None)
}

pub(super) fn refused(class: OutcomeClass) -> Outcome {
    Outcome::refused(class, error())
}

pub(super) fn lost() -> Outcome {
    Outcome { error: Some(error()), ..Outcome::unknown(RequestKind::Commit, "lost".into()) }
}

pub(super) fn cut() -> Outcome {
    Outcome::unknown(RequestKind::Readback, "cut".into())
}
