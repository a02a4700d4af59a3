//! What stays on the row of what the server said.

use super::*;

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

#[test]
fn what_was_read_stays_on_a_row_that_is_held_or_given_up() {
    let refused = Evidence { last_commit: Some(CommitClass::StatusRefused), ..Evidence::none() };
    for (evidence, outcome, to) in [
        (doubt(0, LATE), seen(Some("SO1"), Some(99)), State::Held),
        (doubt(0, LATE), seen(Some("SO1"), Some(7)), State::Held),
        (doubt(0, LATE), seen(Some("SO1"), Some(13)), State::Held),
        (refused, seen(Some("SO1"), Some(7)), State::Failed),
    ] {
        let change = after_read(&row(State::InDoubt, 1, evidence), outcome.clone());
        let ReadOutcome::Seen(reading) = outcome else { unreachable!() };
        assert_eq!((change.to, &change.order_id, change.status), (to, &reading.order_id, reading.status));
        assert_eq!((change.request_id, change.resolved_by), (reading.request_id.clone(), None));
        assert!(change.reason.unwrap().contains(&reading.describe()));
    }
    let unreadable = after_read(&row(State::InDoubt, 1, doubt(0, LATE)), ReadOutcome::Failed(refusal()));
    assert_eq!(unreadable.error, Some(("Some.Code".into(), "words".into())));
    assert_eq!(unreadable.request_id.as_deref(), Some("r-1"));
}

#[test]
fn every_refusal_of_a_commit_leaves_its_code_and_its_request_id() {
    for outcome in commits().into_iter().chain([CommitOutcome::InDoubt { why: "500".into(), refusal: Some(refusal()) }])
    {
        let expected = outcome.refusal().map(|refusal| (refusal.code.clone(), refusal.message.clone()));
        let request_id = outcome.refusal().and_then(|refusal| refusal.request_id.clone());
        let submitted = outcome.class() == CommitClass::Submitted;
        let change = after(&row(State::InFlight, 0, Evidence::none()), &Event::Commit(outcome)).unwrap();
        assert_eq!(change.error, expected);
        assert!(submitted || change.request_id == request_id);
    }
}
