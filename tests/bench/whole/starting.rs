//! How soon a cold start sends: from the start of the process to the first arrival at the API, on a queue with 100 pending rows,
//! less the window that the limiter waits because requests of an earlier run may still count at the server.
//!
//! `BENCH_STARTS` (20) starts, each on a queue of its own.

use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::Options;

use super::report::{Figure, milliseconds, percentile};
use super::support::{Bench, bench_size, ids, output, within};

/// One second plus the guard.
const WINDOW: Duration = Duration::from_millis(1_025);
const AT_MOST: Duration = Duration::from_millis(100);
const ROWS: usize = 100;
const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn measure() -> Vec<Figure> {
    let starts: usize = bench_size("STARTS", 20);
    let (mut starting, mut versions) = (Vec::new(), Vec::new());
    for _ in 0..starts {
        starting.push(start().await.saturating_sub(WINDOW));
        versions.push(version().await);
    }
    let at = |times: &[Duration], quantile| percentile(times, quantile).unwrap_or(Duration::MAX);
    let (median, slowest) = (at(&starting, 0.5), at(&starting, 1.0));
    vec![
        Figure::without_target(
            "from a cold start to the first commit, less the limiter's window, median",
            milliseconds(median),
        ),
        Figure::with_target(
            format!("the same, slowest of {starts}"),
            milliseconds(slowest),
            "at most 100 ms",
            slowest <= AT_MOST,
        ),
        Figure::without_target("`certcommit --version`, median", milliseconds(at(&versions, 0.5))),
        Figure::without_target("size of the program", size()),
    ]
}

/// Starts a daemon. Returns the time until the first commit arrives.
async fn start() -> Duration {
    let bench = Bench::to_measure_at(Options::default(), &[]).await;
    bench.enqueue(&ids(ROWS)).await;
    let since = clock::now().instant;
    let daemon = bench.spawn(&["run"]);
    within(SOON, "the first commit", bench.simulator.until_commits(1)).await;
    daemon.kill();
    bench.simulator.commit_times()[0].duration_since(since)
}

async fn version() -> Duration {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_certcommit"));
    command.arg("--version");
    let since = clock::now().instant;
    assert!(output(command).await.status.success());
    clock::now().instant - since
}

fn size() -> String {
    let bytes = std::fs::metadata(env!("CARGO_BIN_EXE_certcommit")).unwrap().len();
    format!("{:.1} MB", f64::from(u32::try_from(bytes).unwrap()) / 1e6)
}
