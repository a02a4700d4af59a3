//! The state machine as a table: every state with every event.

use std::time::Duration;

use super::*;
use crate::cause::{ApiError, RowCause};

mod kept;

const POLICY: Policy = Policy {
    retry: RetryPolicy { max_tries: 3, initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(300) },
    verify: VerifyPolicy { settle: Duration::from_secs(60), resend_after: Duration::from_secs(600) },
};
const LATE: Duration = Duration::from_secs(600);

fn error() -> ApiError {
    ApiError::new("Some.Code", "words", Some("r-1"))
}

fn refused(class: OutcomeClass) -> Outcome {
    Outcome::refused(class, error())
}

fn lost() -> Outcome {
    Outcome::unknown(RequestKind::Commit, "cut".into())
}

fn cut() -> Outcome {
    Outcome::unknown(RequestKind::Readback, "cut".into())
}

fn commits() -> Vec<Outcome> {
    vec![
        Outcome::submitted("SO1".into(), 8, Some("r-1".into())),
        refused(OutcomeClass::Retry),
        refused(OutcomeClass::BackendError),
        refused(OutcomeClass::Throttled),
        refused(OutcomeClass::Account),
        refused(OutcomeClass::Denied),
        refused(OutcomeClass::Failed),
        refused(OutcomeClass::StatusRefused),
        Outcome::not_sent("refused".into()),
        lost(),
    ]
}

fn seen(order_id: Option<&str>, status: Option<i64>) -> Outcome {
    Outcome::shown(order_id.map(str::to_owned), status, Some("r-2".into()))
}

fn reads() -> Vec<Outcome> {
    vec![
        seen(Some("SO1"), Some(8)),
        seen(None, Some(13)),
        seen(None, Some(7)),
        seen(Some("SO1"), Some(99)),
        cut(),
        refused(OutcomeClass::Throttled),
        refused(OutcomeClass::Account),
        refused(OutcomeClass::Denied),
        refused(OutcomeClass::Failed),
        Outcome::not_sent("refused".into()),
    ]
}

fn row(state: State, tries: u32, evidence: Evidence) -> Row {
    Row { state, tries, is_probe: false, evidence }
}

fn doubt(negative_readbacks: u32, age: Duration) -> Evidence {
    let last_commit = Some(OutcomeClass::InDoubt);
    Evidence { last_commit, age, negative_readbacks, readbacks: negative_readbacks, ..Evidence::none() }
}

/// The evidence right after a commit that ended like this, so long ago.
fn commit(class: OutcomeClass, age: Duration) -> Evidence {
    Evidence::none().with_commit(class, age)
}

/// What happens to a request, of the kind that it is.
type Happening = (RequestKind, Event);

fn committed(outcome: Outcome) -> Happening {
    (RequestKind::Commit, Event::Ended(outcome))
}

fn read_back(outcome: Outcome) -> Happening {
    (RequestKind::Readback, Event::Ended(outcome))
}

fn returned() -> Happening {
    (RequestKind::Commit, Event::Returned(RowCause::PausedUnsent))
}

fn interrupted() -> Happening {
    (RequestKind::Commit, Event::Interrupted)
}

fn after(row: &Row, (kind, event): &Happening) -> Option<Change> {
    next_state(row, *kind, event, &POLICY, 1.0)
}

fn after_read(row: &Row, outcome: Outcome) -> Change {
    after(row, &read_back(outcome)).unwrap()
}

#[test]
fn every_commit_takes_a_row_in_flight_where_the_contract_says() {
    use State::{Failed, InDoubt, Pending, Submitted};
    let first = [Submitted, Pending, Pending, Pending, Pending, Failed, Failed, InDoubt, Pending, InDoubt];
    let last = [Submitted, InDoubt, InDoubt, Pending, Pending, Failed, Failed, InDoubt, Pending, InDoubt];
    let outcomes = |tries: u32| -> Vec<State> {
        let row = row(State::InFlight, tries, Evidence::none());
        commits().into_iter().map(|outcome| after(&row, &committed(outcome)).unwrap().to).collect()
    };
    assert_eq!(outcomes(0), first);
    assert_eq!(outcomes(1), first);
    assert_eq!(outcomes(2), last, "the third of three tries");
}

#[test]
fn a_probe_that_meets_the_fault_spends_no_try_and_is_never_the_last() {
    let probe = |tries| Row { is_probe: true, ..row(State::InFlight, tries, Evidence::none()) };
    for class in [OutcomeClass::Retry, OutcomeClass::BackendError] {
        let change = after(&probe(2), &committed(refused(class))).unwrap();
        assert_eq!((change.to, change.spends_try, change.cause), (State::Pending, false, Some(RowCause::ProbeFailed)));
    }
    let doubtful = after(&probe(2), &committed(lost())).unwrap();
    assert_eq!((doubtful.to, doubtful.spends_try), (State::InDoubt, false));
    let placed = after(&probe(2), &committed(Outcome::submitted("SO1".into(), 8, None))).unwrap();
    assert_eq!((placed.to, placed.spends_try), (State::Submitted, true));
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
    let expected = [InDoubt, Pending, InDoubt, InDoubt, Pending, Pending, Pending, Pending, InDoubt, Pending];
    for class in [OutcomeClass::Retry, OutcomeClass::BackendError, OutcomeClass::Denied, OutcomeClass::Failed] {
        let row = row(State::Pending, 1, commit(class, POLICY.verify.settle));
        let outcomes: Vec<State> = reads().into_iter().map(|outcome| after_read(&row, outcome).to).collect();
        assert_eq!(outcomes, expected, "{class:?}");
    }
}

#[test]
fn a_pending_row_is_sent_again_only_when_a_read_disproves_its_last_commit() {
    let read = |evidence: Evidence| {
        let change = after_read(&row(State::Pending, 0, evidence), seen(None, Some(13)));
        (change.to, change.due_in.as_secs())
    };
    let early = Duration::from_secs(1);
    assert_eq!(
        read(commit(OutcomeClass::Retry, early)),
        (State::Pending, 0),
        "the server says that nothing was placed"
    );
    assert_eq!(read(commit(OutcomeClass::BackendError, early)), (State::InDoubt, 59), "an order may not show yet");
    assert_eq!(read(commit(OutcomeClass::InDoubt, LATE)), (State::InDoubt, 0), "one read of two");
    assert_eq!(read(doubt(1, LATE)), (State::Pending, 0));
    assert_eq!(read(doubt(1, LATE / 2)), (State::InDoubt, 300), "it may be executed still");
    assert_eq!(read(Evidence { placed: true, ..doubt(2, LATE) }).0, State::InDoubt, "its order is on record");
}

#[test]
fn a_row_whose_order_is_on_record_is_held_where_a_read_shows_none() {
    let evidence = Evidence { placed: true, ..doubt(1, LATE) };
    assert_eq!(after_read(&row(State::InDoubt, 1, evidence.clone()), seen(None, Some(13))).to, State::Held);
    assert_eq!(after_read(&row(State::InDoubt, 1, evidence), seen(Some("SO1"), Some(8))).to, State::Submitted);
}

#[test]
fn what_leads_nowhere_fails_a_row_whose_commit_was_refused_and_holds_one_that_may_have_been_placed() {
    use OutcomeClass::{BackendError, Denied, Failed, InDoubt, Retry, StatusRefused, Submitted};
    let after_both = |evidence: Evidence| {
        let row = row(State::InDoubt, 0, evidence);
        [seen(None, Some(7)), refused(OutcomeClass::Failed)].map(|outcome| after_read(&row, outcome).to)
    };
    let (fails, holds) = (State::Failed, State::Held);
    let expected = [
        (Denied, [fails, fails]),
        (Failed, [fails, fails]),
        (StatusRefused, [fails, holds]),
        (Retry, [holds, holds]),
        (InDoubt, [holds, holds]),
        (BackendError, [holds, holds]),
        (Submitted, [holds, holds]),
    ];
    for (class, states) in expected {
        assert_eq!(after_both(commit(class, LATE)), states, "{class:?}");
        let earlier = Evidence { earlier_in_doubt: true, ..commit(class, LATE) };
        assert_eq!(after_both(earlier), [holds, holds], "{class:?} after another in doubt");
    }
}

#[test]
fn no_other_event_moves_a_row() {
    let everything: Vec<Happening> = commits()
        .into_iter()
        .map(committed)
        .chain(reads().into_iter().map(read_back))
        .chain([returned(), interrupted()])
        .collect();
    for state in State::ALL {
        for event in &everything {
            let concerns = match event.0 {
                RequestKind::Commit => state == State::InFlight,
                RequestKind::Readback => matches!(state, State::InDoubt | State::Pending),
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
    for (tries, outcome) in [0, 2].into_iter().flat_map(|tries| commits().into_iter().map(move |o| (tries, o))) {
        let class = outcome.class;
        let change = after(&row(State::InFlight, tries, Evidence::none()), &committed(outcome)).unwrap();
        assert_eq!(change.spends_try, effects(RequestKind::Commit, class).spends_try, "{class:?} after {tries}");
    }
    let row = row(State::InFlight, 0, Evidence::none());
    assert!(after(&row, &interrupted()).unwrap().spends_try);
    assert!(!after(&row, &returned()).unwrap().spends_try);
}

#[test]
fn a_row_that_was_set_to_pending_by_hand_is_not_failed_for_the_refusal_of_before() {
    let evidence = Evidence { negative_readbacks: 1, ..commit(OutcomeClass::StatusRefused, LATE) };
    assert_eq!(after_read(&row(State::InDoubt, 0, evidence), seen(None, Some(13))).to, State::Pending);
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
fn a_retry_waits_longer_each_time() {
    let wait = |tries, outcome| {
        after(&row(State::InFlight, tries, Evidence::none()), &committed(outcome)).unwrap().due_in.as_secs()
    };
    for outcome in [refused(OutcomeClass::Retry), Outcome::not_sent("refused".into())] {
        assert_eq!([0, 1].map(|tries| wait(tries, outcome.clone())), [1, 2], "{outcome:?}");
    }
    let unsent = || Outcome::not_sent("refused".into());
    assert_eq!([2, 20].map(|tries| wait(tries, unsent())), [4, 300], "what was never sent is never given up");
}

#[test]
fn a_row_in_doubt_is_read_at_once_and_after_settling_and_again_when_it_may_be_resent() {
    let in_flight = row(State::InFlight, 0, Evidence::none());
    for event in [committed(lost()), interrupted()] {
        assert_eq!(after(&in_flight, &event).unwrap().due_in, Duration::ZERO);
    }
    let early = after_read(&row(State::InDoubt, 1, doubt(0, Duration::from_secs(1))), seen(None, Some(13)));
    assert_eq!(early.due_in, Duration::from_secs(59));
    let last = row(State::InFlight, 2, Evidence::none());
    let backend = after(&last, &committed(refused(OutcomeClass::BackendError))).unwrap();
    assert_eq!(backend.due_in, POLICY.verify.settle);
    let first = after_read(&row(State::InDoubt, 1, doubt(0, Duration::from_secs(60))), seen(None, Some(13)));
    assert_eq!(first.due_in, Duration::from_secs(540));
}

#[test]
fn before_a_commit_has_settled_a_readback_decides_nothing_unless_it_shows_the_order() {
    for class in [OutcomeClass::InDoubt, OutcomeClass::BackendError] {
        let row = row(State::InDoubt, 3, commit(class, Duration::from_secs(1)));
        for outcome in reads() {
            let change = after_read(&row, outcome.clone());
            let has_order = outcome.class == OutcomeClass::Committed;
            let later = (State::InDoubt, Duration::from_secs(59));
            let expected = if has_order { (State::Submitted, Duration::ZERO) } else { later };
            assert_eq!((change.to, change.due_in), expected, "{outcome:?}");
        }
    }
}

#[test]
fn a_commit_refused_for_its_status_is_read_at_once_and_decided_by_what_is_read() {
    let in_flight = row(State::InFlight, 0, Evidence::none());
    let refused = after(&in_flight, &committed(refused(OutcomeClass::StatusRefused))).unwrap();
    assert_eq!((refused.to, refused.due_in), (State::InDoubt, Duration::ZERO));
    let evidence = Evidence { last_commit: Some(OutcomeClass::StatusRefused), ..Evidence::none() };
    let read = |earlier_in_doubt, outcome| {
        after_read(&row(State::InDoubt, 1, Evidence { earlier_in_doubt, ..evidence.clone() }), outcome)
    };
    assert_eq!(read(false, seen(Some("SO1"), Some(8))).to, State::Submitted);
    let failed = read(false, seen(None, Some(7)));
    assert_eq!((failed.to, failed.status), (State::Failed, Some(7)));
    assert_eq!(read(false, seen(None, Some(99))).to, State::Held);
    assert_eq!(read(true, seen(None, Some(7))).to, State::Held, "an earlier commit is not disproved");
}

#[test]
fn a_row_out_of_tries_is_given_up_after_one_read_that_shows_no_order() {
    for class in [OutcomeClass::BackendError, OutcomeClass::Retry] {
        let change = after_read(&row(State::InDoubt, 3, commit(class, POLICY.verify.settle)), seen(None, Some(13)));
        assert_eq!(change.to, State::Failed, "{class:?}");
    }
    let early = commit(OutcomeClass::BackendError, POLICY.verify.settle / 2);
    assert_eq!(after_read(&row(State::InDoubt, 3, early), seen(None, Some(13))).to, State::InDoubt);
}

/// A state as one letter; a dot where the event doesn't concern the row.
fn letter(change: Option<&Change>) -> char {
    match change.map(|change| change.to) {
        None => '.',
        Some(State::Pending) => 'P',
        Some(State::InFlight) => 'F',
        Some(State::InDoubt) => 'D',
        Some(State::Submitted) => 'S',
        Some(State::Failed) => 'X',
        Some(State::Held) => 'H',
        Some(State::Canceled) => 'C',
    }
}

fn events() -> Vec<Happening> {
    let commits = commits().into_iter().map(committed);
    let others = [returned(), interrupted()];
    commits.chain(reads().into_iter().map(read_back)).chain(others).collect()
}

#[test]
fn every_state_meets_every_event_as_in_this_table() {
    let letters = |state: State, tries: u32, evidence: Evidence| -> String {
        let row = row(state, tries, evidence);
        events().iter().map(|event| letter(after(&row, event).as_ref())).collect()
    };
    // Ten commits, ten reads, given back unsent, interrupted: in the order of `events`.
    let table = [
        (State::Pending, 0, Evidence::none(), "..........DPDDPPPPDP.."),
        (State::InFlight, 0, Evidence::none(), "SPPPPXXDPD..........PD"),
        (State::InFlight, 2, Evidence::none(), "SDDPPXXDPD..........PD"),
        (State::InFlight, 3, Evidence::none(), "SDDPPXXDPD..........PD"),
        (State::InDoubt, 1, doubt(0, LATE), "..........SDHHDDDDHD.."),
        (State::InDoubt, 1, doubt(1, LATE - Duration::from_millis(1)), "..........SDHHDDDDHD.."),
        (State::InDoubt, 1, doubt(1, LATE), "..........SPHHDDDDHD.."),
        (State::InDoubt, 3, doubt(0, LATE), "..........SDHHDDDDHD.."),
        (State::InDoubt, 3, doubt(1, LATE / 2), "..........SDHHDDDDHD.."),
        (State::InDoubt, 3, doubt(1, LATE), "..........SXHHDDDDHD.."),
        (State::InDoubt, 1, Evidence::none(), "..........SDHHDDDDHD.."),
        (State::Submitted, 1, doubt(1, LATE), "......................"),
        (State::Failed, 1, doubt(1, LATE), "......................"),
        (State::Held, 1, doubt(1, LATE), "......................"),
        (State::Canceled, 0, doubt(1, LATE), "......................"),
    ];
    for (state, tries, evidence, expected) in table {
        assert_eq!(letters(state, tries, evidence.clone()), expected, "{state}, {tries} tries, {evidence:?}");
    }
}

#[test]
fn a_row_in_doubt_goes_where_the_status_that_is_read_says() {
    let row = row(State::InDoubt, 1, doubt(1, LATE));
    let letters = |order_id: Option<&str>| -> String {
        let outcomes = (-1..=16).map(Some).chain([None]).map(|status| seen(order_id, status));
        outcomes.map(|outcome| letter(Some(&after_read(&row, outcome)))).collect()
    };
    // Status -1 to 16, and none.
    assert_eq!(letters(Some("SO1")), "HSSHHSHHHSHHSSHHHHH");
    assert_eq!(letters(None), "HHHHHHPHHHHHHHPHHHH");
}

#[test]
fn tries_that_are_spent_do_not_shorten_the_protocol_of_a_row_in_doubt() {
    let read = |negative, age| after_read(&row(State::InDoubt, 3, doubt(negative, age)), seen(None, Some(13)));
    assert_eq!(
        (read(0, Duration::from_secs(60)).to, read(0, Duration::from_secs(60)).due_in),
        (State::InDoubt, LATE * 9 / 10)
    );
    assert_eq!((read(0, LATE).to, read(0, LATE).due_in), (State::InDoubt, Duration::ZERO));
    let given_up = read(1, LATE);
    assert_eq!((given_up.to, given_up.status), (State::Failed, Some(13)));
    assert!(matches!(given_up.cause, Some(RowCause::OutOfTries { tries: 3, .. })));
}

#[test]
fn a_refusal_for_the_status_that_a_reading_contradicts_is_read_again_after_settling_and_then_held() {
    for earlier_in_doubt in [false, true] {
        let read = |age| {
            let last_commit = Some(OutcomeClass::StatusRefused);
            let evidence = Evidence { last_commit, earlier_in_doubt, age, ..Evidence::none() };
            after_read(&row(State::InDoubt, 1, evidence), seen(None, Some(13)))
        };
        let (early, late) = (read(Duration::from_secs(1)), read(Duration::from_secs(60)));
        assert_eq!((early.to, early.due_in), (State::InDoubt, Duration::from_secs(59)), "the read may lag behind");
        assert_eq!((late.to, late.status), (State::Held, Some(13)));
    }
}

#[test]
fn every_earlier_commit_that_may_have_been_executed_counts_until_it_is_disproved() {
    let newest = OutcomeClass::StatusRefused;
    for class in OutcomeClass::of_kind(RequestKind::Commit) {
        let before = Evidence::none().with_commit(*class, LATE);
        let unread = before.with_commit(newest, LATE).earlier_in_doubt;
        assert_eq!(unread, effects(RequestKind::Commit, *class).readbacks_to_disprove > 0, "{class:?}");
        let negative = |before: Evidence, _| before.with_readback(OutcomeClass::NotCommitted, LATE, &POLICY.verify);
        let read = (0..effects(RequestKind::Commit, *class).readbacks_to_disprove).fold(before, negative);
        assert!(!read.with_commit(newest, LATE).earlier_in_doubt, "{class:?}");
    }
}

#[test]
fn a_backend_error_is_read_before_its_next_try_no_earlier_than_an_order_has_had_time_to_show() {
    let change = after(&row(State::InFlight, 0, Evidence::none()), &committed(refused(OutcomeClass::BackendError)));
    assert_eq!(change.map(|change| (change.to, change.due_in)), Some((State::Pending, POLICY.verify.settle)));
}

#[test]
fn a_read_that_fails_for_passing_reasons_is_repeated_later_each_time() {
    let backend =
        |reads| Evidence { last_commit: Some(OutcomeClass::BackendError), readbacks: reads, ..Evidence::none() };
    let failing = [4, 5, 6, 9].map(|index| reads().swap_remove(index));
    for outcome in failing {
        let wait = |state, evidence| after_read(&row(state, 1, evidence), outcome.clone()).due_in.as_secs();
        let in_doubt = [0, 1, 2, 20].map(|reads| wait(State::InDoubt, Evidence { readbacks: reads, ..doubt(0, LATE) }));
        // The limiter of the reads makes one wait that came too fast.
        let throttled = outcome.class == OutcomeClass::Throttled;
        assert_eq!(in_doubt, if throttled { [0; 4] } else { [1, 2, 4, 300] }, "{outcome:?}");
        let pending = [0, 1, 2, 20].map(|reads| wait(State::Pending, backend(reads)));
        assert_eq!(pending, [1, 2, 4, 300], "{outcome:?}");
    }
}
