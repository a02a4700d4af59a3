//! Which state follows which: the triggers allow what `State::may_become` allows, given the evidence.

use certcommit::submission::{OutcomeClass, RequestKind, State, effects};

use crate::outsider::{Outsider, UPDATES, moving};

const RESOLVERS: [&str; 3] = ["reply", "readback", "operator"];
const REFUSALS: [&str; 7] = [
    "a pending submission can become canceled",
    "a submission in flight is on its way",
    "a submission in doubt may have been placed",
    "a submitted submission is final",
    "a failed submission can become pending",
    "a held submission can become in_doubt",
    "a canceled submission can become pending",
];

/// Gives a row in this state the evidence that the transition needs.
async fn prepare(outsider: &mut Outsider, id: &str, from: State, to: State) {
    match (from, to) {
        (State::Pending, State::InFlight) => outsider.request(id, "commit").await,
        (State::InFlight, State::Submitted) => outsider.complete(id, "submitted").await,
        (State::InFlight, State::Pending) => outsider.complete(id, "retry").await,
        (State::InFlight, State::InDoubt) => outsider.complete(id, "in_doubt").await,
        (State::InFlight, _) => outsider.complete(id, "failed").await,
        (State::InDoubt, State::Pending) => {
            outsider.read(id, "not_committed").await;
            outsider.read(id, "not_committed").await;
        }
        (State::InDoubt, State::Failed) => outsider.read(id, "dead_end").await,
        (State::InDoubt, State::Submitted) => outsider.read(id, "committed").await,
        _ => {}
    }
}

fn resolver(from: State) -> &'static str {
    match from {
        State::InFlight => "reply",
        State::Held => "operator",
        State::Pending | State::InDoubt | State::Submitted | State::Failed | State::Canceled => "readback",
    }
}

#[tokio::test]
async fn the_triggers_allow_what_the_table_of_states_allows() {
    let mut outsider = Outsider::new().await;
    for from in State::ALL {
        for to in State::ALL {
            let id = format!("{from}-{to}");
            outsider.in_state(&id, from).await;
            prepare(&mut outsider, &id, from, to).await;
            if from == to {
                outsider.must(&format!("UPDATE submissions SET state = '{to}' WHERE certificate_id = '{id}'")).await;
                continue;
            }
            let before = outsider.dump().await;
            let result = outsider.shift(&id, to, resolver(from)).await;
            assert_eq!(result.is_ok(), from.may_become(to), "{from} to {to}: {result:?}");
            let reached = if from.may_become(to) { to } else { from };
            assert_eq!(outsider.state(&id).await, reached.as_str());
            if !from.may_become(to) {
                assert_eq!(before, outsider.dump().await, "{from} to {to}");
            }
        }
    }
    outsider.check_counts().await;
}

#[tokio::test]
async fn forbidden_transitions_are_refused_for_every_kind_of_update() {
    let mut outsider = Outsider::with_every_state().await;
    for (from, fragment) in State::ALL.into_iter().zip(REFUSALS) {
        for to in State::ALL.into_iter().filter(|to| *to != from && !from.may_become(*to)) {
            for update in UPDATES {
                for resolved_by in RESOLVERS {
                    let sql = moving(from.as_str(), to, resolved_by).replacen("UPDATE", update, 1);
                    outsider.refused(&sql, fragment).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_state_is_refused() {
    let mut outsider = Outsider::with_every_state().await;
    for from in State::ALL {
        for update in UPDATES {
            for wrong in
                ["NULL", "''", "'done'", "'Pending'", "'pending '", "x'70656e64696e67'", "1", "'pending' || char(0)"]
            {
                let sql = format!("{update} submissions SET state = {wrong} WHERE certificate_id = '{from}'");
                outsider.refused(&sql, "state must be pending, in_flight, in_doubt").await;
            }
        }
    }
}

#[tokio::test]
async fn nobody_claims_without_a_commit_on_record() {
    let mut outsider = Outsider::with_every_state().await;
    let fragment = "becomes in_flight only when certcommit claims it";
    outsider.refused(&moving("pending", State::InFlight, ""), fragment).await;
    outsider.request("pending", "read").await;
    outsider.refused(&moving("pending", State::InFlight, ""), fragment).await;
    outsider.complete("pending", "not_committed").await;
    outsider.refused(&moving("pending", State::InFlight, ""), fragment).await;
    outsider.request("pending", "commit").await;
    outsider.complete("pending", "not_sent").await;
    outsider.refused(&moving("pending", State::InFlight, ""), fragment).await;
}

#[tokio::test]
async fn a_row_in_flight_waits_for_its_outcome() {
    let mut outsider = Outsider::new().await;
    outsider.in_state("row", State::InFlight).await;
    for to in [State::Submitted, State::Failed, State::Pending, State::InDoubt] {
        outsider.refused(&moving("row", to, "reply"), "wait for its outcome").await;
    }
}

#[tokio::test]
async fn the_outcome_decides_where_a_row_in_flight_may_go() {
    let mut outsider = Outsider::new().await;
    for class in OutcomeClass::of_kind(RequestKind::Commit) {
        let allowed: &[State] = match class {
            OutcomeClass::Submitted => &[State::Submitted],
            OutcomeClass::Retry | OutcomeClass::BackendError => &[State::Pending, State::InDoubt],
            OutcomeClass::Throttled | OutcomeClass::Account | OutcomeClass::NotSent => &[State::Pending],
            OutcomeClass::Denied | OutcomeClass::Failed => &[State::Failed],
            OutcomeClass::StatusRefused | OutcomeClass::InDoubt => &[State::InDoubt],
            OutcomeClass::Committed
            | OutcomeClass::NotCommitted
            | OutcomeClass::DeadEnd
            | OutcomeClass::Unclear
            | OutcomeClass::Early => unreachable!("a commit never has {class:?}"),
        };
        for to in State::ALL.into_iter().filter(|to| *to != State::InFlight) {
            let id = format!("{}-{to}", class.as_str());
            outsider.enqueue(&id).await;
            outsider.commit(&id, class.as_str()).await;
            let result = outsider.shift(&id, to, "reply").await;
            assert_eq!(result.is_ok(), allowed.contains(&to), "{} to {to}: {result:?}", class.as_str());
        }
    }
}

#[tokio::test]
async fn only_the_newest_commit_decides_on_a_row_in_flight() {
    let mut outsider = Outsider::new().await;
    outsider.enqueue("row").await;
    outsider.commit("row", "retry").await;
    outsider.shift("row", State::Pending, "").await.unwrap();
    outsider.read("row", "not_committed").await;
    outsider.claim("row").await;
    for to in [State::Submitted, State::Failed, State::Pending, State::InDoubt] {
        outsider.refused(&moving("row", to, "reply"), "wait for its outcome").await;
    }
}

#[tokio::test]
async fn the_readbacks_decide_where_a_row_in_doubt_may_go() {
    let mut outsider = Outsider::new().await;
    for class in OutcomeClass::of_kind(RequestKind::Readback) {
        let allowed: &[State] = match class {
            OutcomeClass::Committed => &[State::Submitted, State::Failed, State::Held],
            OutcomeClass::NotCommitted | OutcomeClass::DeadEnd | OutcomeClass::Failed => &[State::Failed, State::Held],
            OutcomeClass::Unclear
            | OutcomeClass::Early
            | OutcomeClass::Retry
            | OutcomeClass::Throttled
            | OutcomeClass::Account
            | OutcomeClass::Denied
            | OutcomeClass::NotSent => &[State::Held],
            OutcomeClass::Submitted
            | OutcomeClass::BackendError
            | OutcomeClass::StatusRefused
            | OutcomeClass::InDoubt => unreachable!("a readback never has {class:?}"),
        };
        for to in State::ALL.into_iter().filter(|to| *to != State::InDoubt) {
            let id = format!("{}-{to}", class.as_str());
            outsider.in_state(&id, State::InDoubt).await;
            outsider.read(&id, class.as_str()).await;
            let result = outsider.shift(&id, to, "readback").await;
            assert_eq!(result.is_ok(), allowed.contains(&to), "{} to {to}: {result:?}", class.as_str());
        }
    }
}

#[tokio::test]
async fn a_row_in_doubt_is_sent_again_after_two_negative_reads_since_its_commit() {
    let mut outsider = Outsider::new().await;
    let fragment = "only after two reads that found nothing submitted";
    outsider.enqueue("row").await;
    outsider.read("row", "not_committed").await;
    outsider.read("row", "not_committed").await;
    outsider.commit("row", "in_doubt").await;
    outsider.shift("row", State::InDoubt, "").await.unwrap();
    outsider.refused(&moving("row", State::Pending, ""), fragment).await;
    outsider.read("row", "not_committed").await;
    outsider.refused(&moving("row", State::Pending, ""), fragment).await;
    outsider.read("row", "retry").await;
    outsider.request("row", "read").await;
    outsider.refused(&moving("row", State::Pending, ""), fragment).await;
    outsider.complete("row", "not_committed").await;
    outsider.shift("row", State::Pending, "").await.unwrap();
}

#[tokio::test]
async fn a_readback_with_any_other_answer_voids_the_negative_ones_before_it() {
    let mut outsider = Outsider::new().await;
    for class in ["dead_end", "unclear", "failed"] {
        outsider.in_state(class, State::InDoubt).await;
        for outcome in ["not_committed", "not_committed", class, "not_committed"] {
            outsider.read(class, outcome).await;
        }
        outsider.refused(&moving(class, State::Pending, ""), "only after two reads that found nothing submitted").await;
        outsider.read(class, "not_committed").await;
        outsider.shift(class, State::Pending, "").await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_that_was_not_executed_does_not_void_the_readbacks_before_it() {
    let mut outsider = Outsider::new().await;
    outsider.in_state("row", State::InDoubt).await;
    outsider.read("row", "not_committed").await;
    outsider.read("row", "not_committed").await;
    for class in ["throttled", "account", "not_sent"] {
        outsider.shift("row", State::Pending, "").await.unwrap();
        outsider.commit("row", class).await;
        outsider.shift("row", State::Pending, "").await.unwrap();
        outsider.shift("row", State::InDoubt, "").await.unwrap();
    }
}

#[tokio::test]
async fn nothing_that_may_have_been_placed_is_claimed_again_unread() {
    let mut outsider = Outsider::new().await;
    for class in OutcomeClass::of_kind(RequestKind::Commit) {
        let id = class.as_str();
        outsider.enqueue(id).await;
        outsider.request(id, "commit").await;
        outsider.complete(id, class.as_str()).await;
        outsider.request(id, "commit").await;
        let claimed = outsider.shift(id, State::InFlight, "").await;
        assert_eq!(
            claimed.is_ok(),
            effects(RequestKind::Commit, *class).readbacks_to_disprove == 0,
            "{id}: {claimed:?}"
        );
        outsider.complete(id, "not_sent").await;
        if *class == OutcomeClass::Submitted || effects(RequestKind::Commit, *class).readbacks_to_disprove == 0 {
            continue;
        }
        for _ in 0..effects(RequestKind::Commit, *class).readbacks_to_disprove {
            outsider.request(id, "commit").await;
            outsider.refused(&moving(id, State::InFlight, ""), "only after it was read").await;
            outsider.complete(id, "not_sent").await;
            outsider.read(id, "not_committed").await;
        }
        outsider.claim(id).await;
    }
}

#[tokio::test]
async fn a_certificate_with_an_order_on_record_is_never_claimed() {
    let mut outsider = Outsider::new().await;
    for (id, kind, outcome) in [("committed", "read", "committed"), ("submitted", "commit", "submitted")] {
        outsider.enqueue(id).await;
        outsider.request(id, kind).await;
        outsider.complete(id, outcome).await;
        outsider.read(id, "not_committed").await;
        outsider.request(id, "commit").await;
        outsider.refused(&moving(id, State::InFlight, ""), "its order is placed").await;
    }
}

#[tokio::test]
async fn a_due_time_that_a_user_set_survives_a_readback() {
    let mut outsider = Outsider::new().await;
    for through in ["in_doubt", "held"] {
        let insert = format!("INSERT INTO submissions (certificate_id, due_at) VALUES ('{through}', 9000000000)");
        outsider.must(&insert).await;
        outsider
            .must(&format!("UPDATE submissions SET state = 'in_doubt', due_at = 1 WHERE certificate_id = '{through}'"))
            .await;
        outsider.read(through, "not_committed").await;
        outsider.read(through, "not_committed").await;
        if through == "held" {
            outsider.shift(through, State::Held, "").await.unwrap();
        }
        outsider.shift(through, State::Pending, "").await.unwrap();
        let row = format!("SELECT due_at, not_before FROM submissions WHERE certificate_id = '{through}'");
        assert_eq!(outsider.one(&row).await, "9000000000|NULL");
    }
}

#[tokio::test]
async fn a_readback_before_the_commit_proves_nothing_about_it() {
    let mut outsider = Outsider::new().await;
    outsider.enqueue("row").await;
    outsider.read("row", "dead_end").await;
    outsider.commit("row", "in_doubt").await;
    outsider.shift("row", State::InDoubt, "").await.unwrap();
    for to in [State::Submitted, State::Failed] {
        outsider.refused(&moving("row", to, "readback"), "only by what was read back").await;
    }
}

#[tokio::test]
async fn a_submitted_row_needs_an_order_and_who_established_it() {
    let mut outsider = Outsider::with_every_state().await;
    outsider.complete("in_flight", "submitted").await;
    outsider.read("in_doubt", "committed").await;
    let fragment = "only with its order_id and with who established it";
    for (id, right) in [("in_flight", "reply"), ("in_doubt", "readback"), ("held", "operator")] {
        for wrong in ["reply", "readback", "operator"] {
            if (right == "operator") != (wrong == "operator") {
                outsider.refused(&moving(id, State::Submitted, wrong), fragment).await;
            }
        }
        for set in [
            format!("resolved_by = '{right}', order_id = NULL"),
            format!("resolved_by = '{right}', order_id = ''"),
            format!("resolved_by = '{right}', order_id = printf('%.129c', 'S')"),
            "resolved_by = NULL, order_id = 'SO1'".to_owned(),
        ] {
            let sql = format!("UPDATE submissions SET state = 'submitted', {set} WHERE certificate_id = '{id}'");
            outsider.refused(&sql, fragment).await;
        }
        for wrong in ["'me'", "''", "1", "x'7265706c79'"] {
            let sql = moving(id, State::Submitted, "?").replace("'?'", wrong);
            outsider.refused(&sql, "resolved_by must be reply, readback or operator").await;
        }
        outsider.shift(id, State::Submitted, right).await.unwrap();
    }
}
