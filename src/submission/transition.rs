//! The whole state machine as one pure function.

use std::time::Duration;

use super::evidence::Evidence;
use super::outcome::Outcome;
use super::outcome_class::{OutcomeClass, RequestKind};
use super::outcome_effects::{Effects, HealthSignal, READBACKS_TO_RESEND, Shows, effects};
use super::policy::{RetryPolicy, VerifyPolicy};
use super::state::{ResolvedBy, State};
use crate::cause::{ApiError, Quote, RowCause};

/// What the decisions depend on besides the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bounds and pace of the retries.
    pub retry: RetryPolicy,
    /// The waits before readbacks.
    pub verify: VerifyPolicy,
}

/// What a decision needs to know of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub state: State,
    /// Commits that counted so far, without the one that just ended.
    pub tries: u32,
    /// Whether its commit probes whether the fault is over that pauses the queue: if it isn't, that spends no try.
    pub is_probe: bool,
    /// What the record of its requests shows.
    pub evidence: Evidence,
}

/// What happens to the request that was claimed for a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It ended.
    Ended(Outcome),
    /// It was returned before anything was sent, for this cause.
    Returned(RowCause),
    /// It was in flight, or may have been, when the daemon stopped or died.
    Interrupted,
}

impl Event {
    /// How the request ended, as `requests` keeps it.
    #[must_use]
    pub fn outcome(&self, kind: RequestKind) -> Outcome {
        match self {
            Self::Ended(outcome) => outcome.clone(),
            Self::Returned(cause) => Outcome::not_sent(cause.to_string()),
            Self::Interrupted => Outcome::unknown(kind, "certcommit stopped before the reply came".to_owned()),
        }
    }
}

/// What becomes of the row. A field that is `None` leaves the row's value; `submitted` clears the error. If the state stays,
/// only `due_in` and `cause` apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where the row goes.
    pub to: State,
    /// Whether the request counts against `retry.max_tries`.
    pub spends_try: bool,
    /// How long from now until it is due.
    pub due_in: Duration,
    /// Whether it is due as before instead, so that it keeps its place in the queue.
    pub keeps_due_time: bool,
    /// The CA's order number.
    pub order_id: Option<String>,
    /// The certificate's status.
    pub status: Option<i64>,
    /// The ID of the request that decided.
    pub request_id: Option<String>,
    /// The last error.
    pub error: Option<ApiError>,
    /// Why it waits, failed or is held.
    pub cause: Option<RowCause>,
    /// Who established that it is submitted.
    pub resolved_by: Option<ResolvedBy>,
}

/// Decides what becomes of a row. `None`: the event doesn't change a row in this state.
///
/// `dice` is a random number in `0.0..1.0`, for the jitter of the backoff.
#[must_use]
pub fn next_state(row: &Row, kind: RequestKind, event: &Event, policy: &Policy, dice: f64) -> Option<Change> {
    let decide = Decision { row, policy, dice };
    match (row.state, kind, event) {
        (State::InFlight, RequestKind::Commit, Event::Ended(outcome)) => Some(decide.after_commit(outcome)),
        (State::InFlight, RequestKind::Commit, Event::Returned(cause)) => {
            Some(Change { keeps_due_time: true, ..Change::to(State::Pending) }.because(cause.clone()))
        }
        (State::InFlight, RequestKind::Commit, Event::Interrupted) => {
            Some(decide.after_commit(&event.outcome(kind)).because(RowCause::Interrupted))
        }
        (State::InDoubt, RequestKind::Readback, Event::Ended(outcome)) => Some(decide.after_readback(outcome)),
        (State::Pending, RequestKind::Readback, Event::Ended(outcome)) => Some(decide.after_readback_first(outcome)),
        _ => None,
    }
}

struct Decision<'a> {
    row: &'a Row,
    policy: &'a Policy,
    dice: f64,
}

impl Decision<'_> {
    fn after_commit(&self, outcome: &Outcome) -> Change {
        let Effects { to, spends_try, health, .. } = effects(RequestKind::Commit, outcome.class);
        let spends_try = spends_try && !(self.row.is_probe && matches!(health, HealthSignal::Fault(_)));
        let change = Change { spends_try, ..Change::to(to).keep(outcome) };
        match outcome.class {
            OutcomeClass::Submitted => Change { resolved_by: Some(ResolvedBy::Reply), ..change },
            OutcomeClass::Retry => self.retry(change, Duration::ZERO),
            // An order that it placed may take as long to show.
            OutcomeClass::BackendError => self.retry(change, self.policy.verify.settle),
            OutcomeClass::Throttled => change.because(RowCause::RateLimited),
            OutcomeClass::Account => change.because(RowCause::AccountAtFault),
            OutcomeClass::Denied => change.because(RowCause::NotPermitted),
            OutcomeClass::Failed => change.because(RowCause::RefusedByServer),
            OutcomeClass::StatusRefused => change.because(RowCause::RefusedForStatus),
            OutcomeClass::NotSent => {
                change.due_in(self.backoff(self.row.tries + 1)).because(RowCause::NotSent { why: outcome.why() })
            }
            OutcomeClass::InDoubt
            | OutcomeClass::Committed
            | OutcomeClass::NotCommitted
            | OutcomeClass::DeadEnd
            | OutcomeClass::Unclear
            | OutcomeClass::Early => change.because(RowCause::OutcomeUnknown { why: outcome.why() }),
        }
    }

    /// The server may have placed the order all the same, so a readback, no earlier than this, comes before the next try and
    /// before giving up.
    fn retry(&self, change: Change, no_earlier: Duration) -> Change {
        let (r#try, max_tries) = (self.row.tries + 1, self.policy.retry.max_tries);
        if self.row.is_probe {
            return change.due_in(self.backoff(r#try).max(no_earlier)).because(RowCause::ProbeFailed);
        }
        if r#try >= max_tries {
            return Change { to: State::InDoubt, ..change }
                .due_in(no_earlier)
                .because(RowCause::LastTryFailed { max_tries });
        }
        change.due_in(self.backoff(r#try).max(no_earlier)).because(RowCause::TryFailed { r#try, max_tries })
    }

    /// The readback of a row in doubt ended.
    fn after_readback(&self, outcome: &Outcome) -> Change {
        let Effects { to, shows, .. } = effects(RequestKind::Readback, outcome.class);
        let settles_in = self.row.evidence.settles_in(&self.policy.verify);
        if !settles_in.is_zero() && shows != Shows::Order {
            return in_doubt(settles_in, self.cause_of_early_readback(outcome));
        }
        let change = Change::to(to).keep(outcome);
        let found = Quote::new(&outcome.describe());
        match outcome.class {
            OutcomeClass::Committed => Change { resolved_by: Some(ResolvedBy::Readback), ..change },
            OutcomeClass::NotCommitted => self.after_no_order(found, change),
            OutcomeClass::DeadEnd if self.was_answered() => {
                Change { to: State::Failed, ..change }.because(RowCause::StatusForbidsCommit { found })
            }
            OutcomeClass::DeadEnd => change.because(RowCause::StatusIsDeadEnd { found }),
            OutcomeClass::Unclear => change.because(RowCause::ReadbackUnclear { found }),
            OutcomeClass::Failed if self.nothing_was_placed() => {
                Change { to: State::Failed, ..change }.because(RowCause::CommitAndReadbackRefused)
            }
            OutcomeClass::Failed => change.because(RowCause::ReadbackRefused),
            OutcomeClass::Throttled => Change::to(to).because(RowCause::ReadbackFailed { why: outcome.why() }),
            OutcomeClass::Account
            | OutcomeClass::Denied
            | OutcomeClass::NotSent
            | OutcomeClass::Retry
            | OutcomeClass::Submitted
            | OutcomeClass::BackendError
            | OutcomeClass::StatusRefused
            | OutcomeClass::InDoubt
            | OutcomeClass::Early => Change::to(to)
                .due_in(self.backoff(self.row.evidence.readbacks + 1))
                .because(cause_of_failed_readback(outcome)),
        }
    }

    /// Why a readback has to be repeated that came before an order had had time to show.
    fn cause_of_early_readback(&self, outcome: &Outcome) -> RowCause {
        let class = self.row.evidence.class_of_readback(outcome.class, &self.policy.verify);
        if class == OutcomeClass::Early {
            return RowCause::NothingFoundEarly { found: outcome.why() };
        }
        cause_of_failed_readback(outcome)
    }

    /// The readback shows no order.
    fn after_no_order(&self, found: Quote, change: Change) -> Change {
        let Row { tries, evidence, .. } = self.row;
        if evidence.placed {
            return Change { to: State::Held, ..change }.because(RowCause::ReadbackContradictsRecord { found });
        }
        if self.was_refused_for_its_status() {
            return self.after_contradiction(found, change);
        }
        let after = self.after_one_more_negative_readback();
        let out_of_tries = *tries >= self.policy.retry.max_tries;
        let was_answered = after.last_commit.is_some_and(|last| last != OutcomeClass::InDoubt);
        let too_young = self.policy.verify.resend_after.saturating_sub(evidence.age);
        let proved = after.negative_readbacks >= READBACKS_TO_RESEND && too_young.is_zero();
        if out_of_tries && (proved || was_answered && after.is_disproved()) {
            return Change { to: State::Failed, ..change }.because(RowCause::OutOfTries { tries: *tries, found });
        }
        if !proved {
            return in_doubt(too_young, RowCause::NothingFoundOnce { found });
        }
        Change::to(State::Pending).because(RowCause::NothingFoundTwice { found })
    }

    /// The commit was refused for the certificate's status, and the readback shows a status that allows one. The readback may
    /// lag behind, and the refusal may be caused by an order that stands.
    fn after_contradiction(&self, found: Quote, change: Change) -> Change {
        let unsettled = self.policy.verify.settle.saturating_sub(self.row.evidence.age);
        if unsettled.is_zero() {
            return Change { to: State::Held, ..change }.because(RowCause::ReadbackContradictsRefusal { found });
        }
        in_doubt(unsettled, RowCause::StatusContradictionUnsettled { found })
    }

    fn after_one_more_negative_readback(&self) -> Evidence {
        let evidence = &self.row.evidence;
        evidence.with_readback(OutcomeClass::NotCommitted, evidence.age, &self.policy.verify)
    }

    /// The readback of a pending row, before its next commit, ended.
    fn after_readback_first(&self, outcome: &Outcome) -> Change {
        let found = Quote::new(&outcome.describe());
        match (effects(RequestKind::Readback, outcome.class).shows, &outcome.error) {
            (Shows::NoOrder, _) => self.after_no_order_first(found),
            (Shows::Order | Shows::Other, None) => in_doubt(Duration::ZERO, RowCause::FoundBeforeRetry { found }),
            (Shows::Order | Shows::Other, Some(error)) => {
                in_doubt(Duration::ZERO, RowCause::ReadbackRefusedBeforeRetry { error: error.clone() })
            }
            (Shows::Nothing, _) => Change::to(State::Pending)
                .due_in(self.backoff(self.row.evidence.readbacks + 1))
                .because(RowCause::ReadbackFailedBeforeRetry { why: outcome.why() }),
        }
    }

    fn after_no_order_first(&self, found: Quote) -> Change {
        let after = self.after_one_more_negative_readback();
        if !after.needs_readback() {
            return Change::to(State::Pending).because(RowCause::NothingFoundBeforeRetry { found });
        }
        let policy = &self.policy.verify;
        let no_earlier = if after.is_in_doubt() { policy.resend_after } else { policy.settle };
        in_doubt(no_earlier.saturating_sub(after.age), RowCause::UnsettledBeforeRetry { found })
    }

    /// Whether the server refused the newest commit, and no earlier one is open: then a dead-end status proves that nothing
    /// was placed.
    fn was_answered(&self) -> bool {
        use OutcomeClass::{Denied, Failed, StatusRefused};
        let evidence = &self.row.evidence;
        let answered = matches!(evidence.last_commit, Some(Denied | Failed | StatusRefused));
        answered && !evidence.earlier_in_doubt && !evidence.placed
    }

    /// Whether the server refused the newest commit for good, and no earlier one is open.
    fn nothing_was_placed(&self) -> bool {
        let refused = matches!(self.row.evidence.last_commit, Some(OutcomeClass::Denied | OutcomeClass::Failed));
        refused && self.was_answered()
    }

    fn was_refused_for_its_status(&self) -> bool {
        // A row that an operator set to pending has no tries, and the refusal no longer counts.
        let was_tried_since = self.row.tries > 0;
        was_tried_since && self.row.evidence.last_commit == Some(OutcomeClass::StatusRefused)
    }

    fn backoff(&self, failures: u32) -> Duration {
        self.policy.retry.backoff(failures, self.dice)
    }
}

/// Why a readback that shows nothing has to be repeated.
fn cause_of_failed_readback(outcome: &Outcome) -> RowCause {
    match (outcome.class, &outcome.error) {
        (OutcomeClass::Account | OutcomeClass::Denied, Some(error)) => {
            RowCause::ReadbackNotPermitted { error: error.clone() }
        }
        (OutcomeClass::NotSent, _) => {
            let why = RowCause::NotSent { why: outcome.why() };
            RowCause::ReadbackFailed { why: Quote::new(&why.to_string()) }
        }
        _ => RowCause::ReadbackFailed { why: outcome.why() },
    }
}

fn in_doubt(due_in: Duration, cause: RowCause) -> Change {
    Change::to(State::InDoubt).due_in(due_in).because(cause)
}

impl Change {
    fn to(state: State) -> Self {
        Self {
            to: state,
            spends_try: false,
            due_in: Duration::ZERO,
            keeps_due_time: false,
            order_id: None,
            status: None,
            request_id: None,
            error: None,
            cause: None,
            resolved_by: None,
        }
    }

    fn because(self, cause: RowCause) -> Self {
        Self { cause: Some(cause), ..self }
    }

    fn due_in(self, due_in: Duration) -> Self {
        Self { due_in, ..self }
    }

    /// Keeps the server's answer.
    fn keep(self, outcome: &Outcome) -> Self {
        Self {
            order_id: outcome.order_id.clone(),
            status: outcome.status,
            request_id: outcome.request_id.clone(),
            error: outcome.error.clone(),
            ..self
        }
    }
}
