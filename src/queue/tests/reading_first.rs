//! Rows that have to be read before they are sent again, in numbers.

use super::*;

/// When these tests look, in seconds after the start of the run: what an earlier one sent has settled.
const NOW: u64 = 100;

impl Site {
    /// With so many rows whose backend answered an earlier run in error, and one behind them that was never sent.
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
async fn so_many_that_they_would_hide_all_others_are_put_off() {
    let mut site = Site::with_unread(300).await;
    assert_eq!(names(&site.commits(NOW, 16).await), ["behind"]);
    let (due, waiting) = (site.due().await, "reason = 'waits to be read before the next try: others are read first'");
    assert!((0..300).contains(&due), "{due}");
    let query = sqlx::AssertSqlSafe(format!(
        "SELECT count(*) FROM submissions WHERE {waiting} AND due_at BETWEEN 1700000101 AND 1700000130"
    ));
    let put_off: i64 = sqlx::query_scalar(query).fetch_one(&mut site.queue.connection).await.unwrap();
    assert_eq!(put_off, 300 - due);
}

#[tokio::test]
async fn so_few_that_they_hide_none_stay_due() {
    let mut site = Site::with_unread(40).await;
    let claims = site.turn(NOW, &[], 16, 0).await.claims;
    assert_eq!((names(&claims.commits), claims.put_off), (vec!["behind"], 0));
    assert_eq!(site.due().await, 40);
}

#[tokio::test]
async fn while_reading_is_paused_they_wait_for_longer_and_say_why() {
    let mut site = Site::with_unread(300).await;
    let turn = Turn { reading_paused: true, ..asking(site.at(NOW), 1, 0) };
    assert_eq!(names(&site.queue.turn(&site.run, &turn).await.unwrap().claims.commits), ["behind"]);
    let latest = site.number("SELECT max(due_at) - 1700000100 FROM submissions").await.unwrap();
    assert!((31..=100).contains(&latest), "some wait about as long again as they waited: {latest}");
    let reason = "SELECT DISTINCT reason FROM submissions WHERE due_at > 1700000100";
    let reason = site.text(reason).await.unwrap();
    assert_eq!(reason, "waits to be read before the next try: reading is paused");
}

#[tokio::test]
async fn as_many_are_read_as_is_wanted_while_what_is_behind_them_is_sent() {
    let mut site = Site::with_unread(300).await;
    let claims = site.turn(NOW, &[], 16, 5).await.claims;
    assert_eq!((claims.reads.len(), names(&claims.commits)), (5, vec!["behind"]));
}

#[tokio::test]
async fn thousands_are_in_the_way_of_others_for_a_few_turns_only() {
    let mut site = Site::with_unread(3000).await;
    let mut turns = Vec::new();
    for _ in 0..9 {
        let claims = site.turn(NOW, &[], 16, 0).await.claims;
        turns.push((claims.put_off, claims.commits.len()));
    }
    assert!((300..700).contains(&turns[0].0) && turns[0].1 == 0, "a turn looks at a part of them: {turns:?}");
    assert_eq!(turns.iter().map(|(_, commits)| commits).sum::<usize>(), 1, "{turns:?}");
    assert_eq!(turns[8], (0, 0), "those that are left hide nothing: {turns:?}");
}

#[tokio::test]
async fn however_many_commits_are_wanted_each_turn_clears_a_part_of_the_way() {
    let mut site = Site::with_unread(1500).await;
    assert!(site.turn(NOW, &[], 1000, 0).await.claims.put_off > 1000);
    assert_eq!(names(&site.commits(NOW, 1000).await), ["behind"]);
}

#[tokio::test]
async fn those_that_have_not_settled_are_put_off_until_they_have() {
    let mut site = Site::with_unread(300).await;
    assert_eq!(names(&site.turn(1, &[], 16, 5).await.claims.commits), ["behind"]);
    let query = "SELECT count(*) FROM submissions WHERE due_at > 1700000001 AND due_at <> 1700000001 + 60";
    assert_eq!(site.number(query).await, Some(0));
}

#[tokio::test]
async fn a_rule_that_lets_none_be_put_off_spoils_no_turn() {
    let mut site = Site::with_unread(300).await;
    site.sql("CREATE TRIGGER mine BEFORE UPDATE OF due_at ON submissions BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    assert_eq!(names(&site.turn(NOW, &[], 16, 5).await.claims.commits), [""; 0]);
    assert_eq!(site.due().await, 301);
}
