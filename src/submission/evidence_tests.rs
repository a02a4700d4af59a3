//! What one more commit and one more read make of the evidence.

use std::time::Duration;

use super::*;

const AGE: Duration = Duration::from_secs(900);
const POLICY: VerifyPolicy = VerifyPolicy { settle: Duration::from_secs(60), resend_after: Duration::from_secs(600) };

/// The evidence after these commits and readbacks.
fn after(steps: &[Step]) -> Evidence {
    steps.iter().fold(Evidence::none(), |evidence, step| match step {
        Step::Commit(class) => evidence.with_commit(*class, AGE),
        Step::Read(class, since) => evidence.with_readback(*class, Duration::from_secs(*since), &POLICY),
    })
}

#[derive(Clone, Copy)]
enum Step {
    Commit(OutcomeClass),
    /// A read, so many seconds after the commit.
    Read(OutcomeClass, u64),
}

const DOUBT: Step = Step::Commit(OutcomeClass::InDoubt);
const RETRY: Step = Step::Commit(OutcomeClass::Retry);
const BACKEND: Step = Step::Commit(OutcomeClass::BackendError);
const THROTTLED: Step = Step::Commit(OutcomeClass::Throttled);
const SETTLED: Step = Step::Read(OutcomeClass::NotCommitted, 60);
const LATE: Step = Step::Read(OutcomeClass::NotCommitted, 600);
const CUT: Step = Step::Read(OutcomeClass::Retry, 60);

#[test]
fn a_commit_in_doubt_is_disproved_by_two_negative_readbacks_of_which_one_came_late() {
    let disproved = |steps: &[Step]| after(steps).is_disproved();
    assert!(disproved(&[]), "there is nothing to disprove");
    assert!(!disproved(&[DOUBT]) && !disproved(&[DOUBT, LATE]) && !disproved(&[DOUBT, SETTLED, SETTLED]));
    assert!(disproved(&[DOUBT, SETTLED, LATE]) && disproved(&[DOUBT, LATE, LATE]));
    assert!(!disproved(&[DOUBT, Step::Read(OutcomeClass::NotCommitted, 59), LATE]), "the first came too early");
    assert!(!disproved(&[DOUBT, CUT, LATE]));
}

#[test]
fn one_refused_for_its_status_is_disproved_by_two_negative_readbacks_and_any_other_by_one() {
    let status_refused = Step::Commit(OutcomeClass::StatusRefused);
    assert!(
        !after(&[status_refused, SETTLED]).is_disproved() && after(&[status_refused, SETTLED, SETTLED]).is_disproved()
    );
    let two = [OutcomeClass::InDoubt, OutcomeClass::StatusRefused];
    for class in OutcomeClass::of_kind(RequestKind::Commit).iter().filter(|class| !two.contains(*class)) {
        let commit = Step::Commit(*class);
        assert_eq!(
            after(&[commit]).is_disproved(),
            effects(RequestKind::Commit, *class).readbacks_to_disprove == 0,
            "{class:?}"
        );
        assert!(after(&[commit, SETTLED]).is_disproved(), "{class:?}");
    }
}

#[test]
fn a_read_counts_at_once_where_the_server_says_that_nothing_was_placed_and_else_once_it_has_settled() {
    use OutcomeClass::{BackendError, Denied, Failed, InDoubt, Retry, StatusRefused};
    let counts =
        |class, since| after(&[Step::Commit(class), Step::Read(OutcomeClass::NotCommitted, since)]).negative_readbacks;
    for class in [Retry, Denied, Failed] {
        assert_eq!(counts(class, 0), 1, "{class:?}");
    }
    for class in [InDoubt, BackendError, StatusRefused] {
        assert_eq!((counts(class, 59), counts(class, 60)), (0, 1), "{class:?}");
    }
}

#[test]
fn a_read_that_shows_anything_else_voids_the_negative_ones_before_it() {
    for class in [OutcomeClass::DeadEnd, OutcomeClass::Unclear, OutcomeClass::Failed] {
        let other = Step::Read(class, 600);
        assert!(!after(&[DOUBT, SETTLED, LATE, other]).is_disproved(), "{class:?}");
        assert!(!after(&[DOUBT, SETTLED, LATE, other, LATE]).is_disproved(), "{class:?}");
        assert!(after(&[RETRY, other, LATE]).is_disproved(), "{class:?}");
    }
    for class in [
        OutcomeClass::Retry,
        OutcomeClass::Throttled,
        OutcomeClass::Account,
        OutcomeClass::Denied,
        OutcomeClass::NotSent,
    ] {
        let failed = Step::Read(class, 600);
        assert!(after(&[DOUBT, SETTLED, failed, LATE]).is_disproved(), "{class:?} shows nothing");
        assert!(!after(&[BACKEND, failed]).is_disproved(), "{class:?} shows nothing");
    }
}

#[test]
fn an_order_on_record_has_to_be_read_however_many_reads_show_none() {
    for order in [Step::Commit(OutcomeClass::Submitted), Step::Read(OutcomeClass::Committed, 600)] {
        let evidence = after(&[DOUBT, order, LATE, LATE]);
        assert!(evidence.placed && evidence.needs_readback());
    }
    assert!(!after(&[RETRY, LATE]).needs_readback() && after(&[RETRY]).needs_readback());
}

#[test]
fn a_commit_that_was_not_executed_changes_nothing() {
    for steps in [&[][..], &[DOUBT, SETTLED], &[DOUBT, SETTLED, LATE], &[RETRY], &[BACKEND, CUT]] {
        for class in [OutcomeClass::Throttled, OutcomeClass::Account, OutcomeClass::NotSent] {
            let before = after(steps);
            assert_eq!(before.with_commit(class, Duration::ZERO), before, "{class:?}");
        }
    }
}

#[test]
fn a_commit_is_an_earlier_doubt_for_the_next_one_until_it_is_disproved() {
    let earlier = |steps: &[Step]| after(steps).earlier_in_doubt;
    assert!(!earlier(&[DOUBT]) && !earlier(&[THROTTLED, DOUBT]), "there is no earlier one");
    assert!(earlier(&[DOUBT, RETRY]) && earlier(&[DOUBT, LATE, RETRY]) && earlier(&[DOUBT, LATE, CUT, RETRY]));
    assert!(!earlier(&[DOUBT, SETTLED, LATE, RETRY]));
    assert!(earlier(&[DOUBT, RETRY, LATE, RETRY]), "nothing disproved the first one since");
    assert!(earlier(&[RETRY, RETRY]) && !earlier(&[RETRY, SETTLED, RETRY]));
    let disproved = |steps: &[Step]| after(steps).is_disproved();
    assert!(!disproved(&[DOUBT, RETRY, LATE]), "the first one takes two reads still");
    assert!(disproved(&[DOUBT, RETRY, LATE, LATE]) && !earlier(&[DOUBT, RETRY, LATE, LATE, RETRY]));
}

#[test]
fn reads_count_from_the_newest_commit_and_only_negative_ones_as_negative() {
    let reads = |steps: &[Step]| (after(steps).readbacks, after(steps).negative_readbacks);
    assert_eq!(reads(&[DOUBT]), (0, 0));
    assert_eq!(reads(&[DOUBT, CUT, SETTLED, CUT]), (3, 1));
    assert_eq!(reads(&[DOUBT, SETTLED, LATE]), (2, 2));
    assert_eq!(reads(&[DOUBT, SETTLED, RETRY]), (0, 0));
}

#[test]
fn a_commit_is_the_last_one_with_its_own_age() {
    let evidence = after(&[DOUBT, SETTLED]).with_commit(OutcomeClass::Retry, Duration::from_secs(7));
    assert_eq!((evidence.last_commit, evidence.age), (Some(OutcomeClass::Retry), Duration::from_secs(7)));
    assert_eq!(after(&[DOUBT, SETTLED]).age, AGE);
}

#[test]
fn what_is_in_doubt_settles_by_monotonic_time_however_often_it_was_read() {
    let settles_in = |last_commit, age, readbacks| {
        let age = Duration::from_secs(age);
        Evidence { last_commit: Some(last_commit), age, readbacks, ..Evidence::none() }.settles_in(&POLICY).as_secs()
    };
    for class in [OutcomeClass::InDoubt, OutcomeClass::BackendError] {
        assert_eq!(
            [(59, 0), (60, 0), (59, 1)].map(|(age, reads)| settles_in(class, age, reads)),
            [1, 0, 1],
            "{class:?}"
        );
    }
    for class in [OutcomeClass::StatusRefused, OutcomeClass::Retry] {
        assert_eq!(settles_in(class, 0, 0), 0, "the server has answered");
    }
    assert!(Evidence::none().settles_in(&POLICY).is_zero(), "it was never sent");
}

#[test]
fn a_readback_before_settling_is_early_unless_it_shows_an_order_or_failed() {
    use OutcomeClass::{
        Account, Committed, DeadEnd, Denied, Early, Failed, NotCommitted, NotSent, Retry, Throttled, Unclear,
    };
    let seen = |age, shown| {
        let evidence = Evidence { age: Duration::from_secs(age), ..after(&[DOUBT]) };
        evidence.class_of_readback(shown, &POLICY)
    };
    for shown in [NotCommitted, DeadEnd, Unclear, Failed] {
        assert_eq!((seen(59, shown), seen(60, shown)), (Early, shown), "{shown:?}");
    }
    for shown in [Committed, Retry, Throttled, Account, Denied, NotSent] {
        assert_eq!(seen(0, shown), shown);
    }
}

#[test]
fn an_early_readback_counts_for_nothing_and_voids_nothing() {
    let early = Step::Read(OutcomeClass::Early, 1);
    let read = after(&[DOUBT, early]);
    assert_eq!(read, Evidence { was_read_early: true, ..after(&[DOUBT]) });
    assert_eq!(after(&[DOUBT, Step::Read(OutcomeClass::Retry, 1)]), after(&[DOUBT]), "it moves no backoff");
    assert!(!after(&[DOUBT, early, LATE]).is_disproved() && after(&[DOUBT, early, SETTLED, LATE]).is_disproved());
    assert!(after(&[DOUBT, SETTLED, early, LATE]).is_disproved());
    assert!(!after(&[DOUBT, early, DOUBT]).was_read_early, "the next commit is read early, too");
    assert!(after(&[DOUBT, Step::Read(OutcomeClass::Committed, 1)]).placed);
}
