//! The table of what each outcome means: for the row, its tries and its evidence, for the rate limit, and for the circuit
//! breaker. What tries and evidence change about where a row goes is in [`transition`](super::transition).

use super::outcome_class::{OutcomeClass, RequestKind};
use super::state::State;

/// This many readbacks that show no order disprove a commit of unknown outcome.
pub(super) const READBACKS_TO_RESEND: u32 = 2;

/// What an outcome means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effects {
    /// Where the row goes, unless its tries or its evidence say otherwise.
    pub to: State,
    /// Whether the request counts against `retry.max_tries`.
    pub spends_try: bool,
    /// How many readbacks that show no order must follow a commit before the next one may go out; 0: the server didn't
    /// execute it.
    pub readbacks_to_disprove: u32,
    /// What it shows about the order.
    pub shows: Shows,
    /// What it says about the server's rate limit.
    pub rate: RateSignal,
    /// What it says about the service and our account.
    pub health: HealthSignal,
}

/// What an outcome shows about a certificate's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// It stands.
    Order,
    /// There is none.
    NoOrder,
    /// Something else, which voids what earlier readbacks showed.
    Other,
    /// Nothing.
    Nothing,
}

/// What an outcome says about the server's rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateSignal {
    /// The server let the request through.
    Granted,
    /// The server refused it for its rate.
    Exhausted,
    /// Nothing.
    Silent,
}

/// What an outcome says about the service and our account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthSignal {
    /// The server answered about this certificate.
    Healthy,
    /// A fault that may affect other certificates, too.
    Fault(FaultKind),
    /// Nothing.
    Silent,
}

/// A fault that may not be specific to one submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The account or its credentials are rejected, which affects every request.
    Account,
    /// No permission, for one certificate or for all.
    Denied,
    /// Nothing can be sent.
    Unreachable,
    /// The CA behind the API is busy.
    Busy,
    /// The outcome is unknown.
    Unknown,
    /// Every request is refused for its rate, however slow ours is. Only several outcomes together show that.
    RateExhausted,
}

/// The effects of an outcome of this class. A class that this kind of request can't have counts as unknown.
#[must_use]
#[rustfmt::skip]
pub const fn effects(kind: RequestKind, class: OutcomeClass) -> Effects {
    use FaultKind::{Account, Busy, Denied, Unknown, Unreachable};
    use HealthSignal::{Fault, Healthy};
    use OutcomeClass as Class;
    use RateSignal::{Exhausted, Granted};
    use RequestKind::{Commit, Readback};
    use Shows::{NoOrder, Nothing, Order, Other};
    use State::{Failed, Held, InDoubt, Pending, Submitted};
    const FREE: bool = false;
    const SPENT: bool = true;
    match (kind, class) {
        //                                     the row    the try  disproved by         shows    the rate             the breaker
        (Commit, Class::Submitted)     => row(Submitted, SPENT, 1,                   Order,   Granted,            Healthy),
        (Commit, Class::Retry)         => row(Pending,   SPENT, 1,                   Nothing, Granted,            Fault(Busy)),
        (Commit, Class::BackendError)  => row(Pending,   SPENT, 1,                   Nothing, Granted,            Fault(Busy)),
        (Commit, Class::Throttled)     => row(Pending,   FREE,  0,                   Nothing, Exhausted,          HealthSignal::Silent),
        (Commit, Class::Account)       => row(Pending,   FREE,  0,                   Nothing, RateSignal::Silent, Fault(Account)),
        (Commit, Class::Denied)        => row(Failed,    SPENT, 1,                   Nothing, Granted,            Fault(Denied)),
        (Commit, Class::Failed)        => row(Failed,    SPENT, 1,                   Nothing, Granted,            Healthy),
        // If a readback contradicts the refusal, a person decides; one more readback checks their decision.
        (Commit, Class::StatusRefused) => row(InDoubt,   SPENT, READBACKS_TO_RESEND, Nothing, Granted,            Healthy),
        (Commit, Class::NotSent)       => row(Pending,   FREE,  0,                   Nothing, RateSignal::Silent, Fault(Unreachable)),
        (Commit, _)                    => row(InDoubt,   SPENT, READBACKS_TO_RESEND, Nothing, RateSignal::Silent, Fault(Unknown)),

        (Readback, Class::Committed)    => row(Submitted, FREE, 0, Order,   Granted,            Healthy),
        (Readback, Class::NotCommitted) => row(InDoubt,   FREE, 0, NoOrder, Granted,            Healthy),
        (Readback, Class::DeadEnd)      => row(Held,      FREE, 0, Other,   Granted,            Healthy),
        (Readback, Class::Unclear)      => row(Held,      FREE, 0, Other,   Granted,            Healthy),
        (Readback, Class::Failed)       => row(Held,      FREE, 0, Other,   Granted,            Healthy),
        (Readback, Class::Early)        => row(InDoubt,   FREE, 0, Nothing, Granted,            Healthy),
        (Readback, Class::Throttled)    => row(InDoubt,   FREE, 0, Nothing, Exhausted,          HealthSignal::Silent),
        (Readback, Class::Account)      => row(InDoubt,   FREE, 0, Nothing, RateSignal::Silent, Fault(Account)),
        (Readback, Class::Denied)       => row(InDoubt,   FREE, 0, Nothing, Granted,            Fault(Denied)),
        (Readback, Class::NotSent)      => row(InDoubt,   FREE, 0, Nothing, RateSignal::Silent, Fault(Unreachable)),
        // `Retry`, for one: enough of them in succession pause readback.
        (Readback, _)                   => row(InDoubt,   FREE, 0, Nothing, RateSignal::Silent, Fault(Unknown)),
    }
}

const fn row(
    to: State,
    spends_try: bool,
    readbacks_to_disprove: u32,
    shows: Shows,
    rate: RateSignal,
    health: HealthSignal,
) -> Effects {
    Effects { to, spends_try, readbacks_to_disprove, shows, rate, health }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes_with(kind: RequestKind, wanted: impl Fn(Effects) -> bool) -> Vec<OutcomeClass> {
        OutcomeClass::ALL.into_iter().filter(|class| wanted(effects(kind, *class))).collect()
    }

    #[test]
    fn a_commit_that_was_not_executed_through_no_fault_of_its_row_spends_no_try_and_needs_no_readback() {
        use OutcomeClass::{Account, NotSent, Throttled};
        let free = [Throttled, Account, NotSent];
        assert_eq!(classes_with(RequestKind::Commit, |effects| !effects.spends_try), free);
        assert_eq!(classes_with(RequestKind::Commit, |effects| effects.readbacks_to_disprove == 0), free);
    }

    #[test]
    fn every_class_that_a_request_can_have_has_a_row_of_its_own() {
        for kind in RequestKind::ALL {
            let unknown = effects(kind, OutcomeClass::unknown(kind));
            let like_unknown = classes_with(kind, |effects| effects == unknown);
            let of_kind = OutcomeClass::of_kind(kind);
            let known: Vec<_> = like_unknown.into_iter().filter(|class| of_kind.contains(class)).collect();
            assert_eq!(known, [OutcomeClass::unknown(kind)], "{kind:?}");
        }
    }

    #[test]
    fn only_a_placed_order_submits_a_row_and_only_a_fault_of_the_service_trips_the_breaker() {
        use OutcomeClass::{Account, BackendError, Committed, Denied, InDoubt, NotSent, Retry, Submitted};
        let submits = |kind| classes_with(kind, |effects| effects.to == State::Submitted);
        assert_eq!([RequestKind::Commit, RequestKind::Readback].map(submits), [[Submitted], [Committed]]);
        let is_fault = |effects: Effects| matches!(effects.health, HealthSignal::Fault(_));
        let faults = |kind: RequestKind| -> Vec<_> {
            let of_kind = OutcomeClass::of_kind(kind);
            classes_with(kind, is_fault).into_iter().filter(|class| of_kind.contains(class)).collect()
        };
        assert_eq!(faults(RequestKind::Commit), [Retry, BackendError, Account, Denied, NotSent, InDoubt]);
        assert_eq!(faults(RequestKind::Readback), [Retry, Account, Denied, NotSent]);
    }

    #[test]
    fn no_readback_spends_a_try() {
        assert_eq!(classes_with(RequestKind::Readback, |effects| effects.spends_try), []);
    }

    #[test]
    fn only_a_refusal_for_the_rate_lowers_the_rate() {
        for kind in [RequestKind::Commit, RequestKind::Readback] {
            let exhausted = classes_with(kind, |effects| effects.rate == RateSignal::Exhausted);
            assert_eq!(exhausted, [OutcomeClass::Throttled], "{kind:?}");
        }
    }

    #[test]
    fn every_transition_in_the_table_is_one_that_the_states_allow() {
        for class in OutcomeClass::ALL {
            assert!(State::InFlight.may_become(effects(RequestKind::Commit, class).to), "{class:?}");
            let to = effects(RequestKind::Readback, class).to;
            assert!(to == State::InDoubt || State::InDoubt.may_become(to), "{class:?}");
        }
    }
}
