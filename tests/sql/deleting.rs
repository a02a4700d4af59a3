//! What may be deleted, and what may be enqueued again afterwards.

use certcommit::submission::State;

use crate::outsider::{INSERTS, Outsider};

const PLACED: &str = "this certificate was committed before, and its order is placed";

async fn enqueueing_again_is_refused(outsider: &mut Outsider, id: &str, fragment: &str) {
    for insert in INSERTS {
        outsider.refused(&format!("{insert} INTO submissions (certificate_id) VALUES ('{id}')"), fragment).await;
        outsider
            .refused(&format!("{insert} INTO submissions (certificate_id) VALUES ('new'), ('{id}')"), fragment)
            .await;
    }
}

#[tokio::test]
async fn a_row_in_flight_or_in_doubt_cannot_be_deleted() {
    let mut outsider = Outsider::with_every_state().await;
    for state in ["in_flight", "in_doubt"] {
        let sql = format!("DELETE FROM submissions WHERE certificate_id = '{state}'");
        outsider.refused(&sql, "a submission in flight or in doubt can not be deleted").await;
    }
    outsider.refused("DELETE FROM submissions", "can not be deleted").await;
    assert_eq!(outsider.must("DELETE FROM submissions WHERE state NOT IN ('in_flight', 'in_doubt')").await, 5);
    outsider.check_counts().await;
}

#[tokio::test]
async fn a_submitted_row_can_be_deleted_but_not_enqueued_again() {
    let mut outsider = Outsider::new().await;
    outsider.in_state("row", State::Submitted).await;
    outsider.must("DELETE FROM submissions").await;
    enqueueing_again_is_refused(&mut outsider, "row", PLACED).await;
}

#[tokio::test]
async fn a_certificate_whose_order_was_read_back_cannot_be_enqueued_again() {
    let mut outsider = Outsider::new().await;
    outsider.in_state("row", State::InDoubt).await;
    outsider.read("row", "committed").await;
    outsider.shift("row", State::Submitted, "readback").await.unwrap();
    outsider.must("DELETE FROM submissions").await;
    enqueueing_again_is_refused(&mut outsider, "row", PLACED).await;
}

#[tokio::test]
async fn a_certificate_whose_order_an_operator_found_cannot_be_enqueued_again() {
    let mut outsider = Outsider::new().await;
    outsider.in_state("row", State::Held).await;
    outsider.shift("row", State::Submitted, "operator").await.unwrap();
    outsider.must("DELETE FROM submissions").await;
    enqueueing_again_is_refused(&mut outsider, "row", "an operator found its order placed").await;
    let evidence = "an order that an operator established is evidence";
    outsider.refused("DELETE FROM resolutions", evidence).await;
    outsider.refused("UPDATE resolutions SET order_id = 'SO2'", evidence).await;
    let foreign = "INSERT INTO resolutions (certificate_id, order_id, resolved_at) VALUES ('other', 'SO1', 1)";
    outsider.refused(foreign, "resolutions are written by the queue").await;
}

#[tokio::test]
async fn an_unresolved_row_that_is_enqueued_again_is_not_sent_before_readbacks_have_resolved_it() {
    let mut outsider = Outsider::new().await;
    for (id, outcome) in [("in_doubt", "in_doubt"), ("refused", "status_refused")] {
        outsider.enqueue(id).await;
        outsider.commit(id, outcome).await;
        outsider.shift(id, State::InDoubt, "").await.unwrap();
        outsider.shift(id, State::Held, "").await.unwrap();
        outsider.must("DELETE FROM submissions").await;
        outsider.enqueue(id).await;
        let claim = format!("UPDATE submissions SET state = 'in_flight' WHERE certificate_id = '{id}'");
        for _ in 0..2 {
            outsider.request(id, "commit").await;
            outsider.refused(&claim, "only after it was read").await;
            outsider.complete(id, "not_sent").await;
            outsider.read(id, "not_committed").await;
        }
        outsider.claim(id).await;
        outsider.complete(id, "not_sent").await;
        outsider.shift(id, State::Pending, "").await.unwrap();
        outsider.must("DELETE FROM submissions").await;
    }
}

#[tokio::test]
async fn a_certificate_with_a_request_in_flight_cannot_be_enqueued_again() {
    let mut outsider = Outsider::new().await;
    outsider.enqueue("row").await;
    outsider.request("row", "commit").await;
    outsider.must("DELETE FROM submissions").await;
    enqueueing_again_is_refused(&mut outsider, "row", "still on its way").await;
}

#[tokio::test]
async fn rows_that_placed_nothing_can_be_deleted_and_enqueued_again() {
    let mut outsider = Outsider::with_every_state().await;
    for id in ["pending", "failed", "canceled"] {
        outsider.must(&format!("DELETE FROM submissions WHERE certificate_id = '{id}'")).await;
        outsider.enqueue(id).await;
        assert_eq!(outsider.state(id).await, "pending");
    }
    outsider.check_counts().await;
}

#[tokio::test]
async fn the_record_outlives_its_submission() {
    let mut outsider = Outsider::new().await;
    outsider.in_state("row", State::Failed).await;
    outsider.must("DELETE FROM submissions").await;
    assert_eq!(outsider.one("SELECT certificate_id, kind, outcome FROM requests").await, "row|commit|failed");
}

#[tokio::test]
async fn the_evidence_of_a_certificate_cannot_be_deleted() {
    let mut outsider = Outsider::new().await;
    let fragment =
        "the last commit of a certificate that may have been executed, and what came since, is evidence and stays";
    outsider.in_state("row", State::InDoubt).await;
    outsider.read("row", "not_committed").await;
    outsider.request("row", "read").await;
    for number in 1..=3 {
        outsider.refused(&format!("DELETE FROM requests WHERE number = {number}"), fragment).await;
    }
    outsider.refused("DELETE FROM requests", fragment).await;
    outsider.complete("row", "not_committed").await;
    outsider.shift("row", State::Held, "").await.unwrap();
    outsider.must("DELETE FROM submissions").await;
    outsider.refused("DELETE FROM requests", fragment).await;
    outsider.enqueue("never-committed").await;
    outsider.read("never-committed", "committed").await;
    outsider.refused("DELETE FROM requests WHERE certificate_id = 'never-committed'", fragment).await;
}

#[tokio::test]
async fn requests_older_than_the_last_commit_can_be_pruned() {
    let mut outsider = Outsider::new().await;
    outsider.enqueue("row").await;
    outsider.read("row", "not_committed").await;
    outsider.commit("row", "in_doubt").await;
    outsider.shift("row", State::InDoubt, "").await.unwrap();
    outsider.read("row", "not_committed").await;
    outsider.read("row", "not_committed").await;
    outsider.shift("row", State::Pending, "").await.unwrap();
    outsider.commit("row", "retry").await;
    outsider.shift("row", State::Pending, "").await.unwrap();
    outsider.read("row", "not_committed").await;
    outsider.commit("row", "throttled").await;
    outsider.shift("row", State::Pending, "").await.unwrap();
    assert_eq!(outsider.must("DELETE FROM requests WHERE number < 5").await, 4);
    for number in [5, 6, 7] {
        outsider.refused(&format!("DELETE FROM requests WHERE number = {number}"), "is evidence and stays").await;
    }
    assert_eq!(outsider.rows("SELECT number FROM requests ORDER BY number").await, ["5", "6", "7"]);
}

/// A certificate with these requests, and without an open submission.
async fn closed(requests: &[(&str, &str)]) -> Outsider {
    let mut outsider = Outsider::new().await;
    outsider.enqueue("row").await;
    for (kind, outcome) in requests {
        outsider.request("row", kind).await;
        outsider.complete("row", outcome).await;
    }
    outsider.must("UPDATE submissions SET state = 'canceled'").await;
    outsider
}

#[tokio::test]
async fn an_older_request_that_is_still_evidence_stays_with_all_that_came_after_it() {
    let last = ("commit", "failed");
    let cases = [
        (vec![("commit", "submitted"), last], "placed or found an order"),
        (vec![("read", "committed"), last], "placed or found an order"),
        (vec![("commit", "in_doubt"), ("read", "not_committed"), last], "not disproved by reads"),
        (
            vec![
                ("commit", "in_doubt"),
                ("commit", "retry"),
                ("read", "not_committed"),
                ("read", "not_committed"),
                last,
            ],
            "not disproved by reads",
        ),
        (vec![("commit", "backend_error"), ("read", "retry"), last], "not disproved by reads"),
        (vec![("commit", "retry"), ("read", "not_committed"), ("read", "unclear"), last], "not disproved by reads"),
    ];
    for (requests, fragment) in cases {
        let mut outsider = closed(&requests).await;
        outsider.refused("DELETE FROM requests WHERE number = 1", fragment).await;
        let fragment = if requests.len() > 2 { "the oldest has to be deleted first" } else { "the last commit" };
        outsider.refused("DELETE FROM requests WHERE number = 2", fragment).await;
    }
}

#[tokio::test]
async fn an_older_request_that_is_no_longer_evidence_can_be_deleted_once_it_is_the_oldest() {
    let last = ("commit", "failed");
    for requests in [
        vec![("commit", "in_doubt"), ("read", "not_committed"), ("read", "not_committed"), last],
        vec![("commit", "backend_error"), ("read", "denied"), ("read", "not_committed"), last],
        vec![("commit", "retry"), ("read", "not_committed"), ("commit", "throttled"), last],
        vec![("read", "unclear"), ("commit", "retry"), ("read", "not_committed"), last],
    ] {
        let mut outsider = closed(&requests).await;
        outsider.refused("DELETE FROM requests WHERE number = 2", "the oldest has to be deleted first").await;
        assert_eq!(outsider.must("DELETE FROM requests WHERE number < 4").await, 3, "{requests:?}");
    }
}

#[tokio::test]
async fn the_numbers_of_requests_never_restart() {
    let mut outsider = Outsider::new().await;
    outsider.in_state("row", State::Failed).await;
    outsider.must("UPDATE submissions SET state = 'pending'").await;
    outsider.read("row", "not_committed").await;
    outsider.commit("row", "failed").await;
    outsider.must("DELETE FROM requests WHERE number = 1").await;
    outsider.enqueue("other").await;
    outsider.read("other", "unclear").await;
    assert_eq!(outsider.rows("SELECT number FROM requests ORDER BY number").await, ["2", "3", "4"]);
}
