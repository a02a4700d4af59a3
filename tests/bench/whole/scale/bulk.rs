//! Another process enqueues a million rows in large batches, back to back, while the daemon works at full pace.

use std::fmt;
use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{rate, worst_second};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::{Instant, sleep};

use super::super::report::Figure;
use super::super::support::{Bench, bench_size, in_time};
use super::filling::{self, ID};
use super::working::{start, stop};

const BATCH: i64 = 5_000;
const PATIENCE: Duration = Duration::from_secs(5);
const CAP: f64 = 20.0;
/// The size of the queue at the start.
const ROWS: i64 = 1_000_000;

/// SQLite's default: a writer checkpoints after this many pages, and releases the lock meanwhile.
const CHECKPOINTS: &str = "1000";
/// A writer that never checkpoints takes the lock again at once, so the daemon rarely gets it.
const NO_CHECKPOINTS: &str = "0";

/// What the bulk writer observed.
struct Bulk {
    from: Instant,
    to: Instant,
    /// Batches that didn't get the lock, and were tried again.
    refused: usize,
    slowest: Duration,
}

pub(super) async fn measure() -> Vec<Figure> {
    let rows: i64 = bench_size("SCALE_BULK", 1_000_000);
    let what = format!("while another process enqueues {rows} rows, {BATCH} per transaction");
    let (bulk, pace) = beside(rows, CHECKPOINTS).await;
    let mut figures = figures(rows, &what, &bulk, &pace);
    let (_, pace) = beside(rows / 5, NO_CHECKPOINTS).await;
    figures.push(Figure::without_target(
        "use of the limit beside a writer that never checkpoints, and so never releases the lock",
        pace.to_string(),
    ));
    figures
}

/// Runs a daemon at full pace beside a bulk writer.
async fn beside(rows: i64, checkpoints: &'static str) -> (Bulk, Pace) {
    let bench = super::bench().await;
    filling::fill(&bench, ROWS.min(bench_size("SCALE_LARGEST", ROWS))).await;
    let (daemon, _) = start(&bench).await;
    in_time("its full pace", bench.simulator.until_commits(40)).await;
    let bulk = enqueue(&bench, rows, checkpoints).await;
    sleep(Duration::from_secs(2)).await;
    stop(daemon).await;
    let times = bench.simulator.commit_times();
    let pace = Pace::of(&times, &bulk);
    (bulk, pace)
}

fn figures(rows: i64, what: &str, bulk: &Bulk, pace: &Pace) -> Vec<Figure> {
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "millions")]
    let per_second = rows as f64 / (bulk.to - bulk.from).as_secs_f64();
    vec![
        Figure::with_target(
            format!("use of the limit {what}"),
            pace.to_string(),
            "at least 97 %",
            pace.use_of_cap >= 0.97,
        ),
        Figure::with_target(
            format!("worst sliding second {what}"),
            pace.worst_second.to_string(),
            "at most 20",
            pace.worst_second <= 20,
        ),
        Figure::with_target(
            "its transactions that didn't get the lock",
            bulk.refused.to_string(),
            "none",
            bulk.refused == 0,
        ),
        Figure::without_target(
            "its rows per second",
            format!("{per_second:.0}, the slowest transaction {} ms", bulk.slowest.as_millis()),
        ),
    ]
}

/// The daemon's pace during the bulk.
struct Pace {
    use_of_cap: f64,
    longest_gap: Duration,
    worst_second: usize,
}

impl Pace {
    /// From the last arrival before the bulk to the first one after it, so that gaps at either end count.
    fn of(times: &[Instant], bulk: &Bulk) -> Self {
        let first = times.partition_point(|at| *at < bulk.from).saturating_sub(1);
        let after = times.partition_point(|at| *at <= bulk.to).saturating_add(1).min(times.len());
        let meanwhile = &times[first..after];
        let gaps = meanwhile.windows(2).map(|pair| pair[1] - pair[0]);
        Self {
            use_of_cap: rate(meanwhile) / CAP,
            longest_gap: gaps.max().unwrap_or_default(),
            worst_second: worst_second(times),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} %, longest gap {} ms", self.use_of_cap * 100.0, self.longest_gap.as_millis())
    }
}

/// Enqueues this many rows back to back, on a connection of its own.
async fn enqueue(bench: &Bench, rows: i64, checkpoints: &'static str) -> Bulk {
    let options = SqliteConnectOptions::new().filename(bench.database()).busy_timeout(PATIENCE);
    let options = options.pragma("wal_autocheckpoint", checkpoints);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let from = clock::now().instant;
    let mut bulk = Bulk { from, to: from, refused: 0, slowest: Duration::ZERO };
    let mut done = 0;
    while done < rows {
        let next = rows.min(done + BATCH);
        let since = clock::now().instant;
        match insert(&mut connection, done, next).await {
            Ok(()) => done = next,
            Err(_) => bulk.refused += 1,
        }
        bulk.to = clock::now().instant;
        bulk.slowest = bulk.slowest.max(bulk.to - since);
    }
    connection.close().await.unwrap();
    bulk
}

async fn insert(connection: &mut SqliteConnection, after: i64, up_to: i64) -> Result<(), sqlx::Error> {
    // No other row has these numbers.
    let statement = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1000000001 + ? UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000 + ?)
         INSERT INTO submissions (certificate_id, priority) SELECT {ID}, i % 4 FROM n"
    );
    sqlx::query(AssertSqlSafe(statement)).bind(after).bind(up_to).execute(connection).await.map(drop)
}
