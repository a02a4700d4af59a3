//! The queue's internal rows: counts, the insert guard, the run.

use crate::outsider::Outsider;

#[tokio::test]
async fn a_count_changes_only_by_one_or_to_the_number_of_rows() {
    let mut outsider = Outsider::new().await;
    for id in ["a", "b", "c"] {
        outsider.enqueue(id).await;
    }
    let rule = "state_counts is kept by the queue, as the submissions change";
    for set in ["count = 0", "count = 7", "count = NULL", "count = 'many'", "count = count * 2", "state = 'other'"] {
        outsider.refused(&format!("UPDATE state_counts SET {set} WHERE state = 'pending'"), rule).await;
    }
    outsider.must("UPDATE state_counts SET count = count - 1 WHERE state = 'pending'").await;
    outsider.must("UPDATE state_counts SET count = 3 WHERE state = 'pending'").await;
    outsider.check_counts().await;
    for insert in ["INSERT", "INSERT OR REPLACE"] {
        outsider
            .refused(&format!("{insert} INTO state_counts VALUES ('pending', 0)"), "state_counts is kept by the queue")
            .await;
    }
}

#[tokio::test]
async fn no_value_of_the_insert_guard_lets_a_submission_be_replaced() {
    let mut outsider = Outsider::new().await;
    outsider.enqueue("a").await;
    let rule = "REPLACE would delete a submission; enqueue with INSERT OR IGNORE and change with UPDATE";
    // A trigger sets the value before it is read, within the same statement: the previous value doesn't matter.
    for taken in [0, 1] {
        outsider.must(&format!("UPDATE insert_guard SET taken = {taken}")).await;
        outsider.refused("REPLACE INTO submissions (certificate_id) VALUES ('a')", rule).await;
        outsider.enqueue(&format!("new-{taken}")).await;
    }
    for insert in ["INSERT", "INSERT OR REPLACE"] {
        outsider
            .refused(&format!("{insert} INTO insert_guard VALUES (1, 0)"), "insert_guard is kept by the queue")
            .await;
    }
    outsider.refused("DELETE FROM insert_guard", "insert_guard is kept by the queue").await;
}

#[tokio::test]
async fn a_run_id_can_only_be_written_together_with_the_rest_of_the_run() {
    let mut outsider = Outsider::new().await;
    let begin =
        "UPDATE daemon SET run_id = 'this', pid = 1, started_at = 5, heartbeat_at = 5, mode = 'running', why = NULL";
    outsider.must(begin).await;
    let rule = "run_id is written by certcommit, when a run begins";
    outsider.must("UPDATE daemon SET heartbeat_at = 15, mode = 'paused_by_fault', why = 'why', pace = 2").await;
    for set in ["run_id = 'other'", "run_id = NULL", "run_id = x'00'", "run_id = 'other', heartbeat_at = 20"] {
        outsider.refused(&format!("UPDATE daemon SET {set}"), rule).await;
    }
    outsider.must("UPDATE daemon SET run_id = run_id, mode = 'stopped'").await;
    outsider.must(&begin.replace("this", "next")).await;
}
