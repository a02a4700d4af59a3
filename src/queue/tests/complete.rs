//! Completing requests: their outcomes, and what becomes of their rows.

use super::*;
use crate::submission::OutcomeClass;

#[tokio::test]
async fn a_submitted_row_has_its_order_and_no_error() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, refused_with(OutcomeClass::Retry)).await;
    assert_eq!(site.line("a").await.error_code.as_deref(), Some("Some.Code"));
    site.read_back_first(4, nothing_placed()).await;
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
async fn a_row_that_will_be_retried_shows_the_error_and_is_not_finished() {
    let mut site = Site::with(&["a"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    let result = site.ended(3, &claim, refused_with(OutcomeClass::Retry));
    site.complete(3, result).await;
    assert_eq!(site.text("SELECT error_message FROM submissions").await.as_deref(), Some("words"));
    assert_eq!(site.number("SELECT finished_at FROM submissions").await, None);
    assert_eq!(site.number("SELECT updated_at FROM submissions").await, Some(BEGIN + 3));
}

#[tokio::test]
async fn a_reason_is_written_with_its_code_and_parameters_and_cleared_with_them() {
    let mut site = Site::with(&["a"]).await;
    let code = "SELECT reason_code || ' ' || reason_parameters FROM submissions";
    site.commit(0, refused_with(OutcomeClass::Retry)).await;
    let stored = site.text(code).await.unwrap();
    assert!(stored.starts_with("try_failed {") && stored.contains("\"max_tries\":3"), "{stored}");
    site.read_back_first(4, nothing_placed()).await;
    site.commit(4, receipt()).await;
    let left = "SELECT coalesce(reason, reason_code, reason_parameters) FROM submissions";
    assert_eq!(site.text(left).await, None);
}

#[tokio::test]
async fn a_completed_request_has_all_that_is_known_about_it() {
    let mut site = Site::with(&["a"]).await;
    site.commit(3, refused_with(OutcomeClass::Retry)).await;
    let [line] = <[HistoryLine; 1]>::try_from(site.queue.history(&id("a")).await.unwrap()).unwrap();
    assert_eq!((line.outcome.as_deref(), line.http_status), (Some("retry"), Some(200)));
    assert_eq!((line.error_code.as_deref(), line.request_id.as_deref()), (Some("Some.Code"), Some("r-1")));
    assert_eq!(line.duration_ms, Some(123));
    assert_eq!(site.number("SELECT finished_at FROM requests").await, Some((BEGIN + 3) * 1000));
    assert_eq!(site.number("SELECT run_ms FROM requests").await, Some(3000));
}

#[tokio::test]
async fn a_retry_is_due_after_its_backoff_and_not_a_second_before() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, refused_with(OutcomeClass::Retry)).await;
    assert_eq!(site.state("a").await, "pending");
    assert_eq!(site.number("SELECT due_at FROM submissions").await, Some(BEGIN + 4));
    let early = site.write_and_claim(3, &[], 1, 1).await;
    assert!(early.commits().is_empty() && early.readbacks().is_empty(), "{early:?}");
    site.read_back_first(4, nothing_placed()).await;
    let claims = site.commits(4, 1).await;
    assert_eq!(claims[0].row.tries, 1);
}

#[tokio::test]
async fn a_row_that_stays_in_its_state_keeps_everything_but_due_time_and_reason() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, Outcome { error: Some(error()), ..lost() }).await;
    site.read_back(60, nothing_placed()).await;
    let line = site.line("a").await;
    assert_eq!((line.state.as_str(), line.tries, line.status), ("in_doubt", 1, None));
    assert_eq!(line.error_code.as_deref(), Some("Some.Code"));
    assert!(line.reason.unwrap().contains("another one follows"));
    assert_eq!(site.number("SELECT due_at FROM submissions").await, Some(BEGIN + 600));
}

#[tokio::test]
async fn a_failed_row_is_finished_and_a_held_one_is_not() {
    let mut site = Site::with(&["a"]).await;
    site.commit(1, refused_with(OutcomeClass::Failed)).await;
    assert_eq!(site.number("SELECT finished_at FROM submissions").await, Some(BEGIN + 1));
    let mut site = Site::with(&["b"]).await;
    site.commit(1, lost()).await;
    site.read_back(61, refused_with(OutcomeClass::Failed)).await;
    assert_eq!(site.state("b").await, "held");
    assert_eq!(site.number("SELECT finished_at FROM submissions").await, None);
}

#[tokio::test]
async fn a_result_that_is_already_written_changes_nothing_a_second_time() {
    let mut site = Site::with(&["a"]).await;
    let first = site.commits(0, 1).await.remove(0);
    let result = site.ended(0, &first, refused_with(OutcomeClass::Retry));
    site.complete(0, result.clone()).await;
    site.complete_again(1, &result).await;
    assert_eq!(site.line("a").await.tries, 1);
    site.read_back_first(4, nothing_placed()).await;
    let second = site.commits(4, 1).await.remove(0);
    site.complete_again(5, &result).await;
    assert_eq!(site.state("a").await, "in_flight", "its second commit is in flight");
    let result = site.ended(5, &second, receipt());
    site.complete(5, result).await;
    assert_eq!((site.line("a").await.tries, site.state("a").await.as_str()), (2, "submitted"));
}

#[tokio::test]
async fn a_result_that_is_already_written_leaves_a_row_that_was_moved_back_since() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    let read = site.readbacks_at(60, 1).await.remove(0);
    let result = site.ended(61, &read, refused_with(OutcomeClass::Failed));
    site.complete(61, result.clone()).await;
    assert_eq!(site.state("a").await, "held");
    site.sql("UPDATE submissions SET state = 'in_doubt' WHERE certificate_id = 'a'").await;
    site.complete_again(62, &result).await;
    assert_eq!(site.state("a").await, "in_doubt");
}

#[tokio::test]
async fn a_result_that_may_be_written_is_written_if_it_is_not() {
    let mut site = Site::with(&["a"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    let result = site.ended(1, &claim, receipt());
    site.complete_again(1, &result).await;
    assert_eq!(site.state("a").await, "submitted");
}

#[tokio::test]
async fn a_row_that_was_moved_since_its_claim_stays_in_its_state() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    let read = site.readbacks_at(60, 1).await.remove(0);
    site.sql("UPDATE submissions SET state = 'held' WHERE certificate_id = 'a'").await;
    let result = site.ended(61, &read, nothing_placed());
    site.complete(61, result).await;
    assert_eq!(site.state("a").await, "held");
    assert_eq!(site.outcomes("a").await[1].as_deref(), Some("not_committed"), "the readback is recorded anyway");
}

#[tokio::test]
async fn a_result_that_a_rule_rejects_affects_only_its_row() {
    let mut site = Site::with(&["a", "b"]).await;
    let claims = site.commits(0, 2).await;
    let mut wrong = site.ended(1, &claims[0], receipt());
    wrong.outcome.class = OutcomeClass::Retry;
    let right = site.ended(1, &claims[1], receipt());
    let done = site.write_and_claim(1, &[wrong, right], 0, 0).await;
    let sentence = "a submission in flight is on its way to the server; wait for its outcome";
    assert_eq!(done.rejected_results, [rejected_write(1, "a", Some(claims[0].request), sentence)]);
    assert_eq!(site.state("b").await, "submitted");
    assert_eq!((site.state("a").await.as_str(), site.outcomes("a").await), ("in_flight", vec![None]), "all or nothing");
    let fixed = site.ended(1, &claims[0], receipt());
    site.complete(2, fixed).await;
    assert_eq!(site.state("a").await, "submitted");
}

#[tokio::test]
async fn the_decision_on_a_row_in_doubt_needs_only_the_record() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    let first = site.read_back(60, nothing_placed()).await;
    assert_eq!((first.row.evidence.negative_readbacks, first.row.evidence.readbacks), (0, 0));
    let second = site.read_back(600, nothing_placed()).await;
    assert_eq!((second.row.evidence.negative_readbacks, second.row.evidence.readbacks), (1, 1));
    assert_eq!(site.state("a").await, "pending");
    let again = site.commits(600, 1).await.remove(0);
    assert_eq!((again.row.evidence.negative_readbacks, again.row.tries), (2, 1));
    let outcomes: Vec<Option<String>> =
        [Some("in_doubt"), Some("not_committed"), Some("not_committed"), None].map(|o| o.map(str::to_owned)).into();
    assert_eq!(site.outcomes("a").await, outcomes);
}

/// The evidence for a certificate whose commit is followed by this many failed readbacks, in a queue of its own.
async fn evidence_after(reads: i64) -> crate::submission::Evidence {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    site.sql("DROP TRIGGER requests_insert_rules; DROP TRIGGER requests_inserted").await;
    sqlx::query(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
         INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at, finished_at, outcome)
         SELECT 'a', 'read', 'this', 60000, 1, 1, ? FROM n",
    )
    .bind(reads)
    .bind(OutcomeClass::Retry.as_str())
    .execute(&mut site.queue.connection)
    .await
    .unwrap();
    site.sql("UPDATE submissions SET due_at = 1").await;
    // Without the trigger, its number isn't the next of the sequence, which doesn't matter here.
    site.readbacks_at(60, 1).await.remove(0).row.evidence
}

#[tokio::test]
async fn a_commit_is_found_behind_any_number_of_readbacks_and_unread_requests_count_as_in_doubt() {
    let all = evidence_after(498).await;
    assert_eq!((all.last_commit, all.readbacks), (Some(OutcomeClass::InDoubt), 498));
    assert!(!all.earlier_in_doubt, "499 requests, and nothing before them");
    let cut = evidence_after(499).await;
    assert!(cut.earlier_in_doubt, "500 requests, and perhaps more before them");
    let behind = evidence_after(600).await;
    assert_eq!((behind.last_commit, behind.earlier_in_doubt), (Some(OutcomeClass::InDoubt), true));
}

#[tokio::test]
async fn a_due_time_that_is_set_while_a_request_is_in_flight_is_kept() {
    let mut site = Site::with(&["a"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    site.sql("UPDATE submissions SET due_at = 9000000000").await;
    let result = site.ended(1, &claim, refused_with(OutcomeClass::Retry));
    site.complete(1, result).await;
    assert_eq!(site.number("SELECT due_at FROM submissions").await, Some(9_000_000_000));

    let mut site = Site::with(&["b"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    site.sql("UPDATE submissions SET due_at = 9000000000").await;
    let result = site.ended(1, &claim, lost());
    site.complete(1, result).await;
    assert_eq!(site.number("SELECT not_before FROM submissions").await, Some(9_000_000_000), "once it is read back");
}
