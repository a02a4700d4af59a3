//! Somebody enqueues a million rows in large batches, back to back, while the daemon works at full pace.

use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{rate, worst_second};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::{Instant, sleep};

use super::super::report::Figure;
use super::super::support::{Bench, in_time, scale};
use super::filling::{self, ID};
use super::working::{start, stop};

const BATCH: i64 = 5_000;
/// As long as the program by default lets others wait for the lock in its documentation.
const PATIENCE: Duration = Duration::from_secs(5);
const CAP: f64 = 20.0;
/// The queue that they come to.
const ROWS: i64 = 1_000_000;

/// What somebody met who enqueued in bulk.
struct Bulk {
    from: Instant,
    to: Instant,
    /// Batches that were refused the lock, and tried again.
    refused: usize,
    slowest: Duration,
}

pub(super) async fn measure() -> Vec<Figure> {
    let rows: i64 = scale("BULK", 1_000_000);
    let bench = super::bench().await;
    filling::fill(&bench, ROWS.min(scale("LARGEST", ROWS))).await;
    let (daemon, _) = start(&bench).await;
    in_time("its full pace", bench.simulator.until_commits(40)).await;
    let bulk = enqueue(&bench, rows).await;
    sleep(Duration::from_secs(2)).await;
    stop(daemon).await;
    let times = bench.simulator.commit_times();
    let meanwhile: Vec<Instant> = times.iter().copied().filter(|at| (bulk.from..=bulk.to).contains(at)).collect();
    figures(rows, &bulk, rate(&meanwhile) / CAP, longest_gap(&meanwhile), worst_second(&times))
}

fn figures(rows: i64, bulk: &Bulk, use_of_cap: f64, gap: Duration, worst: usize) -> Vec<Figure> {
    let what = format!("while somebody enqueues {rows} rows, {BATCH} a transaction");
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "millions")]
    let per_second = rows as f64 / (bulk.to - bulk.from).as_secs_f64();
    vec![
        Figure::wanted(
            format!("use of the cap {what}"),
            format!("{:.1} %, longest gap {} ms", use_of_cap * 100.0, gap.as_millis()),
            "at least 97 %",
            use_of_cap >= 0.97,
        ),
        Figure::wanted(format!("worst second {what}"), worst.to_string(), "at most 20", worst <= 20),
        Figure::wanted(
            format!("their transactions that were refused the lock {what}"),
            bulk.refused.to_string(),
            "none",
            bulk.refused == 0,
        ),
        Figure::told(
            "their rows a second meanwhile",
            format!("{per_second:.0}, the slowest transaction {} ms", bulk.slowest.as_millis()),
        ),
    ]
}

/// Enqueues so many rows, back to back, on one connection of somebody else's.
async fn enqueue(bench: &Bench, rows: i64) -> Bulk {
    let options = SqliteConnectOptions::new().filename(bench.database()).busy_timeout(PATIENCE);
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
    // Numbers that no queue has come to.
    let statement = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1000000001 + ? UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000 + ?)
         INSERT INTO submissions (certificate_id, priority) SELECT {ID}, i % 4 FROM n"
    );
    sqlx::query(AssertSqlSafe(statement)).bind(after).bind(up_to).execute(connection).await.map(drop)
}

fn longest_gap(times: &[Instant]) -> Duration {
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}
