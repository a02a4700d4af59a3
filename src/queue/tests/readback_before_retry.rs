//! Many rows that need a readback before their next try.

use super::*;

/// The time of these batches, in seconds after the start of the run: commits of the earlier run have settled.
const NOW: u64 = 100;

impl Site {
    /// A queue with this many rows for which an earlier run got a backend error, and one behind them that was never sent.
    async fn with_unread(count: usize) -> Self {
        let mut site = Self::new().await;
        let statements = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
               INSERT INTO submissions (certificate_id, due_at) SELECT 'unread-' || i, 1000 FROM n;
             INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at)
               SELECT certificate_id, 'commit', 'before', 0, 0 FROM submissions;
             UPDATE requests SET finished_at = 1, outcome = 'backend_error'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut site.queue.connection).await.unwrap();
        site.enqueue(NewSubmission { due_at: Some(2000), ..new("behind") }).await;
        site
    }

    async fn due(&mut self) -> i64 {
        let query = "SELECT count(*) FROM submissions WHERE state = 'pending' AND due_at <= 1700000100";
        self.number(query).await.unwrap()
    }
}

#[tokio::test]
async fn rows_that_would_hide_all_others_are_postponed() {
    let mut site = Site::with_unread(300).await;
    assert_eq!(names(&site.commits(NOW, 16).await), ["behind"]);
    let (due, waiting) =
        (site.due().await, "reason = 'waits for a readback before the next try: other readbacks are due first'");
    assert!((0..300).contains(&due), "{due}");
    let query = sqlx::AssertSqlSafe(format!(
        "SELECT count(*) FROM submissions WHERE {waiting} AND due_at BETWEEN 1700000101 AND 1700000130"
    ));
    let postponed: i64 = sqlx::query_scalar(query).fetch_one(&mut site.queue.connection).await.unwrap();
    assert_eq!(postponed, 300 - due);
}

#[tokio::test]
async fn rows_too_few_to_hide_others_stay_due() {
    let mut site = Site::with_unread(40).await;
    let claims = site.write_and_claim(NOW, &[], 16, 0).await;
    assert_eq!((names(&claims.commits()), claims.postponed), (vec!["behind"], 0));
    assert_eq!(site.due().await, 40);
}

#[tokio::test]
async fn while_readback_is_paused_they_wait_longer_with_that_reason() {
    let mut site = Site::with_unread(300).await;
    let request = BatchRequest {
        limits: ClaimLimits { commits: 1, readback_paused: true, ..ClaimLimits::default() },
        ..claiming(1, 0)
    };
    assert_eq!(names(&site.batch(NOW, &request).await.unwrap().commits()), ["behind"]);
    let latest = site.number("SELECT max(due_at) - 1700000100 FROM submissions").await.unwrap();
    assert!((31..=100).contains(&latest), "some wait about as long again as they waited: {latest}");
    let reason = "SELECT DISTINCT reason FROM submissions WHERE due_at > 1700000100";
    let reason = site.text(reason).await.unwrap();
    assert_eq!(reason, "waits for a readback before the next try: readback is paused");
}

#[tokio::test]
async fn as_many_are_read_back_as_the_limit_allows_while_rows_behind_them_are_sent() {
    let mut site = Site::with_unread(300).await;
    let claims = site.write_and_claim(NOW, &[], 16, 5).await;
    assert_eq!((claims.readbacks().len(), names(&claims.commits())), (5, vec!["behind"]));
}

#[tokio::test]
async fn thousands_of_them_hide_others_for_only_a_few_batches() {
    let mut site = Site::with_unread(3000).await;
    let mut batches = Vec::new();
    for _ in 0..9 {
        let claims = site.write_and_claim(NOW, &[], 16, 0).await;
        batches.push((claims.postponed, claims.commits().len()));
    }
    assert!((300..700).contains(&batches[0].0) && batches[0].1 == 0, "a batch examines a part of them: {batches:?}");
    assert_eq!(batches.iter().map(|(_, commits)| commits).sum::<usize>(), 1, "{batches:?}");
    assert_eq!(batches[8], (0, 0), "the rest hides nothing: {batches:?}");
}

#[tokio::test]
async fn each_batch_postpones_a_part_of_them_however_high_the_limit_of_commits() {
    let mut site = Site::with_unread(1500).await;
    assert!(site.write_and_claim(NOW, &[], 1000, 0).await.postponed > 1000);
    assert_eq!(names(&site.commits(NOW, 1000).await), ["behind"]);
}

#[tokio::test]
async fn rows_that_have_not_settled_are_postponed_until_they_have() {
    let mut site = Site::with_unread(300).await;
    assert_eq!(names(&site.write_and_claim(1, &[], 16, 5).await.commits()), ["behind"]);
    let query = "SELECT count(*) FROM submissions WHERE due_at > 1700000001 AND due_at <> 1700000001 + 60";
    assert_eq!(site.number(query).await, Some(0));
}

#[tokio::test]
async fn a_rule_that_rejects_postponing_does_not_fail_the_batch() {
    let mut site = Site::with_unread(300).await;
    site.sql("CREATE TRIGGER mine BEFORE UPDATE OF due_at ON submissions BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    assert_eq!(names(&site.write_and_claim(NOW, &[], 16, 5).await.commits()), [""; 0]);
    assert_eq!(site.due().await, 301);
}
