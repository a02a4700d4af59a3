//! What stays on the row of what the server said.

use super::*;

#[test]
fn a_receipt_is_kept_and_its_source_named() {
    let row = row(State::InFlight, 0, Evidence::none());
    let change = after(&row, &committed(commits().swap_remove(0))).unwrap();
    assert_eq!((change.order_id.as_deref(), change.status), (Some("SO1"), Some(8)));
    assert_eq!((change.request_id.as_deref(), change.resolved_by), (Some("r-1"), Some(ResolvedBy::Reply)));
    assert_eq!((change.error, change.cause), (None, None));
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
    let change = after(&row, &committed(refused(OutcomeClass::Retry))).unwrap();
    assert_eq!(change.error, Some(error()));
    assert_eq!(change.request_id.as_deref(), Some("r-1"));
}

#[test]
fn whatever_is_not_submitted_says_why_in_one_line() {
    let rows = [
        (State::InFlight, commits().into_iter().map(committed).collect::<Vec<_>>()),
        (State::InDoubt, reads().into_iter().map(read_back).collect()),
        (State::Pending, reads().into_iter().map(read_back).collect()),
    ];
    for (state, events) in rows {
        for event in events {
            let change = after(&row(state, 0, doubt(1, LATE)), &event).unwrap();
            let reason = change.cause.map(|cause| cause.to_string()).unwrap_or_default();
            assert_eq!(reason.is_empty(), change.to == State::Submitted, "{state} {event:?}");
            assert!(!reason.contains(char::is_control), "{reason:?}");
        }
    }
}

#[test]
fn what_was_read_stays_on_a_row_that_is_held_or_given_up() {
    let status_refused = Evidence { last_commit: Some(OutcomeClass::StatusRefused), ..Evidence::none() };
    for (evidence, outcome, to) in [
        (doubt(0, LATE), seen(Some("SO1"), Some(99)), State::Held),
        (doubt(0, LATE), seen(Some("SO1"), Some(7)), State::Held),
        (doubt(0, LATE), seen(Some("SO1"), Some(13)), State::Held),
        (status_refused, seen(Some("SO1"), Some(7)), State::Failed),
    ] {
        let change = after_read(&row(State::InDoubt, 1, evidence), outcome.clone());
        assert_eq!((change.to, &change.order_id, change.status), (to, &outcome.order_id, outcome.status));
        assert_eq!((change.request_id, change.resolved_by), (outcome.request_id.clone(), None));
        assert!(change.cause.unwrap().to_string().contains(&outcome.describe()));
    }
    let unreadable = after_read(&row(State::InDoubt, 1, doubt(0, LATE)), refused(OutcomeClass::Failed));
    assert_eq!(unreadable.error, Some(error()));
    assert_eq!(unreadable.request_id.as_deref(), Some("r-1"));
}

#[test]
fn every_refusal_of_a_commit_leaves_its_code_and_its_request_id() {
    for outcome in commits().into_iter().chain([Outcome { error: Some(error()), ..lost() }]) {
        let (expected, request_id) = (outcome.error.clone(), outcome.request_id.clone());
        let submitted = outcome.class == OutcomeClass::Submitted;
        let change = after(&row(State::InFlight, 0, Evidence::none()), &committed(outcome)).unwrap();
        assert_eq!(change.error, expected);
        assert!(submitted || change.request_id == request_id);
    }
}
