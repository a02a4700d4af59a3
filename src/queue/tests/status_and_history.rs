//! What `status` and `history` show.

use sqlx::AssertSqlSafe;

use super::*;

#[tokio::test]
async fn submissions_that_the_daemon_still_works_on_are_open() {
    let mut site = Site::with(&["done", "doubt", "flight", "waits", "waits-too"]).await;
    assert_eq!(site.queue.counts().await.unwrap().open(), 5);
    site.commit(0, receipt()).await;
    site.commit(0, lost()).await;
    site.commits(0, 1).await;
    let counts = site.queue.counts().await.unwrap();
    assert_eq!(counts.open(), 4);
    assert_eq!([State::Submitted, State::Pending, State::Held].map(|state| counts.of(state)), [1, 2, 0]);
    assert_eq!(Counts::default().of(State::Pending), 0);
}

#[tokio::test]
async fn the_oldest_open_submission_is_the_one_created_first_in_any_open_state() {
    let mut site = Site::new().await;
    assert_eq!(site.queue.oldest_open().await.unwrap(), None);
    site.sql("INSERT INTO submissions (certificate_id, due_at, created_at) VALUES ('a', 1, 500), ('b', 2, 600), ('c', 3, 700)")
        .await;
    assert_eq!(site.queue.oldest_open().await.unwrap(), Some(500));
    site.commit(0, receipt()).await;
    site.commit(0, lost()).await;
    assert_eq!(site.queue.oldest_open().await.unwrap(), Some(600), "in doubt");
    site.commits(0, 1).await;
    assert_eq!(site.queue.oldest_open().await.unwrap(), Some(600));
}

#[tokio::test]
async fn the_status_shows_what_is_due_and_what_failed() {
    let mut site = Site::with(&["a", "b", "c", "d"]).await;
    for code in ["Rare.Code", "Frequent.Code", "Frequent.Code"] {
        site.commit(0, Outcome::refused(OutcomeClass::Failed, ApiError::new(code, "words", None))).await;
    }
    let claim = site.commits(99, 1).await.remove(0);
    let result = site.ended(100, &claim, receipt());
    site.complete(100, result).await;
    for (text, after) in [("later", 900), ("sooner", 800)] {
        site.enqueue(NewSubmission { due_at: Some(BEGIN + after), ..new(text) }).await;
    }
    site.queue.set_paused(Some(&by_operator("why"))).await.unwrap();
    let status = site.queue.status(BEGIN + 100).await.unwrap();
    assert_eq!(status.next_due, Some(BEGIN + 800));
    assert_eq!(status.last_due, Some(BEGIN + 900));
    let errors: Vec<_> =
        status.errors.iter().map(|error| (error.code.as_deref().unwrap(), error.count, error.at_least)).collect();
    assert_eq!(errors, [("Frequent.Code", 2, false), ("Rare.Code", 1, false)]);
    assert_eq!((status.counts.of(State::Failed), status.counts.open()), (3, 2));
    assert_eq!(status.control.pause_reason.as_deref(), Some("why"));
    let oldest = status.oldest.unwrap();
    assert_eq!(Some(oldest.created_at), site.queue.oldest_open().await.unwrap());
    assert_eq!((oldest.certificate_id.as_str(), oldest.state.as_str()), ("later", "pending"));
}

#[tokio::test]
async fn no_query_of_the_status_reads_or_sorts_a_whole_table() {
    use crate::queue::status::{FREQUENT_ERRORS, LAST_DUE, OLDEST, PER_MINUTE};
    let mut site = Site::new().await;
    for query in [FREQUENT_ERRORS, LAST_DUE, OLDEST, PER_MINUTE] {
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")))
            .fetch_all(&mut site.queue.connection)
            .await
            .unwrap();
        let steps: Vec<&str> = plan.iter().map(|(_, _, _, step)| step.as_str()).collect();
        let table = |step: &&&str| step.contains(" submissions") || step.contains(" requests");
        assert!(steps.iter().filter(table).count() > 0, "{steps:#?}");
        assert!(steps.iter().filter(table).all(|step| step.starts_with("SEARCH ")), "{steps:#?}");
        let next_code = steps.iter().any(|step| step.contains("submissions_error (state=? AND error_code>?)"));
        let one_code = steps.iter().any(|step| step.contains("submissions_error (state=? AND error_code=?)"));
        assert_eq!((next_code, one_code), (query == FREQUENT_ERRORS, query == FREQUENT_ERRORS), "{steps:#?}");
        let by_state = steps.iter().any(|step| step.contains("submissions_state"));
        assert_eq!(by_state, query == OLDEST, "only the lowest id of a state is the first entry there: {steps:#?}");
    }
}

#[tokio::test]
async fn successes_are_counted_by_the_minute_in_which_they_came() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    site.commit(0, receipt()).await;
    site.commit(100, lost()).await;
    let (last, before) = (MINUTES - 1, MINUTES - 2);
    for (later, minute) in [(0, Some(last)), (59, Some(last)), (60, Some(before)), (1799, Some(0)), (1800, None)] {
        let status = site.queue.status(BEGIN + later).await.unwrap();
        let counted: Vec<usize> = (0..MINUTES).filter(|minute| status.per_minute[*minute] > 0).collect();
        assert_eq!(counted, minute.into_iter().collect::<Vec<_>>(), "{later} s later");
        assert_eq!(status.per_minute.iter().sum::<i64>(), i64::from(minute.is_some()));
    }
}

#[tokio::test]
async fn failures_without_a_code_are_counted_too_and_every_count_is_bounded() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, refused_with(OutcomeClass::Failed)).await;
    site.sql(
        "DROP TRIGGER submissions_insert_rules;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
           INSERT INTO submissions (certificate_id, state) SELECT 'given-up-' || i, 'failed' FROM n",
    )
    .await;
    let errors = site.queue.status(BEGIN).await.unwrap().errors;
    let counts: Vec<_> = errors.iter().map(|error| (error.code.as_deref(), error.count, error.at_least)).collect();
    assert_eq!(counts, [(None, 10_000, true), (Some(error().code.as_str()), 1, false)]);
}

#[tokio::test]
async fn a_submission_is_shown_with_its_status_in_words() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, receipt()).await;
    let line = site.line("a").await;
    assert_eq!((line.certificate_id.as_str(), line.state.as_str()), ("a", "submitted"));
    assert_eq!(line.status_text.as_deref(), Some("information submitted, pending confirmation letter upload"));
    assert_eq!(line.due_at.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(site.queue.submission(&id("unknown")).await.unwrap(), None);
}

#[tokio::test]
async fn the_history_of_a_certificate_has_its_own_requests_in_order() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    site.enqueue(new("b")).await;
    site.commit(1, receipt()).await;
    site.read_back(60, nothing_placed()).await;
    let lines = site.queue.history(&id("a")).await.unwrap();
    let requests: Vec<_> = lines.iter().map(|line| (line.number, line.kind.as_str(), line.started_at)).collect();
    assert_eq!(requests, [(1, "commit", BEGIN * 1000), (3, "read", (BEGIN + 60) * 1000)]);
    assert_eq!(site.queue.history(&id("b")).await.unwrap()[0].order_id.as_deref(), Some("SO1"));
    assert_eq!(site.queue.history(&id("unknown")).await.unwrap(), []);
}
