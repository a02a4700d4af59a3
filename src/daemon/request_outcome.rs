//! The outcome of a request: what becomes of its row, and what the limiter and the circuit breaker observe. Pure.

use std::time::Duration;

use super::circuit_breaker::{CircuitBreaker, Observation};
use crate::cause::{KeySource, PauseCause, Quote, RowCause};
use crate::clock::Now;
use crate::queue::{Claim, Completed};
use crate::submission::{
    Event, FaultKind, HealthSignal, Outcome, OutcomeClass, Policy, RateSignal, RequestKind, VerifyPolicy, effects,
    next_state,
};
use crate::tencent::{ClockSkew, Exchange};

/// The error code for a signature whose time is more than five minutes off.
const SIGNATURE_EXPIRED: &str = "AuthFailure.SignatureExpire";
/// The codes that reject the credentials begin like this; those that reject the account don't.
const OF_KEYS: &str = "AuthFailure.";

/// What a decision needs besides the claim and the exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) policy: Policy,
    pub(super) now: Now,
    /// A random number in `0.0..1.0`, for the jitter of the backoff.
    pub(super) dice: f64,
}

/// The result of a request that ended with this exchange.
pub(super) fn ended(claim: Claim, exchange: &Exchange, breaker: &CircuitBreaker, context: Context) -> Completed {
    let outcome = for_the_account(exchange.outcome.clone(), claim.kind, breaker);
    let outcome = by_evidence(outcome, &claim, &context.policy.verify);
    let change = next_state(&claim.row, claim.kind, &Event::Ended(outcome.clone()), &context.policy, context.dice);
    Completed {
        outcome,
        http_status: exchange.http_status,
        sent: exchange.sent,
        finished: context.now.unix,
        duration: exchange.duration,
        change,
        claim,
    }
}

/// Once many commits were denied with one code, the account is at fault: another denial must not fail its submission.
fn for_the_account(outcome: Outcome, kind: RequestKind, breaker: &CircuitBreaker) -> Outcome {
    let is_denied = kind == RequestKind::Commit && outcome.class == OutcomeClass::Denied;
    match &outcome.error {
        Some(error) if is_denied && breaker.denies(&error.code) => Outcome { class: OutcomeClass::Account, ..outcome },
        _ => outcome,
    }
}

/// A readback that shows no order proves that only once an order has had time to show.
fn by_evidence(outcome: Outcome, claim: &Claim, verify: &VerifyPolicy) -> Outcome {
    match claim.kind {
        RequestKind::Commit => outcome,
        RequestKind::Readback => {
            Outcome { class: claim.row.evidence.class_of_readback(outcome.class, verify), ..outcome }
        }
    }
}

/// The result of a claim that is returned before anything was sent, for this cause.
pub(super) fn returned(claim: Claim, cause: RowCause, context: Context) -> Completed {
    without_reply(claim, &Event::Returned(cause), context)
}

/// The result of a request that was abandoned in flight, or whose task died.
pub(super) fn interrupted(claim: Claim, context: Context) -> Completed {
    without_reply(claim, &Event::Interrupted, context)
}

fn without_reply(claim: Claim, event: &Event, context: Context) -> Completed {
    Completed {
        outcome: event.outcome(claim.kind),
        http_status: None,
        sent: context.now,
        finished: context.now.unix,
        duration: Duration::ZERO,
        change: next_state(&claim.row, claim.kind, event, &context.policy, context.dice),
        claim,
    }
}

/// What the circuit breaker observes of an exchange. `keys` is where the credentials came from.
pub(super) fn observation(claim: &Claim, exchange: &Exchange, keys: KeySource, now: Now) -> Observation {
    let outcome = &exchange.outcome;
    let effects = effects(claim.kind, outcome.class);
    let fault = match (effects.health, effects.rate) {
        (HealthSignal::Fault(kind), _) => Some(kind),
        (_, RateSignal::Exhausted) => Some(FaultKind::RateExhausted),
        _ => None,
    };
    Observation {
        submission: claim.submission,
        sent: exchange.sent.instant,
        health: effects.health,
        rate: effects.rate,
        code: outcome.error.as_ref().map(|error| error.code.clone()),
        cause: fault.map(|fault| pause_cause(claim.kind, fault, outcome, exchange.skew, keys, now)),
    }
}

/// Why requests of this kind pause if this fault trips the breaker.
fn pause_cause(
    kind: RequestKind,
    fault: FaultKind,
    outcome: &Outcome,
    skew: Option<ClockSkew>,
    keys: KeySource,
    now: Now,
) -> PauseCause {
    let (why, request_id) = (outcome.why(), outcome.request_id.as_deref().map(Quote::new));
    let cause = match (fault, outcome.error.clone()) {
        (FaultKind::Account, Some(error)) if error.code.as_str() == SIGNATURE_EXPIRED => {
            let ours = now.unix.seconds();
            PauseCause::ClockSkew { error, ours, theirs: skew.map(|skew| ours - skew.seconds()) }
        }
        (FaultKind::Account, Some(error)) if error.code.as_str().starts_with(OF_KEYS) => {
            PauseCause::CredentialsRejected { error, keys }
        }
        (FaultKind::Account, Some(error)) => PauseCause::AccountRejected { error },
        (FaultKind::Denied, Some(error)) if kind == RequestKind::Commit => PauseCause::CommitDenied { error },
        (FaultKind::Denied, Some(error)) => PauseCause::ReadbackDenied { error },
        (FaultKind::Busy, Some(error)) => PauseCause::CaBusy { error },
        (FaultKind::RateExhausted, Some(error)) => PauseCause::RateExhausted { error },
        (FaultKind::Unreachable, _) => PauseCause::ApiUnreachable { why },
        _ if kind == RequestKind::Commit => PauseCause::OutcomesUnknown { why, request_id },
        _ => PauseCause::ReadbackFailing { why, request_id },
    };
    match kind {
        RequestKind::Commit => cause,
        RequestKind::Readback => cause.of_readback(),
    }
}

/// Whether other credentials may end this fault: they may belong to another account, or have other permissions.
pub(super) fn is_about_credentials(fault: FaultKind) -> bool {
    matches!(fault, FaultKind::Account | FaultKind::Denied)
}

/// Whether this fault ends a run until empty, which doesn't wait for its end.
pub(super) fn ends_a_run(fault: FaultKind) -> bool {
    matches!(fault, FaultKind::Account | FaultKind::Denied | FaultKind::Unreachable)
}

#[cfg(test)]
mod tests {
    use super::super::circuit_breaker::{BreakerChange, BreakerPolicy};
    use super::super::fixtures::{claim, context};
    use super::*;
    use crate::cause::ApiError;
    use crate::clock;
    use crate::submission::State;

    use OutcomeClass::{Account, BackendError, Denied, InDoubt, NotSent, Retry, Submitted, Throttled};
    use RequestKind::{Commit, Readback};

    fn exchange(kind: RequestKind, class: OutcomeClass, code: &str) -> Exchange {
        let outcome = match (class, code) {
            (NotSent, _) => Outcome::not_sent("refused".into()),
            (Submitted, _) => Outcome::submitted("SO1".into(), 8, None),
            (_, "") => Outcome::unknown(kind, "cut".into()),
            (_, code) => Outcome::refused(class, ApiError::new(code, "no", Some("r-1"))),
        };
        let (sent, duration) = (clock::now(), Duration::ZERO);
        Exchange { outcome, http_status: Some(200), duration, sent, departed: None, skew: None }
    }

    fn seen(kind: RequestKind, class: OutcomeClass, code: &str) -> Observation {
        let claim = claim(kind, 1);
        observation(&claim, &exchange(kind, class, code), KeySource::Environment, clock::now())
    }

    fn breaker(after: u32) -> CircuitBreaker {
        let minute = Duration::from_secs(60);
        CircuitBreaker::new(BreakerPolicy { after, probe_initial: minute, probe_max: minute })
    }

    #[test]
    fn each_fault_has_its_cause_and_a_readback_pauses_only_readbacks() {
        for (kind, class, code, expected) in [
            (Commit, Submitted, "", None),
            (Commit, Account, "AuthFailure.SignatureExpire", Some("clock_skew")),
            (Commit, Account, "AuthFailure.SecretIdNotFound", Some("credentials_rejected")),
            (Commit, Account, "FailedOperation.NoRealNameAuth", Some("account_rejected")),
            (Commit, Denied, "UnauthorizedOperation", Some("commit_denied")),
            (Commit, Retry, "FailedOperation.NetworkError", Some("ca_busy")),
            (Commit, BackendError, "InternalError.BackendResponseError", Some("ca_busy")),
            (Commit, Throttled, "RequestLimitExceeded", Some("rate_exhausted")),
            (Commit, NotSent, "", Some("api_unreachable")),
            (Commit, InDoubt, "", Some("outcomes_unknown")),
            (Readback, Denied, "UnauthorizedOperation", Some("readback_denied")),
            (Readback, Retry, "", Some("readback_failing")),
            (Readback, Account, "AuthFailure.SecretIdNotFound", Some("readback_paused")),
            (Readback, NotSent, "", Some("readback_paused")),
            (Readback, Throttled, "RequestLimitExceeded", Some("readback_paused")),
        ] {
            let cause = seen(kind, class, code).cause;
            assert_eq!(cause.as_ref().map(PauseCause::code), expected, "{kind:?} {class:?} {code}");
            assert_eq!(cause.is_some_and(|cause| cause.is_of_readback()), kind == Readback);
        }
    }

    #[test]
    fn a_commit_that_is_denied_as_many_were_fails_no_submission_and_to_the_breaker_it_stays_a_denial() {
        let mut breaker = breaker(1);
        let denied = exchange(Commit, Denied, "UnauthorizedOperation");
        let state = |completed: &Completed| completed.change.as_ref().map(|change| change.to);
        let first = ended(claim(Commit, 1), &denied, &breaker, context());
        assert_eq!((first.outcome.class, state(&first)), (Denied, Some(State::Failed)));
        let seen = seen(Commit, Denied, "UnauthorizedOperation");
        assert_eq!(breaker.observe(&seen, clock::now().instant), Some(BreakerChange::Tripped));
        let next = ended(claim(Commit, 2), &denied, &breaker, context());
        assert_eq!((next.outcome.class, state(&next)), (Account, Some(State::Pending)));
        assert_eq!(seen.health, HealthSignal::Fault(FaultKind::Denied));
        let another = ended(claim(Commit, 3), &exchange(Commit, Denied, "Another"), &breaker, context());
        assert_eq!(another.outcome.class, Denied);
    }
}
