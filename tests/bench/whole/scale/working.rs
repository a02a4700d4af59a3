//! A daemon with a long queue: how soon it is ready, its memory, and `status` beside it.

use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::rate;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio::time::sleep;

use super::super::report::percentile;
use super::super::support::{Bench, Process, bench_size, event_of, output, within};
use super::filling::ID;

/// Slightly faster than the limit, so that something is always due, however short the queue.
const ENQUEUE_EVERY: Duration = Duration::from_millis(45);

/// `worker.max_in_flight`.
const MAX_IN_FLIGHT: usize = 64;
/// A latency that no request outlasts.
const NEVER: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(60);
/// One second plus the guard.
const WINDOW: Duration = Duration::from_millis(1_025);

/// 97 % of the cap.
pub(super) const FULL_PACE: f64 = 19.4;

/// The measured values.
pub(super) struct Working {
    /// The slowest of three starts.
    pub(super) ready: Duration,
    pub(super) peak_kb: u64,
    /// Commits.
    pub(super) per_second: f64,
    /// The median of five runs.
    pub(super) status: Duration,
    /// After a kill with as many requests in flight as there may be: from the restart to the first commit, less the limiter's
    /// window. None for a queue without so many rows.
    pub(super) restarted: Option<Duration>,
}

/// Runs a daemon at full pace while as many rows are enqueued as it sends, and measures it.
pub(super) async fn measure(bench: &Bench, rows: i64) -> Working {
    let mut ready = Duration::ZERO;
    for _ in 0..2 {
        let (daemon, took) = start(bench).await;
        ready = ready.max(took);
        stop(daemon).await;
    }
    let (daemon, took) = start(bench).await;
    let before = bench.simulator.commit_times().len();
    let seconds: u64 = bench_size("SCALE_SECONDS", 30);
    enqueue_for(bench, Duration::from_secs(seconds), rows).await;
    let per_second = rate(&bench.simulator.commit_times()[before..]);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let since = clock::now().instant;
        let status = output(bench.command(&["status"])).await;
        statuses.push(clock::now().instant - since);
        assert!(status.status.success(), "{status:?}");
    }
    let peak_kb = daemon.peak_memory_kb();
    let log = stop(daemon).await;
    if per_second < FULL_PACE {
        let unusual = log.iter().filter(|line| event_of(line) != "submitted");
        unusual.for_each(|line| eprintln!("{rows} rows, below the target: {line}"));
    }
    Working {
        ready: ready.max(took),
        peak_kb,
        per_second,
        status: percentile(&statuses, 0.5).expect("there are five"),
        restarted: if rows < 1_000 { None } else { Some(restart(bench).await) },
    }
}

/// Kills a daemon with as many requests in flight as there may be. Returns how soon the next one sends.
async fn restart(bench: &Bench) -> Duration {
    bench
        .sql(
            "UPDATE submissions SET due_at = 1
              WHERE id IN (SELECT id FROM submissions WHERE state = 'pending' ORDER BY id DESC LIMIT 200)",
        )
        .await;
    bench.simulator.set_latency(NEVER, Duration::ZERO);
    let before = bench.simulator.commits().len();
    let daemon = bench.spawn(&["run"]);
    within(SOON, "requests in flight", bench.simulator.until_commits(before + MAX_IN_FLIGHT)).await;
    daemon.kill();
    bench.simulator.set_latency(Duration::ZERO, Duration::ZERO);
    let sent = bench.simulator.commits().len();
    let since = clock::now().instant;
    let daemon = bench.spawn(&["run"]);
    within(SOON, "a commit", bench.simulator.until_commits(sent + 1)).await;
    daemon.kill();
    (bench.simulator.commit_times()[sent] - since).saturating_sub(WINDOW)
}

/// Starts a daemon. Returns the time until it is ready.
pub(super) async fn start(bench: &Bench) -> (Process, Duration) {
    let since = clock::now().instant;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    (daemon, clock::now().instant - since)
}

/// Stops a daemon. Returns its log.
pub(super) async fn stop(daemon: Process) -> Vec<Value> {
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0), "{lines:?}");
    lines
}

async fn enqueue_for(bench: &Bench, long: Duration, rows: i64) {
    let statement =
        format!("INSERT INTO submissions (certificate_id, priority) SELECT {ID}, i % 4 FROM (SELECT ? AS i)");
    let mut connection = bench.connect().await;
    let end = clock::now().instant + long;
    for number in rows + 1.. {
        if clock::now().instant >= end {
            return;
        }
        sqlx::query(AssertSqlSafe(statement.clone())).bind(number).execute(&mut connection).await.unwrap();
        sleep(ENQUEUE_EVERY).await;
    }
}
