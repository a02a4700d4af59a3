//! A second daemon, signals in every state, no file descriptors, little memory.

use std::fs;
use std::process::Command;
use std::time::Duration;

use certcommit::simulator::{Fault, Options, rate, worst_second};
use serde_json::Value;

use crate::support::{Bench, Process, event_of, ids, in_time, test_size};

/// A bench with a slow API, so that there are always requests in flight.
async fn bench(latency: Duration) -> Bench {
    Bench::with(Options { latency, rate_limit: None, ..Options::default() }, &[("rate.guard", "150ms")]).await
}

const LATENCY: Duration = Duration::from_millis(300);
const FOREVER: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_daemon_whose_lock_file_was_unlinked_gives_way_to_a_second_one_and_nothing_is_sent_twice() {
    let (mut bench, ids) = (bench(LATENCY).await, ids(80));
    bench.set("verify.resend_after", "3s");
    bench.enqueue(&ids).await;
    let first = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(20)).await;
    fs::remove_file(bench.path("queue.db.lock")).unwrap();
    let mut second = bench.spawn(&["run", "--until-empty"]);
    let pid = second.until_event("started").await["pid"].to_string();
    let (code, lines) = first.end().await;
    assert_eq!(code, Some(75), "{lines:?}");
    let last = lines.iter().rfind(|line| event_of(line) == "stopped").expect("it says why it stopped");
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("another daemon holds") && message.contains(&pid), "{message}");
    let (code, _) = second.end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    assert_eq!(bench.simulator.commits().len(), 80);
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= 20, "{worst} in one second, from both");
}

/// Asserts that a process stopped cleanly, with everything on record.
async fn assert_stopped_cleanly(bench: &Bench, process: Process, state: &str) {
    let (code, lines) = process.end().await;
    assert_eq!(code, Some(0), "{state}: {lines:?}");
    assert_eq!(lines.last().map(event_of), Some("stopped"), "{state}");
    let mode: String = bench.value("SELECT mode FROM daemon").await;
    let unfinished: i64 = bench.value("SELECT count(*) FROM requests WHERE finished_at IS NULL").await;
    assert_eq!((mode.as_str(), unfinished, bench.count("in_flight").await), ("stopped", 0, 0), "{state}");
}

#[tokio::test]
async fn a_stop_during_the_start_takes_effect_after_it() {
    let bench = bench(LATENCY).await;
    bench.enqueue(&ids(3)).await;
    // The start waits for the database.
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("started").await;
    daemon.signal("TERM");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_stopped_cleanly(&bench, daemon, "starting").await;
    assert_eq!(bench.simulator.arrivals().len(), 0);
}

#[tokio::test]
async fn a_stop_ends_an_idle_daemon_at_once_whatever_it_waits_for() {
    for state in ["idle", "paused by hand", "paused by a fault", "in doubt"] {
        let mut bench = bench(Duration::ZERO).await;
        bench.set("verify.settle", "10m");
        bench.set("verify.resend_after", "20m");
        bench.set("pause.probe_initial", "10m");
        bench.set("pause.probe_max", "10m");
        let mut daemon = bench.spawn(&["run"]);
        daemon.until_event("ready").await;
        match state {
            "paused by hand" => {
                bench.sql("UPDATE control SET paused = 1").await;
                daemon.until_event("paused").await;
            }
            "paused by a fault" => {
                bench.simulator.outage(Some("AuthFailure.SecretIdNotFound"));
                bench.enqueue(&["abcb1234"]).await;
                daemon.until_event("paused").await;
            }
            "in doubt" => {
                bench.simulator.script_commits("abcb1234", vec![Fault::CutAfter]);
                bench.enqueue(&["abcb1234"]).await;
                daemon.until_event("in_doubt").await;
            }
            _ => {}
        }
        daemon.signal("TERM");
        assert_stopped_cleanly(&bench, daemon, state).await;
        assert_eq!(bench.count("in_doubt").await, usize::from(state == "in doubt"));
        assert_eq!(bench.count("pending").await, usize::from(state == "paused by a fault"));
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_stopping_daemon_at_once_with_requests_in_flight_in_doubt() {
    let (bench, ids) = (bench(FOREVER).await, ids(6));
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("all commits", bench.simulator.until_commits(6)).await;
    daemon.signal("TERM");
    daemon.until_event("stopping").await;
    daemon.signal("TERM");
    assert_stopped_cleanly(&bench, daemon, "stopping").await;
    assert_eq!(bench.count("in_doubt").await, 6);
    bench.simulator.set_latency(Duration::ZERO, Duration::ZERO);
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 6);
}

/// A daemon with results in hand, while another connection locks the database.
async fn with_results_in_hand(bench: &Bench) -> (Process, sqlx::sqlite::SqliteConnection, u64) {
    bench.enqueue(&ids(40)).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(6)).await;
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let line: Value = daemon.until_event("database_unavailable").await;
    for _ in 0..line["on_the_way"].as_u64().unwrap() {
        daemon.until_event("submitted").await;
    }
    let in_hand = line["results_in_hand"].as_u64().unwrap() + line["on_the_way"].as_u64().unwrap();
    assert!(in_hand > 0, "{line}");
    (daemon, other, in_hand)
}

#[tokio::test]
async fn a_stop_while_the_database_is_unavailable_waits_and_writes_the_results_in_hand() {
    let bench = bench(LATENCY).await;
    let (mut daemon, mut other, _) = with_results_in_hand(&bench).await;
    daemon.signal("TERM");
    daemon.until_event("stopping").await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_stopped_cleanly(&bench, daemon, "database unavailable").await;
    assert_eq!(bench.count("submitted").await, bench.simulator.orders());
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids(40)).await;
    assert_eq!(bench.simulator.commits().len(), 40);
}

#[tokio::test]
async fn a_second_signal_while_the_database_is_unavailable_ends_it_with_74_and_reports_the_unwritten_results() {
    let bench = bench(LATENCY).await;
    let (mut daemon, mut other, in_hand) = with_results_in_hand(&bench).await;
    daemon.signal("TERM");
    daemon.until_event("stopping").await;
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(74), "{lines:?}");
    let last = lines.iter().rfind(|line| event_of(line) == "stopped").expect("it says why it stopped");
    assert!(last["unwritten"].as_u64().unwrap() >= in_hand, "{in_hand} in hand: {last}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert!(bench.count("submitted").await < bench.simulator.orders());
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids(40)).await;
    bench.assert_nothing_resent_blindly().await;
    assert_eq!(bench.simulator.commits().len(), 40, "unwritten results are read back");
}

/// Limits how many file descriptors a running process may have.
fn limit_descriptors(process: &Process, count: &str) {
    let limit = format!("--nofile={count}:");
    let changed = Command::new("prlimit").args(["--pid", &process.pid().to_string(), &limit]).status();
    assert!(changed.unwrap_or_else(|error| panic!("prlimit: {error}")).success());
}

#[tokio::test]
async fn without_file_descriptors_nothing_is_sent_and_no_try_is_spent() {
    let (bench, ids) = (bench(Duration::ZERO).await, ids(12));
    bench.sql("UPDATE control SET paused = 1").await;
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("paused").await;
    limit_descriptors(&daemon, "3");
    bench.sql("UPDATE control SET paused = 0").await;
    let line = daemon.until_event("paused").await;
    assert!(line["message"].as_str().unwrap().contains("Too many open files"), "{line}");
    assert_eq!(bench.simulator.connections(), 0);
    let spent: i64 = bench.value("SELECT sum(tries) FROM submissions").await;
    let outcomes: String = bench.value("SELECT group_concat(DISTINCT outcome) FROM requests").await;
    assert_eq!((spent, outcomes.as_str()), (0, "not_sent"));
    limit_descriptors(&daemon, "1024");
    in_time("all orders", bench.simulator.until_orders(12)).await;
    daemon.signal("TERM");
    assert_stopped_cleanly(&bench, daemon, "after running out of descriptors").await;
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 12);
}

/// The memory limit, whatever the length of the queue.
const MEMORY_KB: u64 = 40 * 1024;
const COMMITS: usize = 60;

#[tokio::test]
async fn a_long_queue_needs_no_more_memory_than_a_short_one() {
    let rows: usize = test_size("ROWS", 100_000);
    let bench = bench(Duration::ZERO).await;
    bench
        .sql(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO submissions (certificate_id) SELECT printf('cert-%07d', i) FROM n"
        ))
        .await;
    let daemon = Process::spawn(within_limits(&bench));
    in_time("some commits", bench.simulator.until_commits(COMMITS)).await;
    let (peak, cpu) = (daemon.peak_memory_kb(), daemon.processor_time().as_millis());
    let per_second = rate(&bench.simulator.commit_times());
    println!("{rows} rows: peak {peak} kB; {per_second:.1} commits/s; {cpu} ms of CPU for {COMMITS} commits");
    assert!(peak < MEMORY_KB, "{peak} kB for {rows} rows");
    daemon.signal("TERM");
    assert_stopped_cleanly(&bench, daemon, "a long queue").await;
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= 20, "{worst} in one second");
}

/// The daemon, in the control group `FAULTS_CGROUP` if that is set.
fn within_limits(bench: &Bench) -> Command {
    match std::env::var("FAULTS_CGROUP") {
        Ok(group) => {
            let enter = format!("echo $$ > {group}/cgroup.procs && exec \"$@\"");
            bench.command_under(&["sh", "-c", &enter, "sh"], &["run"])
        }
        Err(_) => bench.command(&["run"]),
    }
}
