//! The end of a request: what becomes of its row, what the gate and the limiter learn from it, and its one log
//! line. Pure but for the line.

use super::announce::{Line, announce};
use super::gate::{Ending, Fault, Gate};
use crate::clock::Now;
use crate::logging::LogEvent;
use crate::queue::{Claim, Finished, Record, Run};
use crate::submission::{
    Change, CommitClass, CommitOutcome, Event, Policy, ReadClass, ReadOutcome, Refusal, State, next_state,
};
use crate::tencent::{ClockSkew, Exchange};

/// What a request gets whose signature's time is more than five minutes off.
const SIGNATURE_EXPIRED: &str = "AuthFailure.SignatureExpire";

/// What a decision needs besides the claim and the exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) run: &'a Run,
    pub(super) policy: &'a Policy,
    pub(super) now: Now,
    pub(super) dice: f64,
}

impl Context<'_> {
    /// A request that comes to its end now, without a reply.
    fn without_reply(&self, outcome: &'static str) -> Finished {
        Finished::without_reply(self.now.unix, self.run.millis_at(self.now), outcome)
    }
}

/// The end of a commit.
pub(super) fn commit(
    claim: &Claim,
    exchange: Exchange<CommitOutcome>,
    gate: &Gate,
    context: Context<'_>,
) -> (Record, Ending) {
    // To the gate a denial stays one: it is closed for that, and one more is no sign that it is over.
    let ending = commit_ending(&exchange.outcome, exchange.skew);
    let outcome = for_the_account(exchange.outcome, gate);
    let class = outcome.class();
    let refusal = outcome.refusal().cloned();
    let receipt = if let CommitOutcome::Submitted(receipt) = &outcome { Some(receipt.clone()) } else { None };
    let change = next_state(&claim.row, &Event::Commit(outcome), context.policy, context.dice);
    let finished = Finished {
        http_status: exchange.http_status,
        order_id: receipt.as_ref().map(|receipt| receipt.order_id.clone()),
        status: receipt.as_ref().map(|receipt| receipt.status),
        request_id: receipt.and_then(|receipt| receipt.request_id).or_else(|| refusal_id(refusal.as_ref())),
        error_code: refusal.map(|refusal| refusal.code),
        duration: exchange.duration,
        ..Finished::without_reply(context.now.unix, context.run.millis_at(exchange.sent), class.as_str())
    };
    let event = match (change.as_ref().map(|change| change.to), class) {
        (Some(State::Submitted), _) => LogEvent::Submitted,
        (Some(State::Failed), _) => LogEvent::Failed,
        (Some(State::InDoubt), _) => LogEvent::InDoubt,
        (_, CommitClass::Throttled) => LogEvent::Throttled,
        _ => LogEvent::Retrying,
    };
    close(claim, finished, change, event, context, ending)
}

/// A denial that many rows got is the account's, and burns no more of them.
fn for_the_account(outcome: CommitOutcome, gate: &Gate) -> CommitOutcome {
    match outcome {
        CommitOutcome::Denied(refusal) if gate.denies(&refusal.code) => CommitOutcome::Account(refusal),
        outcome @ (CommitOutcome::Submitted(_)
        | CommitOutcome::Retry(_)
        | CommitOutcome::BackendError(_)
        | CommitOutcome::Throttled(_)
        | CommitOutcome::Account(_)
        | CommitOutcome::Denied(_)
        | CommitOutcome::Failed(_)
        | CommitOutcome::StatusRefused(_)
        | CommitOutcome::NotSent(_)
        | CommitOutcome::InDoubt { .. }) => outcome,
    }
}

/// The end of a read.
pub(super) fn read(claim: &Claim, exchange: Exchange<ReadOutcome>, context: Context<'_>) -> (Record, Ending) {
    let outcome = exchange.outcome;
    let ending = read_ending(&outcome, exchange.skew);
    let class = outcome.class();
    let refusal = outcome.refusal().cloned();
    let reading = if let ReadOutcome::Seen(reading) = &outcome { Some(reading.clone()) } else { None };
    let change = next_state(&claim.row, &Event::Read(outcome), context.policy, context.dice);
    let finished = Finished {
        http_status: exchange.http_status,
        order_id: reading.as_ref().and_then(|reading| reading.order_id.clone()),
        status: reading.as_ref().and_then(|reading| reading.status),
        request_id: reading.and_then(|reading| reading.request_id).or_else(|| refusal_id(refusal.as_ref())),
        error_code: refusal.map(|refusal| refusal.code),
        duration: exchange.duration,
        ..Finished::without_reply(context.now.unix, context.run.millis_at(exchange.sent), class.as_str())
    };
    let event = match (change.as_ref().map(|change| change.to), class) {
        (Some(State::Submitted), _) => LogEvent::Submitted,
        (Some(State::Failed), _) => LogEvent::Failed,
        (Some(State::Held), _) => LogEvent::Held,
        (_, ReadClass::Throttled) => LogEvent::Throttled,
        (_, ReadClass::Committed | ReadClass::NotCommitted | ReadClass::DeadEnd | ReadClass::Unclear) => {
            LogEvent::Verified
        }
        _ => LogEvent::InDoubt,
    };
    close(claim, finished, change, event, context, ending)
}

/// Why a claim is given back before anything was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// Nothing is to be sent for the time being.
    Paused,
    /// Nothing is to be sent any more.
    Stopped,
    /// The database's file is no longer the one that is open, or has another name.
    NotInPlace,
}

impl Unsent {
    /// What the row says of it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused before it was sent",
            Self::Stopped => "stopped before it was sent",
            Self::NotInPlace => "the database's file was replaced or has another name",
        }
    }
}

/// A claim that is given back before anything was sent. No request was made, so there is no line.
pub(super) fn unsent(claim: &Claim, why: Unsent, context: Context<'_>) -> Record {
    let change = next_state(&claim.row, &Event::Unsent(why.as_str().to_owned()), context.policy, context.dice);
    let commit = claim.row.state == State::InFlight;
    let outcome = if commit { CommitClass::NotSent.as_str() } else { ReadClass::NotSent.as_str() };
    Record::of(claim, context.without_reply(outcome), change)
}

/// A claim whose request was on its way when the daemon gave up waiting, or whose task died.
pub(super) fn interrupted(claim: &Claim, context: Context<'_>) -> Record {
    let commit = claim.row.state == State::InFlight;
    let outcome = if commit { CommitClass::InDoubt.as_str() } else { ReadClass::Retry.as_str() };
    let change = next_state(&claim.row, &Event::Interrupted, context.policy, context.dice);
    close(claim, context.without_reply(outcome), change, LogEvent::InDoubt, context, Ending::Unknown).0
}

fn close(
    claim: &Claim,
    finished: Finished,
    change: Option<Change>,
    event: LogEvent,
    context: Context<'_>,
    ending: Ending,
) -> (Record, Ending) {
    announce(&Line { event, claim, finished: &finished, change: change.as_ref(), now: context.now });
    (Record::of(claim, finished, change), ending)
}

fn refusal_id(refusal: Option<&Refusal>) -> Option<String> {
    refusal.and_then(|refusal| refusal.request_id.clone())
}

pub(super) fn commit_ending(outcome: &CommitOutcome, skew: Option<ClockSkew>) -> Ending {
    match outcome {
        CommitOutcome::Submitted(_) | CommitOutcome::Failed(_) | CommitOutcome::StatusRefused(_) => Ending::Answered,
        CommitOutcome::Throttled(refusal) => throttled(refusal),
        CommitOutcome::Retry(refusal) | CommitOutcome::BackendError(refusal) => {
            Ending::Fault(Fault::Busy(refusal.code.clone()), format!("several submissions in succession got {refusal}"))
        }
        CommitOutcome::Account(refusal) => account(refusal, skew),
        CommitOutcome::Denied(refusal) => denied(refusal),
        CommitOutcome::NotSent(why) => unreachable(why),
        CommitOutcome::InDoubt { why, .. } => Ending::Fault(
            Fault::Lost,
            format!("the outcomes of several submissions in succession are not known: {why}"),
        ),
    }
}

pub(super) fn read_ending(outcome: &ReadOutcome, skew: Option<ClockSkew>) -> Ending {
    match outcome {
        ReadOutcome::Seen(_) | ReadOutcome::Failed(_) => Ending::Answered,
        ReadOutcome::Throttled(refusal) => throttled(refusal),
        ReadOutcome::Account(refusal) => account(refusal, skew),
        // Reading needs its own permission: without it, no row can be read.
        ReadOutcome::Denied(refusal) => denied(refusal),
        ReadOutcome::NotSent(why) => unreachable(why),
        ReadOutcome::Retry { why, .. } => {
            Ending::Fault(Fault::Lost, format!("several reads in succession failed: {why}"))
        }
    }
}

fn account(refusal: &Refusal, skew: Option<ClockSkew>) -> Ending {
    let why = match (refusal.code.as_str(), skew) {
        (SIGNATURE_EXPIRED, Some(skew)) => format!(
            "this machine's clock is {skew}, so that signatures are refused; set it (chronyc makestep, timedatectl): {refusal}"
        ),
        (SIGNATURE_EXPIRED, None) => {
            format!("signatures are refused as expired; is this machine's clock right (timedatectl)? {refusal}")
        }
        _ => format!("the account or its credentials are refused: {refusal}"),
    };
    Ending::Fault(Fault::Account(refusal.code.clone()), why)
}

/// Of one request it is a matter of the pace; of every request it is a reason to pause.
fn throttled(refusal: &Refusal) -> Ending {
    Ending::Throttled(format!(
        "the API refuses every request for its rate, however slow they come; others may be using up the limit: {refusal}"
    ))
}

fn denied(refusal: &Refusal) -> Ending {
    Ending::Fault(
        Fault::Denied(refusal.code.clone()),
        format!("several submissions in succession were denied: {refusal}"),
    )
}

fn unreachable(why: &str) -> Ending {
    Ending::Fault(Fault::Unreachable, format!("the API can't be reached: {why}"))
}
