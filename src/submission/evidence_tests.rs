//! What one more commit and one more read make of the evidence.

use std::time::Duration;

use super::*;

const AGE: Duration = Duration::from_secs(60);

/// The evidence after these commits and reads.
fn after(steps: &[Step]) -> Evidence {
    steps.iter().fold(Evidence::none(), |evidence, step| match step {
        Step::Commit(class) => evidence.with_commit(*class, AGE),
        Step::Read(class) => evidence.with_read(*class),
    })
}

enum Step {
    Commit(CommitClass),
    Read(ReadClass),
}

const DOUBT: Step = Step::Commit(CommitClass::InDoubt);
const RETRY: Step = Step::Commit(CommitClass::Retry);
const BACKEND: Step = Step::Commit(CommitClass::BackendError);
const NEGATIVE: Step = Step::Read(ReadClass::NotCommitted);
const CUT: Step = Step::Read(ReadClass::Retry);

#[test]
fn a_commit_in_doubt_is_an_earlier_doubt_for_the_next_one_until_two_negative_reads_disproved_it() {
    let earlier = |steps: &[Step]| after(steps).earlier_in_doubt;
    assert!(!earlier(&[DOUBT]), "there is no earlier one");
    assert!(!earlier(&[RETRY, RETRY]), "none was in doubt");
    assert!(earlier(&[DOUBT, RETRY]));
    assert!(earlier(&[DOUBT, NEGATIVE, RETRY]));
    assert!(earlier(&[DOUBT, NEGATIVE, CUT, RETRY]));
    assert!(!earlier(&[DOUBT, NEGATIVE, NEGATIVE, RETRY]));
    assert!(!earlier(&[DOUBT, NEGATIVE, NEGATIVE, NEGATIVE, RETRY]));
    assert!(earlier(&[DOUBT, RETRY, RETRY]), "nothing disproved the first one since");
    assert!(earlier(&[DOUBT, RETRY, NEGATIVE, NEGATIVE, RETRY]), "these reads are about the second one");
}

#[test]
fn reads_count_from_the_newest_commit_and_only_negative_ones_as_negative() {
    let reads = |steps: &[Step]| (after(steps).reads, after(steps).negative_reads);
    assert_eq!(reads(&[DOUBT]), (0, 0));
    assert_eq!(reads(&[DOUBT, CUT, NEGATIVE, CUT]), (3, 1));
    assert_eq!(reads(&[DOUBT, NEGATIVE, NEGATIVE]), (2, 2));
    assert_eq!(reads(&[DOUBT, NEGATIVE, RETRY]), (0, 0));
}

#[test]
fn a_commit_is_the_last_one_with_its_own_age() {
    let evidence = after(&[DOUBT, NEGATIVE]).with_commit(CommitClass::Retry, Duration::from_secs(7));
    assert_eq!((evidence.last_commit, evidence.age), (Some(CommitClass::Retry), Duration::from_secs(7)));
    assert_eq!(after(&[DOUBT, NEGATIVE]).age, AGE);
}

#[test]
fn an_error_of_the_backend_is_unread_until_a_read_shows_nothing() {
    let unread = |steps: &[Step]| after(steps).unread_backend_error;
    assert!(unread(&[BACKEND]) && unread(&[BACKEND, CUT]) && unread(&[BACKEND, RETRY]));
    assert!(!unread(&[RETRY]) && !unread(&[RETRY, CUT]));
    assert!(!unread(&[BACKEND, NEGATIVE]) && !unread(&[BACKEND, NEGATIVE, CUT, RETRY]));
    assert!(unread(&[BACKEND, Step::Read(ReadClass::Denied)]));
}
