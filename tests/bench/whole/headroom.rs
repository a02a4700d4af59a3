//! Headroom: how many submissions per second are possible without the rate limit.
//!
//! The limit is lifted through the library, since no configuration can. Everything else is as in production: signatures, full
//! durability, default settings. The simulator shares the machine's cores. `BENCH_HEADROOM_ROWS` sets the number of rows.

use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{Options, rate};
use sqlx::Connection as _;

use super::report::Figure;
use super::support::{Bench, bench_size};

const TARGET: f64 = 2_000.0;
/// Requests per second: far more than any machine achieves.
const LIFTED: u32 = 1_000_000;

pub(crate) async fn measure() -> Vec<Figure> {
    let rows: u32 = bench_size("HEADROOM_ROWS", 20_000);
    let options = Options { rate_limit: None, ..Options::default() };
    let bench = Bench::to_measure_at(options, &[]).await;
    fill(&bench, rows).await;
    let before = spent_so_far();
    let since = clock::now().instant;
    bench
        .run_until_empty_with(|settings| (settings.rate.per_second, settings.rate.guard) = (LIFTED, Duration::ZERO))
        .await;
    let (wall, spent) = (clock::now().instant - since, spent_so_far() - before);
    let times = bench.simulator.commit_times();
    assert_eq!(times.len(), usize::try_from(rows).unwrap(), "each row is sent once");
    let rate = rate(&times);
    vec![
        Figure::with_target(
            format!("submissions per second without the limit, {rows} rows; the simulator shares the two cores"),
            format!("{rate:.0}"),
            "at least 2000",
            rate >= TARGET,
        ),
        Figure::without_target(
            "CPU time per submission, simulator included",
            format!(
                "{:.3} ms, {:.2} cores",
                spent.as_secs_f64() * 1000.0 / f64::from(rows),
                spent.div_duration_f64(wall)
            ),
        ),
    ]
}

async fn fill(bench: &Bench, rows: u32) {
    let mut connection = bench.connect().await;
    sqlx::query(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
         INSERT INTO submissions (certificate_id) SELECT printf('cert-%07d', i) FROM n",
    )
    .bind(rows)
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

/// The CPU time of this process so far, including ended threads, to a hundredth of a second.
fn spent_so_far() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name, in parentheses, may contain spaces. User and system time are the 14th and 15th fields.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u32 = fields[11..=12].iter().map(|field| field.parse::<u32>().unwrap()).sum();
    TICK * ticks
}
