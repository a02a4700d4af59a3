//! A small model of the world in virtual time, against which the state machine keeps its promises: one
//! certificate at a server, a network that loses and delays, an API that errs, and a daemon that crashes.
//!
//! What the model knows and the daemon doesn't (whether an order stands, what is under way, when a commit of
//! unknown outcome was signed) is kept apart from the record of requests, so that neither excuses the other.
//!
//! Reads lag, early ones too: one shows what was so up to `verify.settle` before. One risk that the API leaves is not in
//! the model: a backend that answers in error and acts only after that.

use std::time::Duration;

use proptest::bool::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use world::{COMMITTED, Fate, SIGNATURE_LIVES, Step, WAITS, World, cut, lost, refused};

mod world;

/// Cases of each property, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 500;

fn fate() -> impl Strategy<Value = Fate> {
    use OutcomeClass::{Account, BackendError, Denied, Failed, Retry, Throttled};
    let unsent = Outcome::not_sent("unreachable".into());
    let passing = vec![refused(Retry), refused(BackendError), refused(Throttled), refused(Account), unsent];
    prop_oneof![
        2 => Just(Fate::Answered),
        8 => (0..=SIGNATURE_LIVES).prop_map(Fate::Late),
        4 => Just(Fate::Late(0)),
        8 => Just(Fate::Fails(lost())),
        10 => select(passing).prop_map(Fate::Fails),
        1 => select(vec![refused(Denied), refused(Failed)]).prop_map(Fate::Fails),
        1 => Just(Fate::ActsAndErrs),
        1 => Just(Fate::ActsAndIsBusy),
    ]
}

fn failed_read() -> impl Strategy<Value = Option<Outcome>> {
    use OutcomeClass::{Account, Denied, Failed, Throttled};
    let unsent = Outcome::not_sent("unreachable".into());
    let passing = vec![cut(), refused(Throttled), refused(Account), unsent, refused(Denied)];
    prop_oneof![
        30 => Just(None),
        12 => select(passing).prop_map(Some),
        1 => Just(Some(refused(Failed))),
    ]
}

fn steps(by_hand: f64) -> impl Strategy<Value = Vec<Step>> {
    let dawdle = prop_oneof![Just(0u64), 0..20u64, 0..2000u64];
    let turn = prop_oneof![40 => Just(None), 1 => Just(Some(7)), 1 => Just(Some(99)), 1 => Just(Some(COMMITTED))];
    let odd = (weighted(0.05), turn, weighted(by_hand), weighted(0.2), weighted(0.3), weighted(0.1));
    let step = (odd, dawdle, 0..35u64, fate(), (failed_read(), 0.0..1.0), 0.0..1.0).prop_map(
        |((leap, turn, by_hand, crash, unsent, probe), dawdle, takes, commit, (read, lag), dice)| Step {
            leap,
            dawdle,
            takes,
            commit,
            read,
            lag,
            crash,
            unsent,
            probe,
            turn,
            by_hand,
            dice,
        },
    );
    proptest::collection::vec(step, 1..60)
}

fn policy() -> impl Strategy<Value = Policy> {
    let usual = (Just(8u32), Just(60u64), Just(600u64));
    let any = (1u32..10, 1u64..120, SIGNATURE_LIVES + 1..1000);
    prop_oneof![usual, any].prop_map(|(max_tries, settle, resend_after)| {
        let [initial_backoff, max_backoff] = [1, 300].map(Duration::from_secs);
        let [settle, resend_after] = [settle, resend_after].map(Duration::from_secs);
        let retry = RetryPolicy { max_tries, initial_backoff, max_backoff };
        Policy { retry, verify: VerifyPolicy { settle, resend_after } }
    })
}

fn status() -> impl Strategy<Value = i64> {
    prop_oneof![10 => Just(WAITS), 4 => Just(5), 1 => Just(COMMITTED), 1 => Just(7), 1 => Just(99)]
}

/// Lets the steps happen, then the faults cease; the row comes to an end that is true.
fn live(policy: Policy, status: i64, steps: &[Step]) -> World {
    let mut world = World::new(policy, status);
    steps.iter().for_each(|step| world.step(step));
    let (commit, read) = (Fate::Answered, None);
    let (leap, crash, unsent, probe, turn, by_hand) = (false, false, false, false, None, false);
    let calm =
        Step { leap, dawdle: 0, takes: 1, commit, read, lag: 0.0, crash, unsent, probe, turn, by_hand, dice: 0.5 };
    (0..12).for_each(|_| world.step(&calm));
    world.pass(SIGNATURE_LIVES);
    assert!(!world.state.is_open(), "it comes to no end: {world:?}");
    world.assert_true();
    world
}

fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { usual.cases } else { CASES };
    ProptestConfig { cases, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_is_placed_twice_and_nothing_is_lost_whatever_happens(
        policy in policy(), status in status(), steps in steps(0.0),
    ) {
        live(policy, status, &steps);
    }

    #[test]
    fn what_failed_may_be_sent_once_more_by_hand(policy in policy(), status in status(), steps in steps(0.5)) {
        live(policy, status, &steps);
    }

    #[test]
    fn a_certificate_that_nobody_else_touches_is_submitted_exactly_if_its_order_stands(
        policy in policy(), mut steps in steps(0.0),
    ) {
        steps.retain(|step| step.turn.is_none() && !step.read.as_ref().is_some_and(|outcome| outcome.class == OutcomeClass::Failed));
        let world = live(policy, WAITS, &steps);
        prop_assert!(matches!(world.state, State::Submitted | State::Failed), "{world:?}");
        prop_assert_eq!(world.orders, u32::from(world.state == State::Submitted), "{:?}", world);
    }
}
