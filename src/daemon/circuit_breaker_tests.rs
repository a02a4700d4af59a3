//! The circuit breaker in virtual time.

use std::time::Duration;

use tokio::time::Instant;

use super::circuit_breaker::*;
use crate::cause::{PauseCause, Quote};
use crate::submission::{FaultKind, HealthSignal, RateSignal};

const POLICY: BreakerPolicy =
    BreakerPolicy { after: 5, probe_initial: Duration::from_secs(30), probe_max: Duration::from_secs(900) };

/// How requests end, as the breaker sees them; of whichever submission, sent at whichever time.
#[derive(Debug, Clone)]
struct Ending {
    health: HealthSignal,
    rate: RateSignal,
    code: Option<&'static str>,
    cause: Option<PauseCause>,
}

fn fault(kind: FaultKind, code: Option<&'static str>, why: &str) -> Ending {
    let (health, rate) = (HealthSignal::Fault(kind), RateSignal::Silent);
    Ending { health, rate, code, cause: Some(PauseCause::ApiUnreachable { why: why.into() }) }
}

fn busy() -> Ending {
    Ending {
        rate: RateSignal::Granted,
        ..fault(FaultKind::Busy, Some("FailedOperation.NetworkError"), "the CA is busy")
    }
}

fn account() -> Ending {
    fault(FaultKind::Account, Some("AuthFailure.SecretIdNotFound"), "refused")
}

fn lost() -> Ending {
    fault(FaultKind::Unknown, None, "lost")
}

fn denied(code: &'static str) -> Ending {
    Ending { rate: RateSignal::Granted, ..fault(FaultKind::Denied, Some(code), "no permission") }
}

fn throttled() -> Ending {
    let (health, rate) = (HealthSignal::Silent, RateSignal::Exhausted);
    Ending { health, rate, ..fault(FaultKind::RateExhausted, None, "refused for the rate") }
}

fn answered() -> Ending {
    Ending { health: HealthSignal::Healthy, rate: RateSignal::Granted, code: None, cause: None }
}

fn observe(
    breaker: &mut CircuitBreaker,
    submission: i64,
    ending: &Ending,
    sent: Instant,
    now: Instant,
) -> Option<BreakerChange> {
    let Ending { health, rate, code, cause } = ending.clone();
    let seen = Observation { submission, sent, health, rate, code: code.map(Quote::new), cause };
    breaker.observe(&seen, now)
}

fn why(breaker: &CircuitBreaker) -> Option<&str> {
    match breaker.cause() {
        Some(PauseCause::ApiUnreachable { why }) => Some(why.as_str()),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

fn start() -> Instant {
    crate::clock::now().instant
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn five_different_rows_in_succession_trip_it() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    for row in 1..5 {
        assert_eq!(observe(&mut breaker, row, &busy(), at, at), None);
    }
    assert_eq!(observe(&mut breaker, 5, &busy(), at, at), Some(BreakerChange::Tripped));
    assert_eq!(breaker.allows(after(at, 29)), 0);
    assert_eq!(breaker.allows(after(at, 30)), 1);
}

#[test]
fn one_row_that_fails_again_and_again_does_not_trip_it() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    for _ in 0..50 {
        assert_eq!(observe(&mut breaker, 1, &busy(), at, at), None);
    }
}

#[test]
fn an_answer_or_another_fault_breaks_the_succession() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    let lost = lost();
    for row in 0..40 {
        let ending = match row % 5 {
            4 => answered(),
            _ => busy(),
        };
        assert_eq!(observe(&mut breaker, row, &ending, at, at), None);
    }
    for row in 0..40 {
        let ending = if row % 5 == 4 { lost.clone() } else { busy() };
        assert_eq!(observe(&mut breaker, row, &ending, at, at), None);
    }
}

#[test]
fn an_account_fault_trips_it_at_once() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    assert_eq!(observe(&mut breaker, 1, &account(), at, at), Some(BreakerChange::Tripped));
}

#[test]
fn a_row_that_can_not_be_sent_five_times_trips_it_alone() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    let unreachable = fault(FaultKind::Unreachable, None, "refused");
    let changes: Vec<_> = (0..5).map(|_| observe(&mut breaker, 1, &unreachable, at, at).is_some()).collect();
    assert_eq!(changes, [false, false, false, false, true]);
}

#[test]
fn probes_come_at_doubling_intervals_up_to_the_maximum() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    observe(&mut breaker, 1, &account(), at, at);
    let mut waits = Vec::new();
    let mut now = at;
    for row in 2..10 {
        let probe = breaker.next_probe().unwrap();
        waits.push(probe.duration_since(now).as_secs());
        now = probe;
        breaker.probing();
        assert_eq!(breaker.allows(after(now, 10_000)), 0, "one probe at a time");
        assert_eq!(observe(&mut breaker, row, &account(), now, now), Some(BreakerChange::ProbeFailed));
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
}

#[test]
fn probes_are_counted_once_it_trips() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    assert_eq!(breaker.probe(), None);
    for _ in 0..2 {
        observe(&mut breaker, 1, &account(), at, at);
        let probes: Vec<_> = [(); 3].into_iter().map(|()| breaker.probe().inspect(|_| breaker.probing())).collect();
        assert_eq!(probes, [Some(0), Some(1), Some(2)]);
        observe(&mut breaker, 2, &answered(), at, at);
        assert_eq!(breaker.probe(), None);
    }
}

#[test]
fn it_recovers_with_a_probe_that_is_answered() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    observe(&mut breaker, 1, &account(), at, at);
    breaker.probing();
    let probe = after(at, 30);
    assert_eq!(
        observe(&mut breaker, 2, &answered(), probe, probe),
        Some(BreakerChange::Recovered(account().cause.unwrap(), Duration::from_secs(30)))
    );
    assert_eq!(breaker.allows(probe), usize::MAX);
}

#[test]
fn a_request_from_before_the_trip_neither_ends_it_nor_counts_as_a_probe() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    observe(&mut breaker, 1, &account(), after(at, 1), after(at, 1));
    assert_eq!(observe(&mut breaker, 2, &answered(), at, after(at, 2)), None);
    assert_eq!(observe(&mut breaker, 3, &account(), at, after(at, 2)), None);
    assert_eq!(breaker.next_probe(), Some(after(at, 31)));
}

#[test]
fn refusals_within_a_second_of_a_grant_are_for_our_rate_and_do_not_trip_it() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    for second in 0..20 {
        assert_eq!(observe(&mut breaker, 1, &answered(), after(at, second), after(at, second)), None);
        for row in 2..30 {
            assert_eq!(observe(&mut breaker, row, &throttled(), after(at, second), after(at, second + 5)), None);
        }
    }
}

#[test]
fn five_refusals_long_after_any_grant_trip_it_and_it_probes_at_least_once_a_minute() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    observe(&mut breaker, 1, &answered(), at, at);
    for second in 1..5 {
        assert_eq!(observe(&mut breaker, second, &throttled(), at + Duration::from_secs(1), after(at, 2)), None);
    }
    let change = observe(&mut breaker, 9, &throttled(), after(at, 5), after(at, 5));
    assert_eq!(change, Some(BreakerChange::Tripped));
    assert_eq!(breaker.fault(), Some(FaultKind::RateExhausted));
    let (mut waits, mut now) = (Vec::new(), after(at, 5));
    for row in 10..14 {
        let probe = breaker.next_probe().unwrap();
        waits.push(probe.duration_since(now).as_secs());
        now = probe;
        breaker.probing();
        assert_eq!(observe(&mut breaker, row, &throttled(), now, now), Some(BreakerChange::ProbeFailed));
    }
    assert_eq!(waits, [30, 60, 60, 60]);
    observe(&mut breaker, 20, &answered(), now, now);
    assert_eq!(breaker.allows(now), usize::MAX);
}

#[test]
fn a_grant_ends_the_count_of_refusals_and_a_lost_answer_does_not() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    let lost = lost();
    for round in 0..10 {
        let now = after(at, 10 * round);
        for ending in [throttled(), throttled(), lost.clone(), throttled(), throttled(), busy()] {
            assert_eq!(observe(&mut breaker, 1, &ending, now, now), None);
        }
    }
    let now = after(at, 200);
    let endings = [throttled(), throttled(), lost, throttled(), throttled(), throttled()];
    let changes: Vec<_> = endings.iter().map(|ending| observe(&mut breaker, 1, ending, now, now).is_some()).collect();
    assert_eq!(changes, [false, false, false, false, false, true]);
}

#[test]
fn a_request_to_resume_probes_at_once() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    observe(&mut breaker, 1, &account(), at, at);
    breaker.probe_now(after(at, 1));
    assert_eq!(breaker.allows(after(at, 1)), 1);
}

#[test]
fn it_says_for_which_fault_it_is_tripped_and_why() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    assert_eq!((why(&breaker), breaker.fault()), (None, None));
    observe(&mut breaker, 1, &account(), at, at);
    assert_eq!(why(&breaker), Some("refused"));
    assert_eq!(breaker.fault(), Some(FaultKind::Account));
    observe(&mut breaker, 2, &busy(), at, at);
    assert_eq!(why(&breaker), Some("the CA is busy"), "the newest probe found another fault");
}

#[test]
fn it_denies_the_code_that_many_rows_in_succession_were_denied_with() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    for row in [1, 1, 1, 1, 1, 1, 2, 3, 4] {
        assert_eq!(observe(&mut breaker, row, &denied("This.Code"), at, at), None, "a policy can deny one row alone");
        assert!(!breaker.denies(&"This.Code".into()));
    }
    assert!(observe(&mut breaker, 5, &denied("This.Code"), at, at).is_some());
    assert!(breaker.denies(&"This.Code".into()) && !breaker.denies(&"Other.Code".into()));
    let stays = observe(&mut breaker, 2, &denied("Other.Code"), at, at);
    assert_eq!(stays, Some(BreakerChange::ProbeFailed), "it stays tripped");
    assert!(breaker.denies(&"Other.Code".into()));
}

#[test]
fn a_denial_is_an_answer_where_the_fault_was_another_one() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    observe(&mut breaker, 1, &account(), at, at);
    let denied = denied("This.Code");
    assert_eq!(
        observe(&mut breaker, 2, &denied, at, after(at, 7)),
        Some(BreakerChange::Recovered(account().cause.unwrap(), Duration::from_secs(7)))
    );
    assert_eq!(why(&breaker), None);
}

#[test]
fn a_probe_that_says_nothing_is_repeated_after_the_same_interval() {
    let silent = Ending { health: HealthSignal::Silent, rate: RateSignal::Silent, ..answered() };
    for ending in [throttled(), silent] {
        let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
        assert_eq!(observe(&mut breaker, 1, &ending, at, at), None, "it does not trip either");
        observe(&mut breaker, 1, &account(), at, at);
        breaker.probing();
        assert_eq!(observe(&mut breaker, 2, &ending, after(at, 30), after(at, 31)), None);
        assert_eq!(breaker.next_probe(), Some(after(at, 61)));
    }
}

#[test]
fn a_probe_can_be_put_off_and_a_request_to_resume_begins_at_short_intervals_again() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    breaker.probe_at(at);
    assert_eq!(breaker.next_probe(), None, "a breaker that is not tripped probes nothing");
    observe(&mut breaker, 1, &account(), at, at);
    breaker.probe_at(after(at, 5));
    assert_eq!(breaker.next_probe(), Some(after(at, 5)));
    observe(&mut breaker, 2, &account(), at, at);
    observe(&mut breaker, 2, &account(), at, at);
    breaker.probe_now(at);
    observe(&mut breaker, 2, &account(), at, at);
    assert_eq!(breaker.next_probe(), Some(after(at, 60)));
}

#[test]
fn a_succession_begins_anew_once_it_recovered() {
    let (mut breaker, at) = (CircuitBreaker::new(POLICY), start());
    (1..=5).for_each(|row| drop(observe(&mut breaker, row, &busy(), at, at)));
    assert!(observe(&mut breaker, 6, &answered(), at, at).is_some());
    for row in 1..=4 {
        assert_eq!(observe(&mut breaker, row, &busy(), at, at), None);
    }
}
