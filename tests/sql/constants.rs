//! Constants that exist in Rust and in SQL are equal.

use certcommit::submission::{CertificateStatus, OutcomeClass, RequestKind};

use crate::outsider::Outsider;

#[tokio::test]
async fn the_status_texts_equal_those_of_the_program() {
    let mut outsider = Outsider::new().await;
    let expected: Vec<_> = CertificateStatus::ALL.map(|status| format!("{}|{}", status.code, status.text)).to_vec();
    assert_eq!(outsider.rows("SELECT status, text FROM status_codes ORDER BY status").await, expected);
}

/// The quoted words between two texts.
fn words_between<'a>(sql: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let (_, list) = sql.split_once(start).unwrap();
    let (list, _) = list.split_once(end).unwrap();
    list.split('\'').skip(1).step_by(2).collect()
}

#[tokio::test]
async fn the_outcomes_of_requests_equal_those_of_the_program() {
    let mut outsider = Outsider::new().await;
    let trigger = outsider.one("SELECT sql FROM sqlite_master WHERE name = 'requests_update_rules'").await;
    let commits: Vec<&str> = OutcomeClass::of_kind(RequestKind::Commit).iter().map(|class| class.as_str()).collect();
    let reads: Vec<&str> = OutcomeClass::of_kind(RequestKind::Readback).iter().map(|class| class.as_str()).collect();
    assert_eq!(words_between(&trigger, "WHEN 'commit' THEN", "ELSE"), commits);
    assert_eq!(words_between(&trigger, "ELSE", "END"), reads);
}

#[tokio::test]
async fn the_summary_does_not_read_the_whole_queue() {
    let mut outsider = Outsider::with_every_state().await;
    let plan = outsider.rows("EXPLAIN QUERY PLAN SELECT * FROM queue_summary").await;
    let scans: Vec<_> = plan.iter().filter(|line| line.contains("SCAN") && line.contains("submissions")).collect();
    assert_eq!(scans, Vec::<&String>::new(), "{plan:?}");
}
