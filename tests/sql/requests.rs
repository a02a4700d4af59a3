//! The record of requests: written before sending, completed once.

use certcommit::submission::{OutcomeClass, RequestKind, State};

use crate::outsider::{INSERTS, Outsider, UPDATES};

fn request(insert: &str, id: &str, kind: &str) -> String {
    format!(
        "{insert} INTO requests (certificate_id, kind, run_id, run_ms, started_at) VALUES ({id}, {kind}, 'run', 0, 0)"
    )
}

#[tokio::test]
async fn only_pending_rows_and_rows_in_doubt_can_have_a_new_request() {
    let mut outsider = Outsider::with_every_state().await;
    let fragment = "requests are written by certcommit";
    for state in State::ALL {
        for kind in ["commit", "read"] {
            let allowed = state == State::Pending || (state == State::InDoubt && kind == "read");
            if allowed {
                outsider.request(state.as_str(), kind).await;
                outsider.complete(state.as_str(), "not_sent").await;
                continue;
            }
            for insert in INSERTS {
                outsider.refused(&request(insert, &format!("'{state}'"), &format!("'{kind}'")), fragment).await;
            }
        }
    }
    for insert in INSERTS {
        outsider.refused(&request(insert, "'unknown'", "'read'"), fragment).await;
        outsider.refused(&request(insert, "NULL", "'read'"), fragment).await;
        outsider.refused(&request(insert, "x'70656e64696e67'", "'read'"), fragment).await;
        for kind in ["''", "'write'", "'Commit'", "x'636f6d6d6974'", "1", "NULL"] {
            outsider.refused(&request(insert, "'pending'", kind), fragment).await;
        }
    }
}

#[tokio::test]
async fn a_certificate_has_at_most_one_request_in_flight() {
    let mut outsider = Outsider::with_every_state().await;
    outsider.request("pending", "read").await;
    for insert in INSERTS {
        for kind in ["'commit'", "'read'"] {
            outsider.refused(&request(insert, "'pending'", kind), "requests are written by certcommit").await;
        }
    }
}

#[tokio::test]
async fn a_request_is_written_unfinished() {
    let mut outsider = Outsider::with_every_state().await;
    for insert in INSERTS {
        for (columns, values) in
            [("finished_at", "1"), ("outcome", "'submitted'"), ("finished_at, outcome", "1, 'submitted'")]
        {
            let sql = format!(
                "{insert} INTO requests (certificate_id, kind, run_id, run_ms, started_at, {columns})
                 VALUES ('pending', 'commit', 'run', 0, 0, {values})"
            );
            outsider.refused(&sql, "requests are written by certcommit").await;
        }
    }
}

#[tokio::test]
async fn a_request_has_the_types_that_recovery_reads() {
    let mut outsider = Outsider::with_every_state().await;
    for insert in INSERTS {
        for values in ["'run', 'soon', 0", "'run', 0, 'today'", "x'72756e', 0, 0", "NULL, 0, 0", "'run', 0.5, 0"] {
            let sql = format!(
                "{insert} INTO requests (certificate_id, kind, run_id, run_ms, started_at)
                 VALUES ('pending', 'commit', {values})"
            );
            outsider.refused(&sql, "requests are written by certcommit").await;
        }
    }
}

#[tokio::test]
async fn internal_rows_cannot_be_deleted() {
    let mut outsider = Outsider::with_every_state().await;
    outsider.refused("DELETE FROM state_counts", "state_counts is kept by the queue").await;
    outsider.refused("DELETE FROM insert_guard", "insert_guard is kept by the queue").await;
}

#[tokio::test]
async fn the_queue_assigns_the_number_of_a_request() {
    let mut outsider = Outsider::with_every_state().await;
    let newest: i64 = outsider.one("SELECT max(number) FROM requests").await.parse().unwrap();
    for insert in INSERTS {
        for (number, fragment) in [
            (1, "requests are written by certcommit"),
            (newest, "requests are written by certcommit"),
            (0, "number is given out"),
            (-1, "number is given out"),
            (newest + 2, "number is given out"),
            (i64::MAX, "number is given out"),
        ] {
            let sql = format!(
                "{insert} INTO requests (number, certificate_id, kind, run_id, run_ms, started_at)
                 VALUES ({number}, 'pending', 'commit', 'run', 0, 0)"
            );
            outsider.refused(&sql, fragment).await;
        }
    }
}

#[tokio::test]
async fn a_request_is_completed_with_an_outcome_of_its_kind() {
    let commits: Vec<&str> = OutcomeClass::of_kind(RequestKind::Commit).iter().map(|class| class.as_str()).collect();
    let reads: Vec<&str> = OutcomeClass::of_kind(RequestKind::Readback).iter().map(|class| class.as_str()).collect();
    let mut outsider = Outsider::new().await;
    for (kind, right, wrong) in [("commit", &commits, &reads), ("read", &reads, &commits)] {
        for outcome in right {
            let id = format!("{kind}-{outcome}");
            outsider.enqueue(&id).await;
            outsider.request(&id, kind).await;
            outsider.complete(&id, outcome).await;
        }
        outsider.enqueue(kind).await;
        outsider.request(kind, kind).await;
        let wrong = wrong.iter().filter(|outcome| !right.contains(outcome)).map(|outcome| format!("'{outcome}'"));
        let never = ["NULL", "''", "'lost'", "'Submitted'", "x'7265747279'", "0"].map(str::to_owned);
        for outcome in wrong.chain(never) {
            for update in UPDATES {
                let sql = format!(
                    "{update} requests SET finished_at = 1, outcome = {outcome} WHERE certificate_id = '{kind}'"
                );
                outsider.refused(&sql, "a request is completed once, with its outcome").await;
            }
        }
    }
}

#[tokio::test]
async fn an_unfinished_request_keeps_its_values() {
    let mut outsider = Outsider::with_every_state().await;
    outsider.request("pending", "read").await;
    for update in UPDATES {
        for set in [
            "number = 1",
            "number = number + 100",
            "certificate_id = 'failed'",
            "certificate_id = NULL",
            "kind = 'commit'",
            "run_id = 'other'",
            "started_at = 5",
            "finished_at = NULL",
            "http_status = 200",
        ] {
            let done = if set.starts_with("finished_at") || set.starts_with("http") { "" } else { ", finished_at = 1" };
            let sql = format!("{update} requests SET outcome = 'retry', {set}{done} WHERE certificate_id = 'pending'");
            outsider.refused(&sql, "a request is completed once").await;
        }
    }
}

#[tokio::test]
async fn a_finished_request_never_changes() {
    let mut outsider = Outsider::with_every_state().await;
    for update in UPDATES {
        for set in [
            "outcome = 'retry'",
            "outcome = NULL",
            "finished_at = NULL",
            "finished_at = 2",
            "error_code = 'x'",
            "certificate_id = 'pending'",
            "number = 100",
            "kind = 'read'",
            "outcome = outcome",
            "run_id = 'x'",
        ] {
            for id in ["in_doubt", "submitted", "failed", "held"] {
                let sql = format!("{update} requests SET {set} WHERE certificate_id = '{id}'");
                outsider.refused(&sql, "a finished request never changes").await;
            }
        }
    }
}
