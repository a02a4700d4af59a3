//! Enqueueing: what is accepted and what is refused.

use crate::outsider::{INSERTS, Outsider};

const LONG_REFERENCE: &str = "printf('%.128c', 'r')";

#[tokio::test]
async fn a_certificate_id_is_all_that_a_submission_needs() {
    let mut outsider = Outsider::new().await;
    outsider.must("INSERT INTO submissions (certificate_id) VALUES ('abcb1234')").await;
    let row = "SELECT id, certificate_id, verify_type, priority, reference, state, tries, order_id, finished_at,
                      abs(due_at - strftime('%s', 'now')) <= 5, created_at = updated_at, created_at = due_at FROM submissions";
    assert_eq!(outsider.one(row).await, "1|abcb1234|NULL|0|NULL|pending|0|NULL|NULL|1|1|1");
}

#[tokio::test]
async fn a_submission_takes_its_verify_type_priority_and_reference() {
    let mut outsider = Outsider::new().await;
    outsider
        .must("INSERT INTO submissions (certificate_id, verify_type, priority, reference) VALUES ('abcb1235', 'DNS', 3, 'renewals-2026-11')")
        .await;
    let row = "SELECT certificate_id, verify_type, priority, reference FROM submission_report";
    assert_eq!(outsider.one(row).await, "abcb1235|DNS|3|renewals-2026-11");
}

#[tokio::test]
async fn enqueueing_twice_with_or_ignore_is_harmless() {
    let mut outsider = Outsider::with_every_state().await;
    let before = outsider.rows("SELECT * FROM submissions").await;
    let again =
        "INSERT OR IGNORE INTO submissions (certificate_id, priority) SELECT certificate_id, 3 FROM submissions";
    assert_eq!(outsider.must(again).await, 0);
    assert_eq!(before, outsider.rows("SELECT * FROM submissions").await);
    assert_eq!(outsider.must("INSERT OR IGNORE INTO submissions (certificate_id) VALUES ('held'), ('new')").await, 1);
    outsider.check_counts().await;
}

#[tokio::test]
async fn enqueueing_twice_plainly_is_refused() {
    let mut outsider = Outsider::with_every_state().await;
    let before = outsider.dump().await;
    let sentence = outsider.run("INSERT INTO submissions (certificate_id) VALUES ('held')").await.unwrap_err();
    assert!(sentence.contains("UNIQUE constraint failed: submissions.certificate_id"), "{sentence}");
    assert_eq!(before, outsider.dump().await);
}

#[tokio::test]
async fn one_bad_row_refuses_the_whole_statement() {
    let mut outsider = Outsider::with_every_state().await;
    for insert in INSERTS {
        let rows = "(certificate_id) VALUES ('fine-1'), ('fine-2'), ('not fine'), ('fine-3')";
        outsider.refused(&format!("{insert} INTO submissions {rows}"), "certificate_id must be").await;
    }
}

#[tokio::test]
async fn the_widest_valid_input_is_accepted() {
    let mut outsider = Outsider::new().await;
    for id in ["a", "ABC-xyz_019", "-", "0123456789012345678901234567890123456789012345678901234567890123"] {
        outsider.enqueue(id).await;
    }
    for verify_type in ["DNS_AUTO", "DNS", "FILE", "DNS_PROXY", "FILE_PROXY"] {
        outsider
            .must(&format!(
                "INSERT INTO submissions (certificate_id, verify_type) VALUES ('v-{verify_type}', '{verify_type}')"
            ))
            .await;
    }
    for priority in 0..=3 {
        outsider
            .must(&format!("INSERT INTO submissions (certificate_id, priority) VALUES ('p-{priority}', {priority})"))
            .await;
    }
    for (number, due_at) in ["0", "9999999999", "'1700000000'", "1700000000.0"].iter().enumerate() {
        outsider
            .must(&format!("INSERT INTO submissions (certificate_id, due_at) VALUES ('d-{number}', {due_at})"))
            .await;
    }
    assert_eq!(outsider.one("SELECT group_concat(DISTINCT typeof(due_at)) FROM submissions").await, "integer");
    let emoji = "replace(printf('%.128c', 'r'), 'r', '🙂')";
    for (number, reference) in ["NULL", "''", "'it''s \"quoted\"; DROP'", LONG_REFERENCE, emoji].iter().enumerate() {
        outsider
            .must(&format!("INSERT INTO submissions (certificate_id, reference) VALUES ('r-{number}', {reference})"))
            .await;
    }
    outsider.check_counts().await;
}

async fn refused_however_it_is_inserted(columns: &str, values: &[&str], fragment: &str) {
    let mut outsider = Outsider::with_every_state().await;
    for insert in INSERTS {
        for value in values {
            let (columns, value) = match columns {
                "certificate_id" => (columns.to_owned(), (*value).to_owned()),
                _ => (format!("certificate_id, {columns}"), format!("'new', {value}")),
            };
            outsider.refused(&format!("{insert} INTO submissions ({columns}) VALUES ({value})"), fragment).await;
            outsider.refused(&format!("{insert} INTO submissions ({columns}) SELECT {value}"), fragment).await;
        }
    }
}

#[tokio::test]
async fn a_wrong_certificate_id_is_refused() {
    let wrong = [
        "NULL",
        "''",
        "printf('%065d', 0)",
        "printf('%.1000000c', 'a')",
        "x'61626364'",
        "x''",
        "zeroblob(8)",
        "1.5",
        "'ab' || char(0)",
        "'ab' || char(0) || 'cd'",
        "char(0)",
        "'🙂'",
        "'abc🙂'",
        "'é'",
        "'аbcd'",
        "CAST(x'ff' AS TEXT)",
        "' abcd'",
        "'abcd '",
        "'ab cd'",
        "'ab' || char(9)",
        "'abcd' || char(10)",
        "'abcd' || char(13)",
        "'ab''cd'",
        "'ab\"cd'",
        "'ab`cd'",
        "'ab;cd'",
        "'ab/cd'",
        "'ab.cd'",
        "'ab%'",
        "'ab*'",
        "'[ab]'",
        "'ab^'",
        "'ab\\cd'",
        "char(27) || '[31mabcd'",
        "'abcd' || char(27)",
        "char(155) || '31m'",
        "char(127)",
        "char(8) || 'abcd'",
    ];
    refused_however_it_is_inserted("certificate_id", &wrong, "certificate_id must be text of 1 to 64 characters").await;
}

#[tokio::test]
async fn a_wrong_verify_type_is_refused() {
    let wrong = ["''", "'dns'", "'DNS '", "'HTTP'", "1", "x'444e53'", "'DNS' || char(0)"];
    refused_however_it_is_inserted("verify_type", &wrong, "verify_type must be DNS_AUTO, DNS, FILE").await;
}

#[tokio::test]
async fn a_wrong_priority_is_refused() {
    let wrong = ["NULL", "-1", "4", "1.5", "'high'", "''", "x'31'", "9223372036854775807", "1e300"];
    refused_however_it_is_inserted("priority", &wrong, "priority must be a whole number from 0 to 3").await;
}

#[tokio::test]
async fn a_wrong_due_at_is_refused() {
    let wrong = [
        "NULL",
        "-1",
        "10000000000",
        "1700000000000",
        "1700000000.5",
        "'tomorrow'",
        "''",
        "'2026-11-01T00:00:00Z'",
        "datetime('now')",
        "x'31'",
        "9223372036854775807",
        "1e300",
    ];
    refused_however_it_is_inserted("due_at", &wrong, "due_at must be unix seconds from 0 to 9999999999").await;
}

#[tokio::test]
async fn a_wrong_reference_is_refused() {
    let wrong = [
        "printf('%.129c', 'r')",
        "printf('%.1000000c', 'r')",
        "'a' || char(0)",
        "char(0) || 'a'",
        "x'61'",
        "x''",
        "'a' || char(0) || printf('%.1000000c', 'r')",
    ];
    refused_however_it_is_inserted("reference", &wrong, "reference must be text of at most 128 characters").await;
}

#[tokio::test]
async fn a_new_submission_is_pending_and_nothing_else() {
    let wrong = [
        "NULL",
        "''",
        "'in_flight'",
        "'in_doubt'",
        "'submitted'",
        "'failed'",
        "'held'",
        "'canceled'",
        "'Pending'",
        "'pending '",
        "x'70656e64696e67'",
        "0",
    ];
    refused_however_it_is_inserted("state", &wrong, "a new submission is pending").await;
}

#[tokio::test]
async fn results_cannot_be_enqueued() {
    for columns in ["order_id", "request_id", "error_code", "error_message", "reason", "resolved_by"] {
        refused_however_it_is_inserted(columns, &["'x'", "''", "x'00'"], "are written by certcommit").await;
    }
    for columns in ["status", "finished_at"] {
        refused_however_it_is_inserted(columns, &["0", "1", "'x'"], "are written by certcommit").await;
    }
    refused_however_it_is_inserted("tries", &["NULL", "1", "-1", "'x'", "0.5"], "are written by certcommit").await;
}

#[tokio::test]
async fn times_that_are_not_unix_seconds_are_refused() {
    let wrong = ["NULL", "-1", "1.5", "'yesterday'", "1700000000000", "x'31'"];
    for column in ["created_at", "updated_at"] {
        refused_however_it_is_inserted(column, &wrong, "created_at and updated_at must be unix seconds").await;
    }
}

#[tokio::test]
async fn the_queue_assigns_the_id() {
    let wrong = ["-1", "-9223372036854775808", "0", "1000000000000000", "9223372036854775807"];
    refused_however_it_is_inserted("id", &wrong, "id is given out by the queue").await;
}

#[tokio::test]
async fn an_id_is_never_assigned_twice() {
    let mut outsider = Outsider::new().await;
    outsider.must("INSERT INTO submissions (id, certificate_id) VALUES (NULL, 'a'), (NULL, 'b'), (NULL, 'c')").await;
    outsider.must("DELETE FROM submissions WHERE id > 1").await;
    for id in 2..=3 {
        let row = format!("(id, certificate_id) VALUES ({id}, 'reused')");
        outsider.refused(&format!("INSERT INTO submissions {row}"), "id is given out by the queue").await;
    }
    outsider.enqueue("d").await;
    assert_eq!(outsider.rows("SELECT id FROM submissions ORDER BY id").await, ["1", "4"]);
}

#[tokio::test]
async fn rows_that_or_ignore_skips_leave_gaps_between_ids() {
    let mut outsider = Outsider::new().await;
    outsider.must("INSERT INTO submissions (certificate_id) VALUES ('a'), ('b'), ('c')").await;
    let mixed = "INSERT OR IGNORE INTO submissions (certificate_id) VALUES ('a'), ('b'), ('d'), ('c'), ('e')";
    assert_eq!(outsider.must(mixed).await, 2);
    outsider.enqueue("f").await;
    assert_eq!(
        outsider.rows("SELECT certificate_id FROM submissions ORDER BY id").await,
        ["a", "b", "c", "d", "e", "f"]
    );
}

#[tokio::test]
async fn an_empty_row_is_refused() {
    let mut outsider = Outsider::new().await;
    for insert in INSERTS {
        outsider.refused(&format!("{insert} INTO submissions DEFAULT VALUES"), "certificate_id must be").await;
    }
}
