//! Results, and what becomes of their rows.

use super::*;
use crate::submission::{CommitClass, ReadClass};

#[tokio::test]
async fn a_submitted_row_has_its_order_and_no_error_any_more() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, CommitOutcome::Retry(refusal())).await;
    assert_eq!(site.line("a").await.error_code.as_deref(), Some("Some.Code"));
    site.read_first(4, nothing_placed()).await;
    site.commit(4, receipt()).await;
    let line = site.line("a").await;
    assert_eq!((line.state.as_str(), line.tries), ("submitted", 2));
    assert_eq!((line.order_id.as_deref(), line.status), (Some("SO1"), Some(8)));
    assert_eq!((line.error_code, line.reason), (None, None));
    assert_eq!(site.text("SELECT request_id FROM submissions").await.as_deref(), Some("r-2"));
    assert_eq!(site.text("SELECT error_message FROM submissions").await, None);
    assert_eq!(site.number("SELECT finished_at FROM submissions").await, Some(BEGIN + 4));
}

#[tokio::test]
async fn a_row_that_is_tried_again_shows_the_error_and_is_not_finished() {
    let mut site = Site::with(&["a"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    let record = site.committed(3, &claim, CommitOutcome::Retry(refusal()));
    site.record(3, record).await;
    assert_eq!(site.text("SELECT error_message FROM submissions").await.as_deref(), Some("words"));
    assert_eq!(site.number("SELECT finished_at FROM submissions").await, None);
    assert_eq!(site.number("SELECT updated_at FROM submissions").await, Some(BEGIN + 3));
}

#[tokio::test]
async fn a_request_is_completed_with_all_that_is_known_of_it() {
    let mut site = Site::with(&["a"]).await;
    site.commit(3, CommitOutcome::Retry(refusal())).await;
    let [line] = <[HistoryLine; 1]>::try_from(site.queue.history(&id("a")).await.unwrap()).unwrap();
    assert_eq!((line.outcome.as_deref(), line.http_status), (Some("retry"), Some(200)));
    assert_eq!((line.error_code.as_deref(), line.request_id.as_deref()), (Some("Some.Code"), Some("r-9")));
    assert_eq!(line.duration_ms, Some(123));
    assert_eq!(site.number("SELECT finished_at FROM requests").await, Some((BEGIN + 3) * 1000));
    assert_eq!(site.number("SELECT run_ms FROM requests").await, Some(3000));
}

#[tokio::test]
async fn a_retry_is_due_after_its_backoff_and_not_a_second_before() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, CommitOutcome::Retry(refusal())).await;
    assert_eq!(site.state("a").await, "pending");
    assert_eq!(site.number("SELECT due_at FROM submissions").await, Some(BEGIN + 4));
    let early = site.turn(3, &[], 1, 1).await.claims;
    assert!(early.commits.is_empty() && early.reads.is_empty(), "{early:?}");
    site.read_first(4, nothing_placed()).await;
    let claims = site.commits(4, 1).await;
    assert_eq!(claims[0].row.tries, 1);
}

#[tokio::test]
async fn a_row_that_stays_in_its_state_keeps_all_but_due_time_and_reason() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, CommitOutcome::InDoubt { why: "500".into(), refusal: Some(refusal()) }).await;
    site.read(60, nothing_placed()).await;
    let line = site.line("a").await;
    assert_eq!((line.state.as_str(), line.tries, line.status), ("in_doubt", 1, None));
    assert_eq!(line.error_code.as_deref(), Some("Some.Code"));
    assert!(line.reason.unwrap().contains("read once more"));
    assert_eq!(site.number("SELECT due_at FROM submissions").await, Some(BEGIN + 600));
}

#[tokio::test]
async fn a_failed_row_is_finished_and_a_held_one_is_not() {
    let mut site = Site::with(&["a"]).await;
    site.commit(1, CommitOutcome::Failed(refusal())).await;
    assert_eq!(site.number("SELECT finished_at FROM submissions").await, Some(BEGIN + 1));
    let mut site = Site::with(&["b"]).await;
    site.commit(1, lost()).await;
    site.read(61, ReadOutcome::Failed(refusal())).await;
    assert_eq!(site.state("b").await, "held");
    assert_eq!(site.number("SELECT finished_at FROM submissions").await, None);
}

#[tokio::test]
async fn a_record_that_is_written_already_moves_nothing_a_second_time() {
    let mut site = Site::with(&["a"]).await;
    let first = site.commits(0, 1).await.remove(0);
    let record = site.committed(0, &first, CommitOutcome::Retry(refusal()));
    site.record(0, record.clone()).await;
    site.record_again(1, &record).await;
    assert_eq!(site.line("a").await.tries, 1);
    site.read_first(4, nothing_placed()).await;
    let second = site.commits(4, 1).await.remove(0);
    site.record_again(5, &record).await;
    assert_eq!(site.state("a").await, "in_flight", "its second commit is on the way");
    let record = site.committed(5, &second, receipt());
    site.record(5, record).await;
    assert_eq!((site.line("a").await.tries, site.state("a").await.as_str()), (2, "submitted"));
}

#[tokio::test]
async fn a_record_that_is_written_already_moves_nothing_that_somebody_moved_back_since() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    let read = site.reads(60, 1).await.remove(0);
    let record = site.read_back(61, &read, ReadOutcome::Failed(refusal()));
    site.record(61, record.clone()).await;
    assert_eq!(site.state("a").await, "held");
    site.sql("UPDATE submissions SET state = 'in_doubt' WHERE certificate_id = 'a'").await;
    site.record_again(62, &record).await;
    assert_eq!(site.state("a").await, "in_doubt");
}

#[tokio::test]
async fn a_record_that_is_not_written_yet_is_written_though_it_may_have_been() {
    let mut site = Site::with(&["a"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    let record = site.committed(1, &claim, receipt());
    site.record_again(1, &record).await;
    assert_eq!(site.state("a").await, "submitted");
}

#[tokio::test]
async fn a_row_that_somebody_moved_since_stays_where_it_is() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    let read = site.reads(60, 1).await.remove(0);
    site.sql("UPDATE submissions SET state = 'held' WHERE certificate_id = 'a'").await;
    let record = site.read_back(61, &read, nothing_placed());
    site.record(61, record).await;
    assert_eq!(site.state("a").await, "held");
    assert_eq!(site.outcomes("a").await[1].as_deref(), Some("not_committed"), "the read is on record all the same");
}

#[tokio::test]
async fn a_record_that_a_rule_refuses_concerns_its_row_alone() {
    let mut site = Site::with(&["a", "b"]).await;
    let claims = site.commits(0, 2).await;
    let mut wrong = site.committed(1, &claims[0], receipt());
    wrong.finished.outcome = CommitClass::Retry.as_str();
    let right = site.committed(1, &claims[1], receipt());
    let done = site.turn(1, &[wrong, right], 0, 0).await;
    let sentence = "a submission in flight is on its way to the server; wait for its outcome";
    assert_eq!(done.refused, [refused(1, "a", Some(claims[0].request), sentence)]);
    assert_eq!(site.state("b").await, "submitted");
    assert_eq!((site.state("a").await.as_str(), site.outcomes("a").await), ("in_flight", vec![None]), "all or nothing");
    let mended = site.committed(1, &claims[0], receipt());
    site.record(2, mended).await;
    assert_eq!(site.state("a").await, "submitted");
}

#[tokio::test]
async fn the_protocol_of_a_row_in_doubt_holds_from_the_record_alone() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    let first = site.read(60, nothing_placed()).await;
    assert_eq!((first.row.evidence.negative_reads, first.row.evidence.reads), (0, 0));
    let second = site.read(600, nothing_placed()).await;
    assert_eq!((second.row.evidence.negative_reads, second.row.evidence.reads), (1, 1));
    assert_eq!(site.state("a").await, "pending");
    let again = site.commits(600, 1).await.remove(0);
    assert_eq!((again.row.evidence.negative_reads, again.row.tries), (2, 1));
    let outcomes: Vec<Option<String>> =
        [Some("in_doubt"), Some("not_committed"), Some("not_committed"), None].map(|o| o.map(str::to_owned)).into();
    assert_eq!(site.outcomes("a").await, outcomes);
}

/// A certificate whose commit is followed by so many reads that failed, in a queue of its own.
async fn evidence_after(reads: i64) -> crate::submission::Evidence {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    site.sql("DROP TRIGGER requests_insert_rules; DROP TRIGGER requests_inserted").await;
    sqlx::query(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
         INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at, finished_at, outcome)
         SELECT 'a', 'read', 'this', 1, 1, 1, ? FROM n",
    )
    .bind(reads)
    .bind(ReadClass::Retry.as_str())
    .execute(&mut site.queue.connection)
    .await
    .unwrap();
    site.sql("UPDATE submissions SET due_at = 1").await;
    // Its number isn't the next of its sequence while the trigger is gone, which nobody minds here.
    site.reads(60, 1).await.remove(0).row.evidence
}

#[tokio::test]
async fn a_commit_is_seen_behind_however_many_reads_and_what_is_not_looked_at_counts_as_in_doubt() {
    let all = evidence_after(498).await;
    assert_eq!((all.last_commit, all.reads), (Some(CommitClass::InDoubt), 498));
    assert!(!all.earlier_in_doubt, "499 requests, and nothing before them");
    let cut = evidence_after(499).await;
    assert!(cut.earlier_in_doubt, "500 requests, and perhaps more before them");
    let behind = evidence_after(600).await;
    assert_eq!((behind.last_commit, behind.earlier_in_doubt), (Some(CommitClass::InDoubt), true));
}

#[tokio::test]
async fn a_due_time_that_somebody_sets_while_a_request_is_on_the_way_is_kept() {
    let mut site = Site::with(&["a"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    site.sql("UPDATE submissions SET due_at = 9000000000").await;
    let record = site.committed(1, &claim, CommitOutcome::Retry(refusal()));
    site.record(1, record).await;
    assert_eq!(site.number("SELECT due_at FROM submissions").await, Some(9_000_000_000));

    let mut site = Site::with(&["b"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    site.sql("UPDATE submissions SET due_at = 9000000000").await;
    let record = site.committed(1, &claim, lost());
    site.record(1, record).await;
    assert_eq!(site.number("SELECT not_before FROM submissions").await, Some(9_000_000_000), "once it is read back");
}
