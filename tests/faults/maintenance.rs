//! What the daemon does for its database in the background: the check after a crash, and pruning.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use certcommit::queue::RestoreMarker;
use certcommit::simulator::Options;
use serde_json::Value;

use crate::support::{Bench, Process, event_of, ids, in_time, output};

async fn bench(settings: &[(&str, &str)]) -> Bench {
    let options = Options { latency: Duration::from_millis(150), rate_limit: None, ..Options::default() };
    Bench::with(options, settings).await
}

fn says(words: &str) -> impl Fn(&Value) -> bool + '_ {
    move |line| line["message"].as_str().is_some_and(|message| message.contains(words))
}

/// Starts a daemon, and kills it during its work.
async fn run_and_kill(bench: &Bench, ids: &[String]) {
    bench.enqueue(ids).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    daemon.kill();
}

async fn stop(daemon: Process) -> Vec<Value> {
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0), "{lines:#?}");
    lines
}

#[tokio::test]
async fn after_a_crash_the_database_is_checked_in_the_background_and_after_a_clean_stop_it_is_not() {
    let (bench, ids) = (bench(&[]).await, ids(12));
    run_and_kill(&bench, &ids).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let line = daemon.until_line("the check", says("the database was checked, and is intact")).await;
    assert_eq!(line["level"], "INFO", "{line}");
    in_time("all orders", bench.simulator.until_orders(12)).await;
    stop(daemon).await;
    assert!(!bench.path("queue.db-wal").exists(), "the check's connection is closed, so the last checkpoint is made");

    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let lines = stop(daemon).await;
    assert!(!lines.iter().any(says("the database was checked")), "{lines:#?}");
}

#[tokio::test]
async fn damage_found_by_the_check_stops_sending_and_ends_the_daemon_with_65() {
    let (bench, ids) = (bench(&[]).await, ids(60));
    run_and_kill(&bench, &ids).await;
    bench.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    // The daemon's work doesn't touch this page: only a check finds the damage.
    let page: i64 = bench.value("SELECT rootpage FROM sqlite_master WHERE name = 'submissions_error'").await;
    let at = u64::try_from((page - 1) * 4096).unwrap();
    fs::OpenOptions::new().write(true).open(bench.database()).unwrap().write_all_at(&[0x5a; 4096], at).unwrap();
    let (code, lines) = bench.spawn(&["run"]).end().await;
    assert_eq!(code, Some(65), "{lines:#?}");
    let found = lines.iter().find(|line| event_of(line) == "database_unavailable").expect("it says what it found");
    assert!(found["level"] == "ERROR" && says("is corrupt: ")(found) && says("restore a backup")(found), "{found}");
    assert!(bench.simulator.commits().len() < ids.len(), "it stopped midway");
    let checked = output(bench.command(&["check", "--integrity"])).await;
    let stderr = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.code() == Some(65) && stderr.contains("queue.db is damaged"), "{stderr}");
}

#[tokio::test]
async fn a_full_check_alongside_a_running_daemon_finds_no_damage() {
    let (bench, ids) = (bench(&[]).await, ids(30));
    bench.enqueue(&ids).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let checked = output(bench.command(&["check", "--integrity"])).await;
    let stdout = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && stdout.contains("\nintegrity      intact"), "{stdout}");
    in_time("all orders", bench.simulator.until_orders(30)).await;
    stop(daemon).await;
}

#[tokio::test]
async fn old_requests_are_pruned_in_the_background_only_if_configured() {
    for (keep, left) in [("off", 2), ("1d", 1)] {
        let (bench, ids) = (bench(&[("retention.requests", keep)]).await, ids(40));
        for outcome in ["throttled", "failed"] {
            bench.sql(&old_commit(outcome)).await;
        }
        // The restore marker must match those requests, or the queue would count as restored.
        RestoreMarker::open(&bench.database()).unwrap().reset(2).unwrap();
        bench.sql("UPDATE submissions SET state = 'canceled'").await;
        bench.enqueue(&ids).await;
        let mut daemon = bench.spawn(&["run"]);
        if keep != "off" {
            let line = daemon.until_line("the end of a pass", says("pruned 1 requests")).await;
            assert_eq!(line["deleted"], 1, "{line}");
        }
        in_time("all orders", bench.simulator.until_orders(40)).await;
        stop(daemon).await;
        let old: i64 = bench.value("SELECT count(*) FROM requests WHERE certificate_id = 'old'").await;
        assert_eq!(old, left, "{keep}");
        bench.assert_each_submitted_once(&ids).await;
    }
}

/// An old commit with this outcome.
fn old_commit(outcome: &str) -> String {
    format!(
        "INSERT OR IGNORE INTO submissions (certificate_id, due_at) VALUES ('old', 9999999999);
         INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at) VALUES ('old', 'commit', 'before', 0, 0);
         UPDATE requests SET finished_at = 1, outcome = '{outcome}' WHERE finished_at IS NULL"
    )
}
