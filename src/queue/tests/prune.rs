//! Which requests are pruned, and that no decision depends on them.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::prune::CANDIDATES;
use super::super::recorded_evidence::evidence;
use super::*;
use crate::submission::{Evidence, OutcomeClass};

/// Long after the runs of these tests, so that all their requests are old.
const LATER: UnixMillis = UnixMillis((BEGIN + 1_000_000) * 1000);

/// How many histories are tried.
const CASES: u32 = 200;

impl Site {
    /// Prunes the whole record once. Returns how many requests were deleted.
    async fn prune(&mut self, before: UnixMillis) -> u64 {
        let (mut after, mut deleted) = (0, 0);
        loop {
            let step = self.queue.prune(&self.run, self.at(0), &POLICY.verify, before, after).await.unwrap();
            deleted += step.deleted;
            match step.up_to {
                Some(up_to) => after = up_to,
                None => return deleted,
            }
        }
    }

    /// Records a finished request, as certcommit does.
    async fn request(&mut self, text: &str, (kind, outcome): (&str, &str)) {
        // In another run than the commits, and late in it, so that every readback counts.
        let (run_id, run_ms) = if kind == "commit" { ("this", 0) } else { ("later", 1_000_000) };
        let insert = "INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at) VALUES (?, ?, ?, ?, ?)";
        let insert = sqlx::query(insert).bind(text).bind(kind).bind(run_id).bind(run_ms).bind(BEGIN * 1000);
        insert.execute(&mut self.queue.connection).await.unwrap();
        let complete =
            "UPDATE requests SET finished_at = 1, outcome = ? WHERE certificate_id = ? AND finished_at IS NULL";
        sqlx::query(complete).bind(outcome).bind(text).execute(&mut self.queue.connection).await.unwrap();
    }

    /// Enqueues a certificate, records these requests and closes its submission.
    async fn closed(&mut self, text: &str, history: &[(&str, &str)]) {
        self.enqueue(new(text)).await;
        for request in history {
            self.request(text, *request).await;
        }
        sqlx::query("UPDATE submissions SET state = 'canceled' WHERE certificate_id = ?")
            .bind(text)
            .execute(&mut self.queue.connection)
            .await
            .unwrap();
    }

    async fn evidence(&mut self, text: &str) -> Evidence {
        let now = self.at(0);
        evidence(&mut self.queue.connection, &id(text), &self.run, now, &POLICY.verify).await.unwrap()
    }

    /// The error if the certificate is deleted and enqueued again; none if the rules allow that.
    async fn reenqueue_error(&mut self, text: &str) -> Option<String> {
        use sqlx::Connection as _;
        let mut trial = self.queue.connection.begin().await.unwrap();
        sqlx::query("DELETE FROM submissions WHERE certificate_id = ?").bind(text).execute(&mut *trial).await.unwrap();
        let insert = sqlx::query("INSERT INTO submissions (certificate_id) VALUES (?)").bind(text);
        let refused = insert.execute(&mut *trial).await.err().map(|error| error.to_string());
        trial.rollback().await.unwrap();
        refused
    }

    async fn numbers(&mut self) -> Vec<i64> {
        sqlx::query_scalar("SELECT number FROM requests ORDER BY number")
            .fetch_all(&mut self.queue.connection)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn the_last_commit_of_a_certificate_and_all_later_readbacks_stay() {
    let mut site = Site::new().await;
    let history = [
        ("commit", "in_doubt"),
        ("read", "not_committed"),
        ("read", "not_committed"),
        ("commit", "throttled"),
        ("commit", "failed"),
        ("read", "unclear"),
        ("commit", "not_sent"),
    ];
    site.closed("a", &history).await;
    assert_eq!(site.prune(LATER).await, 4);
    assert_eq!(site.numbers().await, [5, 6, 7]);
    assert_eq!(site.prune(LATER).await, 0);
}

#[tokio::test]
async fn requests_younger_than_the_limit_stay() {
    let mut site = Site::new().await;
    site.closed("a", &[("commit", "throttled"), ("commit", "failed")]).await;
    assert_eq!(site.prune(UnixMillis(BEGIN * 1000)).await, 0);
    assert_eq!(site.prune(UnixMillis(BEGIN * 1000 + 1)).await, 1);
}

#[tokio::test]
async fn requests_of_open_or_held_submissions_stay_and_those_of_deleted_ones_are_pruned() {
    let mut site = Site::new().await;
    let history = [("commit", "throttled"), ("commit", "in_doubt")];
    for text in ["pending", "in-doubt", "held"] {
        site.enqueue(new(text)).await;
        for request in history {
            site.request(text, request).await;
        }
    }
    site.sql("UPDATE submissions SET state = 'in_doubt' WHERE certificate_id IN ('in-doubt', 'held')").await;
    site.sql("UPDATE submissions SET state = 'held' WHERE certificate_id = 'held'").await;
    site.closed("deleted", &history).await;
    site.sql("DELETE FROM submissions WHERE certificate_id = 'deleted'").await;
    assert_eq!(site.prune(LATER).await, 1);
    assert_eq!(site.numbers().await, [1, 2, 3, 4, 5, 6, 8]);
}

#[tokio::test]
async fn a_pass_over_a_long_record_takes_small_steps_and_misses_no_request() {
    let mut site = Site::new().await;
    for number in 0..700 {
        site.closed(&format!("c{number}"), &[("commit", "throttled"), ("commit", "failed")]).await;
    }
    let step = site.queue.prune(&site.run, site.at(0), &POLICY.verify, LATER, 0).await.unwrap();
    assert!((1..=20).contains(&step.deleted), "{step:?}");
    assert_eq!(step.deleted + site.prune(LATER).await, 700);
    let kept: i64 = site.number("SELECT count(*) FROM requests WHERE outcome = 'failed'").await.unwrap();
    assert_eq!(kept, 700);
}

#[tokio::test]
async fn even_without_the_rules_no_evidence_is_pruned() {
    let mut site = Site::new().await;
    site.sql("DROP TRIGGER requests_delete_rules").await;
    site.closed("a", &[("commit", "in_doubt"), ("commit", "status_refused")]).await;
    let before = site.evidence("a").await;
    assert_eq!(site.prune(LATER).await, 0);
    assert_eq!((site.evidence("a").await, site.numbers().await), (before, vec![1, 2]));
}

#[tokio::test]
async fn a_run_that_was_superseded_prunes_nothing() {
    let mut site = Site::new().await;
    site.closed("a", &[("commit", "throttled"), ("commit", "failed")]).await;
    let superseded = site.run.clone();
    site.restart().await;
    assert!(site.queue.prune(&superseded, site.at(0), &POLICY.verify, LATER, 0).await.is_err());
    assert_eq!(site.numbers().await, [1, 2]);
}

#[tokio::test]
async fn a_step_scans_nothing() {
    let mut site = Site::new().await;
    let plan = format!("EXPLAIN QUERY PLAN {CANDIDATES}");
    let plan = sqlx::query_as(sqlx::AssertSqlSafe(plan)).bind(0).bind(500).bind(9).bind(20);
    let steps: Vec<(i64, i64, i64, String)> = plan.fetch_all(&mut site.queue.connection).await.unwrap();
    assert!(!steps.is_empty() && steps.iter().all(|(.., step)| !step.starts_with("SCAN")), "{steps:?}");
}

/// Any history that the rules allow, and some that they don't: a row that is sent again without a readback.
fn history() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let commits =
        OutcomeClass::of_kind(RequestKind::Commit).iter().map(|class| ("commit", class.as_str())).collect::<Vec<_>>();
    let reads =
        OutcomeClass::of_kind(RequestKind::Readback).iter().map(|class| ("read", class.as_str())).collect::<Vec<_>>();
    let negative = ("read", "not_committed");
    let likely = vec![("commit", "in_doubt"), ("commit", "backend_error"), ("commit", "throttled"), negative, negative];
    let any = prop_oneof![
        2 => proptest::sample::select(commits),
        1 => proptest::sample::select(reads),
        4 => proptest::sample::select(likely),
    ];
    proptest::collection::vec(any, 1..12)
}

#[test]
fn pruning_changes_no_evidence_whatever_the_history() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pruned = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let result = runner.run(&history(), |history| {
        runtime.block_on(async {
            let mut site = Site::new().await;
            site.closed("a", &history).await;
            let before = (site.evidence("a").await, site.reenqueue_error("a").await);
            pruned.set(pruned.get() + site.prune(LATER).await);
            let after = (site.evidence("a").await, site.reenqueue_error("a").await);
            prop_assert_eq!(before, after, "{:?}", &history);
            Ok(())
        })
    });
    result.unwrap();
    // On average, about one per history.
    assert!(pruned.get() > u64::from(CASES) / 2, "only {} were pruned at all", pruned.get());
}
