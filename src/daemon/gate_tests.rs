//! The gate in virtual time.

use std::time::Duration;

use tokio::time::Instant;

use super::gate::*;

const POLICY: GatePolicy =
    GatePolicy { after: 5, probe_initial: Duration::from_secs(30), probe_max: Duration::from_secs(900) };

fn busy() -> Ending {
    Ending::Fault(Fault::Busy("FailedOperation.NetworkError".into()), "the CA is busy".into())
}

fn account() -> Ending {
    Ending::Fault(Fault::Account("AuthFailure.SecretIdNotFound".into()), "refused".into())
}

fn start() -> Instant {
    crate::clock::now().instant
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn five_different_rows_in_succession_close_it() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    for row in 1..5 {
        assert_eq!(gate.observe(row, &busy(), at, at), None);
    }
    assert_eq!(gate.observe(5, &busy(), at, at), Some(Swing::Closed("the CA is busy".into())));
    assert_eq!(gate.allows(after(at, 29)), 0);
    assert_eq!(gate.allows(after(at, 30)), 1);
}

#[test]
fn one_row_that_fails_again_and_again_closes_nothing() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    for _ in 0..50 {
        assert_eq!(gate.observe(1, &busy(), at, at), None);
    }
}

#[test]
fn an_answer_or_another_fault_breaks_the_succession() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    let lost = Ending::Fault(Fault::Lost, "lost".into());
    for row in 0..40 {
        let ending = match row % 5 {
            4 => Ending::Answered,
            _ => busy(),
        };
        assert_eq!(gate.observe(row, &ending, at, at), None);
    }
    for row in 0..40 {
        let ending = if row % 5 == 4 { lost.clone() } else { busy() };
        assert_eq!(gate.observe(row, &ending, at, at), None);
    }
}

#[test]
fn an_account_fault_closes_it_at_once() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    assert_eq!(gate.observe(1, &account(), at, at), Some(Swing::Closed("refused".into())));
}

#[test]
fn a_row_that_can_not_be_sent_five_times_closes_it_alone() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    let unreachable = Ending::Fault(Fault::Unreachable, "refused".into());
    let swings: Vec<_> = (0..5).map(|_| gate.observe(1, &unreachable, at, at).is_some()).collect();
    assert_eq!(swings, [false, false, false, false, true]);
}

#[test]
fn probes_come_at_doubling_intervals_up_to_the_maximum() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    gate.observe(1, &account(), at, at);
    let mut waits = Vec::new();
    let mut now = at;
    for row in 2..10 {
        let probe = gate.next_probe().unwrap();
        waits.push(probe.duration_since(now).as_secs());
        now = probe;
        gate.probing();
        assert_eq!(gate.allows(after(now, 10_000)), 0, "one probe at a time");
        assert_eq!(gate.observe(row, &account(), now, now), None);
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
}

#[test]
fn probes_are_counted_from_its_closing_on() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    assert_eq!(gate.probe(), None);
    for _ in 0..2 {
        gate.observe(1, &account(), at, at);
        let probes: Vec<_> = [(); 3].into_iter().map(|()| gate.probe().inspect(|_| gate.probing())).collect();
        assert_eq!(probes, [Some(0), Some(1), Some(2)]);
        gate.observe(2, &Ending::Answered, at, at);
        assert_eq!(gate.probe(), None);
    }
}

#[test]
fn a_probe_that_is_answered_opens_it() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    gate.observe(1, &account(), at, at);
    gate.probing();
    let probe = after(at, 30);
    assert_eq!(gate.observe(2, &Ending::Answered, probe, probe), Some(Swing::Opened(Duration::from_secs(30))));
    assert_eq!(gate.allows(probe), usize::MAX);
}

#[test]
fn what_was_sent_before_it_closed_neither_opens_it_nor_counts_as_a_probe() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    gate.observe(1, &account(), after(at, 1), after(at, 1));
    assert_eq!(gate.observe(2, &Ending::Answered, at, after(at, 2)), None);
    assert_eq!(gate.observe(3, &account(), at, after(at, 2)), None);
    assert_eq!(gate.next_probe(), Some(after(at, 31)));
}

fn throttled() -> Ending {
    Ending::Throttled("refused for the rate".into())
}

#[test]
fn refusals_within_a_second_of_a_grant_are_for_our_rate_and_close_nothing() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    for second in 0..20 {
        assert_eq!(gate.observe(1, &Ending::Answered, after(at, second), after(at, second)), None);
        for row in 2..30 {
            assert_eq!(gate.observe(row, &throttled(), after(at, second), after(at, second + 5)), None);
        }
    }
}

#[test]
fn five_refusals_long_after_any_grant_close_it_and_it_probes_at_least_once_a_minute() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    gate.observe(1, &Ending::Answered, at, at);
    for second in 1..5 {
        assert_eq!(gate.observe(second, &throttled(), at + Duration::from_secs(1), after(at, 2)), None);
    }
    let swing = gate.observe(9, &throttled(), after(at, 5), after(at, 5));
    assert_eq!(swing, Some(Swing::Closed("refused for the rate".into())));
    assert_eq!(gate.fault(), Some(&Fault::Storm));
    let (mut waits, mut now) = (Vec::new(), after(at, 5));
    for row in 10..14 {
        let probe = gate.next_probe().unwrap();
        waits.push(probe.duration_since(now).as_secs());
        now = probe;
        gate.probing();
        assert_eq!(gate.observe(row, &throttled(), now, now), None);
    }
    assert_eq!(waits, [30, 60, 60, 60]);
    gate.observe(20, &Ending::Answered, now, now);
    assert_eq!(gate.allows(now), usize::MAX);
}

#[test]
fn a_grant_ends_the_count_of_refusals_and_a_lost_answer_does_not() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    let lost = Ending::Fault(Fault::Lost, "lost".into());
    for round in 0..10 {
        let now = after(at, 10 * round);
        for ending in [throttled(), throttled(), lost.clone(), throttled(), throttled(), busy()] {
            assert_eq!(gate.observe(1, &ending, now, now), None);
        }
    }
    let now = after(at, 200);
    let endings = [throttled(), throttled(), lost, throttled(), throttled(), throttled()];
    let swings: Vec<_> = endings.iter().map(|ending| gate.observe(1, ending, now, now).is_some()).collect();
    assert_eq!(swings, [false, false, false, false, false, true]);
}

#[test]
fn a_request_to_resume_probes_at_once() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    gate.observe(1, &account(), at, at);
    gate.probe_now(after(at, 1));
    assert_eq!(gate.allows(after(at, 1)), 1);
}

#[test]
fn it_says_for_which_fault_it_is_closed_and_why() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    assert_eq!((gate.why(), gate.fault()), (None, None));
    gate.observe(1, &account(), at, at);
    assert_eq!(gate.why(), Some("refused"));
    assert_eq!(gate.fault(), Some(&Fault::Account("AuthFailure.SecretIdNotFound".into())));
    gate.observe(2, &busy(), at, at);
    assert_eq!(gate.why(), Some("the CA is busy"), "the newest probe found another fault");
}

#[test]
fn it_denies_the_code_that_many_rows_in_succession_were_denied_with() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    let denied = |code: &str| Ending::Fault(Fault::Denied(code.to_owned()), "no permission".into());
    for row in [1, 1, 1, 1, 1, 1, 2, 3, 4] {
        assert_eq!(gate.observe(row, &denied("This.Code"), at, at), None, "a policy can deny one row alone");
        assert!(!gate.denies("This.Code"));
    }
    assert!(gate.observe(5, &denied("This.Code"), at, at).is_some());
    assert!(gate.denies("This.Code") && !gate.denies("Other.Code"));
    assert_eq!(gate.observe(2, &denied("Other.Code"), at, at), None, "it stays closed");
    assert!(gate.denies("Other.Code"));
}

#[test]
fn a_denial_is_an_answer_where_the_fault_was_another_one() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    gate.observe(1, &account(), at, at);
    let denied = Ending::Fault(Fault::Denied("This.Code".into()), "no permission".into());
    assert_eq!(gate.observe(2, &denied, at, after(at, 7)), Some(Swing::Opened(Duration::from_secs(7))));
    assert_eq!(gate.why(), None);
}

#[test]
fn a_probe_that_says_nothing_is_repeated_after_the_same_interval() {
    for ending in [throttled(), Ending::Unknown] {
        let (mut gate, at) = (Gate::new(POLICY), start());
        assert_eq!(gate.observe(1, &ending, at, at), None, "it closes nothing either");
        gate.observe(1, &account(), at, at);
        gate.probing();
        assert_eq!(gate.observe(2, &ending, after(at, 30), after(at, 31)), None);
        assert_eq!(gate.next_probe(), Some(after(at, 61)));
    }
}

#[test]
fn a_probe_can_be_put_off_and_a_request_to_resume_begins_at_short_intervals_again() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    gate.probe_at(at);
    assert_eq!(gate.next_probe(), None, "an open gate probes nothing");
    gate.observe(1, &account(), at, at);
    gate.probe_at(after(at, 5));
    assert_eq!(gate.next_probe(), Some(after(at, 5)));
    gate.observe(2, &account(), at, at);
    gate.observe(2, &account(), at, at);
    gate.probe_now(at);
    gate.observe(2, &account(), at, at);
    assert_eq!(gate.next_probe(), Some(after(at, 60)));
}

#[test]
fn a_succession_begins_anew_once_it_opened() {
    let (mut gate, at) = (Gate::new(POLICY), start());
    (1..=5).for_each(|row| drop(gate.observe(row, &busy(), at, at)));
    assert!(gate.observe(6, &Ending::Answered, at, at).is_some());
    for row in 1..=4 {
        assert_eq!(gate.observe(row, &busy(), at, at), None);
    }
}
