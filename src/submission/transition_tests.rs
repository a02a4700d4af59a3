//! The state machine as a table: every state with every event.

use std::time::Duration;

use super::*;

const POLICY: Policy = Policy {
    retry: RetryPolicy { max_tries: 3, initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(300) },
    verify: VerifyPolicy { settle: Duration::from_secs(60), resend_after: Duration::from_secs(600) },
};
const LATE: Duration = Duration::from_secs(600);

fn refusal() -> Refusal {
    Refusal { code: "Some.Code".into(), message: "words".into(), request_id: Some("r-1".into()) }
}

fn commits() -> Vec<CommitOutcome> {
    vec![
        CommitOutcome::Submitted(Receipt { order_id: "SO1".into(), status: 8, request_id: Some("r-1".into()) }),
        CommitOutcome::Retry(refusal()),
        CommitOutcome::BackendError(refusal()),
        CommitOutcome::Throttled(refusal()),
        CommitOutcome::Account(refusal()),
        CommitOutcome::Denied(refusal()),
        CommitOutcome::Failed(refusal()),
        CommitOutcome::StatusRefused(refusal()),
        CommitOutcome::NotSent("refused".into()),
        CommitOutcome::InDoubt { why: "cut".into(), refusal: None },
    ]
}

fn seen(order_id: Option<&str>, status: Option<i64>) -> ReadOutcome {
    ReadOutcome::Seen(Reading { order_id: order_id.map(str::to_owned), status, request_id: Some("r-2".into()) })
}

fn reads() -> Vec<ReadOutcome> {
    vec![
        seen(Some("SO1"), Some(8)),
        seen(None, Some(13)),
        seen(None, Some(7)),
        seen(Some("SO1"), Some(99)),
        ReadOutcome::Retry { why: "cut".into(), refusal: None },
        ReadOutcome::Throttled(refusal()),
        ReadOutcome::Account(refusal()),
        ReadOutcome::Denied(refusal()),
        ReadOutcome::Failed(refusal()),
        ReadOutcome::NotSent("refused".into()),
    ]
}

fn row(state: State, tries: u32, evidence: Evidence) -> Row {
    Row { state, tries, evidence }
}

fn doubt(negative_reads: u32, age: Duration) -> Evidence {
    let last_commit = Some(CommitClass::InDoubt);
    Evidence { last_commit, age, negative_reads, reads: negative_reads, ..Evidence::none() }
}

fn after(row: &Row, event: &Event) -> Option<Change> {
    next_state(row, event, &POLICY, 1.0)
}

fn after_read(row: &Row, outcome: ReadOutcome) -> Change {
    after(row, &Event::Read(outcome)).unwrap()
}

#[test]
fn every_commit_takes_a_row_in_flight_where_the_contract_says() {
    use State::{Failed, InDoubt, Pending, Submitted};
    let first = [Submitted, Pending, Pending, Pending, Pending, Failed, Failed, InDoubt, Pending, InDoubt];
    let last = [Submitted, Failed, InDoubt, Pending, Pending, Failed, Failed, InDoubt, Pending, InDoubt];
    let outcomes = |tries: u32| -> Vec<State> {
        let row = row(State::InFlight, tries, Evidence::none());
        commits().into_iter().map(|outcome| after(&row, &Event::Commit(outcome)).unwrap().to).collect()
    };
    assert_eq!(outcomes(0), first);
    assert_eq!(outcomes(1), first);
    assert_eq!(outcomes(2), last, "the third of three tries");
}

#[test]
fn every_read_takes_a_row_in_doubt_where_the_contract_says() {
    use State::{Failed, Held, InDoubt, Pending, Submitted};
    let outcomes = |tries: u32, evidence: Evidence| -> Vec<State> {
        let row = row(State::InDoubt, tries, evidence);
        reads().into_iter().map(|outcome| after_read(&row, outcome).to).collect()
    };
    let with_negative = |negative| [Submitted, negative, Held, Held, InDoubt, InDoubt, InDoubt, InDoubt, Held, InDoubt];
    assert_eq!(outcomes(1, doubt(0, LATE)), with_negative(InDoubt), "the first read");
    assert_eq!(outcomes(1, doubt(1, LATE / 2)), with_negative(InDoubt), "the second read, too early");
    assert_eq!(outcomes(1, doubt(1, LATE)), with_negative(Pending), "the second read, late enough");
    assert_eq!(outcomes(3, doubt(1, LATE)), with_negative(Failed), "out of tries");
}

#[test]
fn every_read_before_a_next_try_takes_a_pending_row_where_the_contract_says() {
    use State::{InDoubt, Pending};
    let evidence = Evidence { last_commit: Some(CommitClass::BackendError), ..Evidence::none() };
    let row = row(State::Pending, 1, evidence);
    let outcomes: Vec<State> = reads().into_iter().map(|outcome| after_read(&row, outcome).to).collect();
    let expected = [InDoubt, Pending, InDoubt, InDoubt, Pending, Pending, Pending, Pending, InDoubt, Pending];
    assert_eq!(outcomes, expected);
}

#[test]
fn no_other_event_moves_a_row() {
    let everything: Vec<Event> = commits()
        .into_iter()
        .map(Event::Commit)
        .chain(reads().into_iter().map(Event::Read))
        .chain([Event::Unsent("paused".into()), Event::Interrupted])
        .collect();
    for state in State::ALL {
        for event in &everything {
            let concerns = match event {
                Event::Commit(_) | Event::Unsent(_) | Event::Interrupted => state == State::InFlight,
                Event::Read(_) => matches!(state, State::InDoubt | State::Pending),
            };
            let change = after(&row(state, 0, Evidence::none()), event);
            assert_eq!(change.is_some(), concerns, "{state} {event:?}");
            if let Some(change) = change {
                assert!(change.to == state || state.may_become(change.to), "{state} {event:?}");
            }
        }
    }
}

#[test]
fn a_commit_spends_a_try_unless_nothing_was_executed_for_no_fault_of_the_row() {
    let row = row(State::InFlight, 0, Evidence::none());
    for outcome in commits() {
        let class = outcome.class();
        let change = after(&row, &Event::Commit(outcome)).unwrap();
        assert_eq!(change.spends_try, class.spends_a_try(), "{class:?}");
    }
    assert!(after(&row, &Event::Interrupted).unwrap().spends_try);
    assert!(!after(&row, &Event::Unsent("paused".into())).unwrap().spends_try);
}

#[test]
fn no_read_spends_a_try() {
    for state in [State::InDoubt, State::Pending] {
        for outcome in reads() {
            assert!(!after_read(&row(state, 0, Evidence::none()), outcome).spends_try);
        }
    }
}

#[test]
fn a_receipt_is_kept_and_its_source_named() {
    let row = row(State::InFlight, 0, Evidence::none());
    let change = after(&row, &Event::Commit(commits().swap_remove(0))).unwrap();
    assert_eq!((change.order_id.as_deref(), change.status), (Some("SO1"), Some(8)));
    assert_eq!((change.request_id.as_deref(), change.resolved_by), (Some("r-1"), Some(ResolvedBy::Reply)));
    assert_eq!((change.error, change.reason), (None, None));
}

#[test]
fn an_order_that_is_read_is_kept_and_its_source_named() {
    let change = after_read(&row(State::InDoubt, 1, doubt(0, LATE)), seen(Some("SO7"), Some(1)));
    assert_eq!((change.order_id.as_deref(), change.status), (Some("SO7"), Some(1)));
    assert_eq!((change.request_id.as_deref(), change.resolved_by), (Some("r-2"), Some(ResolvedBy::Readback)));
}

#[test]
fn an_error_stays_on_the_row_with_its_request_id() {
    let row = row(State::InFlight, 2, Evidence::none());
    let change = after(&row, &Event::Commit(CommitOutcome::Retry(refusal()))).unwrap();
    assert_eq!(change.error, Some(("Some.Code".into(), "words".into())));
    assert_eq!(change.request_id.as_deref(), Some("r-1"));
}

#[test]
fn a_retry_waits_longer_each_time() {
    let wait = |tries| {
        after(&row(State::InFlight, tries, Evidence::none()), &Event::Commit(CommitOutcome::Retry(refusal())))
            .unwrap()
            .due_in
    };
    assert_eq!([wait(0), wait(1)], [Duration::from_secs(1), Duration::from_secs(2)]);
}

#[test]
fn a_row_in_doubt_is_read_after_settling_and_again_when_it_may_be_resent() {
    let in_flight = row(State::InFlight, 0, Evidence::none());
    let lost = after(&in_flight, &Event::Commit(CommitOutcome::InDoubt { why: "cut".into(), refusal: None })).unwrap();
    assert_eq!(lost.due_in, POLICY.verify.settle);
    let first = after_read(&row(State::InDoubt, 1, doubt(0, Duration::from_secs(60))), seen(None, Some(13)));
    assert_eq!(first.due_in, Duration::from_secs(540));
}

#[test]
fn a_commit_refused_for_its_status_is_read_at_once_and_decided_by_what_is_read() {
    let in_flight = row(State::InFlight, 0, Evidence::none());
    let refused = after(&in_flight, &Event::Commit(CommitOutcome::StatusRefused(refusal()))).unwrap();
    assert_eq!((refused.to, refused.due_in), (State::InDoubt, Duration::ZERO));
    let evidence = Evidence { last_commit: Some(CommitClass::StatusRefused), ..Evidence::none() };
    let read = |earlier_in_doubt, outcome| {
        after_read(&row(State::InDoubt, 1, Evidence { earlier_in_doubt, ..evidence.clone() }), outcome)
    };
    assert_eq!(read(false, seen(Some("SO1"), Some(8))).to, State::Submitted);
    let failed = read(false, seen(None, Some(7)));
    assert_eq!((failed.to, failed.status), (State::Failed, Some(7)));
    assert_eq!(read(false, seen(None, Some(13))).to, State::Failed);
    assert_eq!(read(false, seen(None, Some(99))).to, State::Held);
    assert_eq!(read(true, seen(None, Some(13))).to, State::InDoubt, "an earlier commit is not disproved");
    assert_eq!(read(true, seen(None, Some(7))).to, State::Held, "an earlier commit is not disproved");
}

#[test]
fn a_backend_error_on_the_last_try_is_given_up_after_one_read_that_shows_no_order() {
    let evidence = Evidence { last_commit: Some(CommitClass::BackendError), ..Evidence::none() };
    let change = after_read(&row(State::InDoubt, 3, evidence), seen(None, Some(13)));
    assert_eq!(change.to, State::Failed);
}

#[test]
fn a_row_wants_to_be_read_first_until_a_read_shows_no_order_or_is_denied() {
    let backend = Evidence { last_commit: Some(CommitClass::BackendError), reads: 3, ..Evidence::none() };
    assert!(backend.wants_read_first());
    assert!(!Evidence { negative_reads: 1, ..backend.clone() }.wants_read_first());
    assert!(!Evidence { read_denied: true, ..backend.clone() }.wants_read_first());
    assert!(!Evidence { last_commit: Some(CommitClass::Retry), ..backend }.wants_read_first());
    assert!(!Evidence::none().wants_read_first());
}

#[test]
fn whatever_is_not_submitted_says_why_in_one_line() {
    let rows = [
        (State::InFlight, commits().into_iter().map(Event::Commit).collect::<Vec<_>>()),
        (State::InDoubt, reads().into_iter().map(Event::Read).collect()),
        (State::Pending, reads().into_iter().map(Event::Read).collect()),
    ];
    for (state, events) in rows {
        for event in events {
            let change = after(&row(state, 0, doubt(1, LATE)), &event).unwrap();
            let reason = change.reason.unwrap_or_default();
            assert_eq!(reason.is_empty(), change.to == State::Submitted, "{state} {event:?}");
            assert!(!reason.contains(char::is_control), "{reason:?}");
        }
    }
}
