//! Integrity checks.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;

async fn inspected(site: &Site) -> Option<Vec<String>> {
    inspect(&site.path(), Arc::new(AtomicBool::new(false))).await.unwrap()
}

/// A queue with some rows in every table, in one file.
async fn filled() -> Site {
    let mut site = Site::with(&["a", "b", "c"]).await;
    site.commit(0, receipt()).await;
    site.commits(0, 1).await;
    site.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
         INSERT INTO submissions (certificate_id, due_at) SELECT 'later-' || i, 9999999999 FROM n",
    )
    .await;
    site.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    site
}

/// Overwrites the root page of a table or an index in place.
async fn damage(site: &mut Site, query: &'static str) {
    let page = site.number(query).await.unwrap();
    let size = site.number("PRAGMA page_size").await.unwrap();
    let at = u64::try_from((page - 1) * size).unwrap();
    OpenOptions::new().write(true).open(site.path()).unwrap().write_all_at(&[0x5a; 4096], at).unwrap();
}

#[tokio::test]
async fn a_queue_in_use_is_intact_whatever_others_add_to_it() {
    let mut site = filled().await;
    assert_eq!(site.queue.check_integrity().await.unwrap(), Vec::<String>::new());
    assert_eq!(inspected(&site).await, Some(Vec::new()));
    site.sql(
        "CREATE INDEX theirs ON submissions (created_at); CREATE TABLE notes (text); CREATE VIEW names AS SELECT 1;
         ALTER TABLE requests ADD COLUMN note TEXT NOT NULL DEFAULT 'x'; ALTER TABLE submissions ADD COLUMN note TEXT;
         CREATE TRIGGER audit AFTER INSERT ON submissions BEGIN INSERT INTO notes VALUES (NEW.certificate_id); END",
    )
    .await;
    assert_eq!(site.queue.check_integrity().await.unwrap(), Vec::<String>::new(), "added objects aren't findings");
}

#[tokio::test]
async fn a_copy_without_a_marker_can_be_intact_and_one_behind_its_marker_is_not() {
    let mut site = filled().await;
    RestoreMarker::open(&site.path()).unwrap().reset(2).unwrap();
    assert_eq!(site.queue.check_integrity().await.unwrap(), Vec::<String>::new());
    RestoreMarker::open(&site.path()).unwrap().reset(3).unwrap();
    let findings = site.queue.check_integrity().await.unwrap();
    assert!(findings.len() == 1 && findings[0].contains("the newest 1 of 3 requests"), "{findings:?}");
}

#[tokio::test]
async fn both_checks_find_a_damaged_table() {
    for object in [
        "SELECT rootpage FROM sqlite_master WHERE name = 'submissions'",
        "SELECT rootpage FROM sqlite_master WHERE name = 'requests_certificate'",
    ] {
        let mut site = filled().await;
        damage(&mut site, object).await;
        let found = inspected(&site).await.unwrap();
        assert!(!found.is_empty(), "{object}");
        let mut fresh = Queue::open(&site.path(), Opening::Existing).await.unwrap();
        assert!(!fresh.check_integrity().await.unwrap().is_empty(), "{object}");
    }
}

#[tokio::test]
async fn a_check_that_gives_up_has_no_findings() {
    let site = filled().await;
    assert_eq!(inspect(&site.path(), Arc::new(AtomicBool::new(true))).await.unwrap(), None);
}

#[tokio::test]
async fn rows_that_break_the_rules_are_found() {
    let cases = [
        (
            "DROP TRIGGER state_counts_rules; UPDATE state_counts SET count = 7 WHERE state = 'held'",
            "state_counts disagrees with the rows: held: 7, and 0",
        ),
        (
            "UPDATE requests SET finished_at = 1, outcome = 'failed' WHERE finished_at IS NULL",
            "in flight without an unfinished request: b",
        ),
        (
            "DROP TRIGGER submissions_update_rules; UPDATE submissions SET order_id = NULL WHERE state = 'submitted'",
            "trigger submissions_update_rules is missing",
        ),
        (
            "DROP TRIGGER submissions_update_rules; UPDATE submissions SET order_id = NULL WHERE state = 'submitted'",
            "submitted without an order, or without resolved_by: a",
        ),
        (
            "DROP TRIGGER submissions_update_rules; UPDATE submissions SET state = 'odd' WHERE certificate_id = 'c'",
            "unknown state: c",
        ),
        (
            "DROP TRIGGER submissions_update_rules; UPDATE submissions SET state = 'held' WHERE state = 'in_flight'",
            "an unfinished commit for a submission that isn't in flight: b",
        ),
        (
            "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'requests'",
            "numbers of requests could be reused up to: 2",
        ),
        ("DROP INDEX submissions_due", "index submissions_due is missing"),
        (
            "DROP INDEX submissions_due; CREATE INDEX submissions_due ON submissions (due_at)",
            "index submissions_due is altered",
        ),
        ("ALTER TABLE requests DROP COLUMN duration_ms", "column requests.duration_ms is missing"),
        (
            "DROP INDEX requests_unfinished; DROP TRIGGER requests_insert_rules; INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at)
             SELECT certificate_id, kind, run_id, 0, 0 FROM requests WHERE finished_at IS NULL",
            "more than one unfinished request: b",
        ),
        (
            "DROP TRIGGER requests_delete_rules; DELETE FROM requests WHERE certificate_id = 'a'",
            "its row says that it was sent, but no request is on record: a",
        ),
        (
            "DROP TRIGGER requests_delete_rules; DELETE FROM requests",
            "this database was deleted, emptied, or restored from an early copy: 2 requests were made, and none of them is on record",
        ),
    ];
    for (statement, finding) in cases {
        let mut site = filled().await;
        site.sql(statement).await;
        let findings = site.queue.check_integrity().await.unwrap();
        assert!(findings.iter().any(|found| found == finding), "{statement}: {findings:?}");
    }
}

#[tokio::test]
async fn a_run_ended_in_good_order_only_if_its_last_mode_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(&directory.path().join("queue.db"), Opening::Create).await.unwrap();
    assert_eq!(queue.last_run().await.unwrap(), None, "there was none yet");
    let mut site = Site::new().await;
    let begun = LastRun { in_good_order: false, heard_of: BEGIN };
    assert_eq!(site.queue.last_run().await.unwrap(), Some(begun));
    for (mode, in_good_order) in [(Mode::PausedByOperator, false), (Mode::Stopping, false), (Mode::Stopped, true)] {
        let heartbeat = Heartbeat { mode, incidents: Vec::new(), pace: 0.0 };
        let request = BatchRequest { heartbeat: Some(heartbeat), ..claiming(0, 0) };
        site.batch(30, &request).await.unwrap();
        let last = LastRun { in_good_order, heard_of: BEGIN + 30 };
        assert_eq!(site.queue.last_run().await.unwrap(), Some(last));
    }
}
