//! Changes by hand: requeueing, priorities, due times, pausing; and the changes that are refused.

use certcommit::submission::State;

use crate::outsider::{INSERTS, Outsider, UPDATES};

const CLEARED: &str =
    "SELECT tries, order_id, status, request_id, error_code, error_message, reason, resolved_by, finished_at
                         FROM submissions WHERE certificate_id = 'row'";

#[tokio::test]
async fn results_cannot_be_edited_by_hand_in_any_state() {
    let mut outsider = Outsider::with_every_state().await;
    let edits = [
        "order_id = 'SO9'",
        "order_id = ''",
        "status = 1",
        "request_id = 'other'",
        "error_code = 'Other'",
        "error_message = 'other'",
        "tries = 7",
        "tries = tries + 1",
    ];
    for state in State::ALL {
        for update in UPDATES {
            for edit in edits {
                let sql = format!("{update} submissions SET {edit} WHERE certificate_id = '{state}'");
                outsider.refused(&sql, "are written by certcommit, with the state").await;
            }
            for wrong in ["'operator'", "'readback'", "'me'"] {
                let sql = format!("{update} submissions SET resolved_by = {wrong} WHERE certificate_id = '{state}'");
                outsider.refused(&sql, "resolved_by").await;
            }
        }
    }
}

#[tokio::test]
async fn results_cannot_be_cleared_by_hand() {
    let mut outsider = Outsider::with_every_state().await;
    for (state, columns) in [
        ("in_doubt", &["status", "request_id", "error_code", "error_message"][..]),
        ("submitted", &["order_id", "status", "resolved_by"]),
        ("failed", &["request_id", "error_code", "error_message"]),
        ("held", &["order_id", "status", "request_id", "error_code", "error_message"]),
    ] {
        for column in columns {
            let sql = format!("UPDATE submissions SET {column} = NULL WHERE certificate_id = '{state}'");
            outsider.refused(&sql, "are written by certcommit, with the state").await;
        }
    }
}

#[tokio::test]
async fn results_of_a_wrong_type_are_refused_even_with_a_change_of_state() {
    let mut outsider = Outsider::with_every_state().await;
    for wrong in ["tries = 'many'", "tries = -1", "tries = 0.5", "tries = NULL", "tries = 9223372036854775807"] {
        for update in UPDATES {
            let sql = format!("{update} submissions SET state = 'held', {wrong} WHERE certificate_id = 'in_doubt'");
            outsider.refused(&sql, "tries must be a whole number").await;
        }
    }
    for wrong in [
        "order_id = x'00'",
        "request_id = x'00'",
        "error_code = x'00'",
        "reason = x'00'",
        "status = 'good'",
        "status = 1.5",
    ] {
        let sql = format!("UPDATE submissions SET state = 'held', {wrong} WHERE certificate_id = 'in_doubt'");
        outsider.refused(&sql, "must be text, and status a whole number").await;
    }
}

#[tokio::test]
async fn a_wrong_change_of_the_callers_own_columns_is_refused() {
    let mut outsider = Outsider::with_every_state().await;
    for update in UPDATES {
        for (set, fragment) in [
            ("verify_type = 'HTTP'", "verify_type must be"),
            ("verify_type = ''", "verify_type must be"),
            ("verify_type = x'444e53'", "verify_type must be"),
            ("priority = NULL", "priority must be"),
            ("priority = -1", "priority must be"),
            ("priority = 4", "priority must be"),
            ("priority = 'high'", "priority must be"),
            ("priority = 0.5", "priority must be"),
            ("due_at = NULL", "due_at must be"),
            ("due_at = -1", "due_at must be"),
            ("due_at = due_at * 1000", "due_at must be"),
            ("due_at = 'tomorrow'", "due_at must be"),
            ("due_at = 0.5", "due_at must be"),
            ("reference = x'61'", "reference must be"),
            ("reference = 'a' || char(0)", "reference must be"),
            ("reference = printf('%.129c', 'r')", "reference must be"),
            ("updated_at = NULL", "must be unix seconds"),
            ("updated_at = 'now'", "must be unix seconds"),
            ("finished_at = 'now'", "must be unix seconds"),
        ] {
            outsider
                .refused(&format!("{update} submissions SET {set} WHERE certificate_id = 'pending'"), fragment)
                .await;
            outsider.refused(&format!("{update} submissions SET {set}"), fragment).await;
        }
    }
}

#[tokio::test]
async fn the_callers_own_columns_change_in_every_state() {
    let mut outsider = Outsider::with_every_state().await;
    let set = "priority = 2, due_at = due_at + 60, verify_type = 'FILE', reference = 'other'";
    assert_eq!(outsider.must(&format!("UPDATE submissions SET {set}")).await, 7);
    let rows = "SELECT DISTINCT priority, verify_type, reference FROM submissions";
    assert_eq!(outsider.one(rows).await, "2|FILE|other");
    outsider.check_counts().await;
}

#[tokio::test]
async fn a_row_that_is_set_to_pending_is_cleared_and_due_at_once() {
    for pragma in ["PRAGMA recursive_triggers = OFF", "PRAGMA recursive_triggers = ON"] {
        for state in [State::Failed, State::Held, State::Canceled] {
            for update in UPDATES {
                let mut outsider = Outsider::new().await;
                outsider.must(pragma).await;
                outsider.in_state("row", state).await;
                outsider.must("UPDATE submissions SET due_at = 9999999999").await;
                outsider
                    .must(&format!("{update} submissions SET state = 'pending' WHERE certificate_id = 'row'"))
                    .await;
                assert_eq!(outsider.state("row").await, "pending");
                assert_eq!(outsider.one(CLEARED).await, "0|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL", "{state}");
                let due = "SELECT abs(due_at - strftime('%s', 'now')) <= 5 FROM submissions";
                assert_eq!(outsider.one(due).await, "1", "{state}");
                outsider.check_counts().await;
            }
        }
    }
}

#[tokio::test]
async fn a_due_time_that_is_set_while_requeueing_is_kept() {
    let mut outsider = Outsider::new().await;
    outsider.in_state("row", State::Failed).await;
    outsider.must("UPDATE submissions SET state = 'pending', due_at = 4000000000").await;
    assert_eq!(outsider.one("SELECT state, due_at FROM submissions").await, "pending|4000000000");
}

#[tokio::test]
async fn all_rows_that_failed_with_a_code_can_be_requeued_at_once() {
    let mut outsider = Outsider::with_every_state().await;
    outsider.enqueue("network").await;
    outsider.commit("network", "failed").await;
    outsider
        .must("UPDATE submissions SET state = 'failed', error_code = 'FailedOperation.NetworkError' WHERE certificate_id = 'network'")
        .await;
    let again = "UPDATE submissions SET state = 'pending' WHERE state = 'failed' AND error_code = 'FailedOperation.NetworkError'";
    assert_eq!(outsider.must(again).await, 1);
    assert_eq!((outsider.state("network").await, outsider.state("failed").await), ("pending".into(), "failed".into()));
}

#[tokio::test]
async fn all_pending_rows_with_a_reference_can_be_canceled_at_once() {
    let mut outsider = Outsider::with_every_state().await;
    outsider.must("INSERT INTO submissions (certificate_id, reference) VALUES ('a', 'renewals-2026-11'), ('b', 'renewals-2026-11')").await;
    let cancel = "UPDATE submissions SET state = 'canceled' WHERE state = 'pending' AND reference = 'renewals-2026-11'";
    assert_eq!(outsider.must(cancel).await, 2);
    let rows = "SELECT certificate_id, state, finished_at IS NOT NULL FROM submission_report WHERE reference IS NOT NULL ORDER BY id";
    assert_eq!(outsider.rows(rows).await, ["a|canceled|1", "b|canceled|1"]);
    assert_eq!(outsider.state("pending").await, "pending");
    outsider.check_counts().await;
}

#[tokio::test]
async fn submitted_rows_are_in_the_report() {
    let mut outsider = Outsider::with_every_state().await;
    let report = "SELECT certificate_id, order_id, status, status_text, request_id FROM submission_report WHERE state = 'submitted'";
    assert_eq!(outsider.one(report).await, "submitted|SO1|4|DNS record added|NULL");
}

#[tokio::test]
async fn only_a_finished_row_has_a_finished_at() {
    let mut outsider = Outsider::with_every_state().await;
    let finished = "SELECT certificate_id FROM submissions WHERE finished_at IS NOT NULL ORDER BY id";
    assert_eq!(outsider.rows(finished).await, ["submitted", "failed", "canceled"]);
    outsider.must("UPDATE submissions SET state = 'pending' WHERE state IN ('failed', 'canceled')").await;
    assert_eq!(outsider.rows(finished).await, ["submitted"]);
}

#[tokio::test]
async fn updated_at_moves_when_an_outsider_changes_a_row() {
    for pragma in ["PRAGMA recursive_triggers = OFF", "PRAGMA recursive_triggers = ON"] {
        for set in ["priority = 1", "reference = 'other'", "due_at = 5", "state = 'canceled'", "priority = priority"] {
            let mut outsider = Outsider::new().await;
            outsider.must(pragma).await;
            outsider
                .must("INSERT INTO submissions (certificate_id, updated_at) VALUES ('row', 5), ('bystander', 5)")
                .await;
            outsider.must(&format!("UPDATE submissions SET {set} WHERE certificate_id = 'row'")).await;
            let moved = "SELECT certificate_id FROM submissions WHERE abs(updated_at - strftime('%s', 'now')) <= 5";
            assert_eq!(outsider.rows(moved).await, ["row"], "{set}");
        }
    }
}

#[tokio::test]
async fn the_queue_is_paused_with_a_reason() {
    let mut outsider = Outsider::new().await;
    outsider.must("UPDATE control SET paused = 1, pause_reason = 'maintenance at the CA'").await;
    let control = "SELECT paused, pause_reason, probe_requested, pause_code, paused_at <= unixepoch() FROM control";
    assert_eq!(outsider.one(control).await, "1|maintenance at the CA|0|NULL|1");
    outsider.must("UPDATE control SET paused = 0, pause_reason = NULL, probe_requested = 1").await;
    assert_eq!(outsider.one(control).await, "0|NULL|1|NULL|NULL");
}

#[tokio::test]
async fn a_flag_is_zero_or_one() {
    let mut outsider = Outsider::new().await;
    for update in UPDATES {
        for column in ["paused", "probe_requested"] {
            for wrong in ["NULL", "2", "-1", "'yes'", "'true'", "0.5", "x'31'"] {
                let sql = format!("{update} control SET {column} = {wrong}");
                outsider.refused(&sql, "paused and probe_requested must be 0 or 1").await;
            }
        }
        for wrong in ["pause_reason = x'00'", "id = 2", "id = -1"] {
            outsider.refused(&format!("{update} control SET {wrong}"), "must be 0 or 1").await;
        }
    }
}

#[tokio::test]
async fn control_and_daemon_keep_exactly_one_row() {
    let mut outsider = Outsider::new().await;
    for pragma in ["PRAGMA recursive_triggers = OFF", "PRAGMA recursive_triggers = ON"] {
        outsider.must(pragma).await;
        for table in ["control", "daemon"] {
            outsider.refused(&format!("DELETE FROM {table}"), "has one row").await;
            outsider.refused(&format!("DELETE FROM {table} WHERE id = 1"), "has one row").await;
            for insert in INSERTS {
                for values in ["(id) VALUES (1)", "(id) VALUES (2)", "DEFAULT VALUES"] {
                    outsider.refused(&format!("{insert} INTO {table} {values}"), "has one row").await;
                }
            }
            assert_eq!(outsider.one(&format!("SELECT count(*), max(id) FROM {table}")).await, "1|1");
        }
        for update in UPDATES {
            assert!(outsider.run(&format!("{update} daemon SET id = 2")).await.is_err() || update.ends_with("IGNORE"));
            assert_eq!(outsider.one("SELECT count(*), max(id) FROM daemon").await, "1|1");
        }
    }
}
