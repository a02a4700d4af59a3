//! Long queues of 1, 1,000, 1,000,000 and 10,000,000 rows, half of them due in the future, of every priority: the cost of a
//! claim, the time until the daemon is ready, its memory, the time of `status`, and the pace while another process enqueues a
//! million rows.
//!
//! `BENCH_SCALE_LARGEST` sets the largest queue, which needs 1.5 GB on disk or in `/dev/shm`, and twice that during claims;
//! `BENCH_SCALE_SECONDS` (30) how long the daemon works at each; `BENCH_SCALE_BULK` (1,000,000) how many rows are enqueued at
//! the end.

mod bulk;
mod claims;
pub(super) mod filling;
mod working;

use std::path::Path;
use std::time::Duration;

use certcommit::simulator::Options;

use super::report::Figure;
use super::support::{Bench, bench_size};
use working::{FULL_PACE, Working};

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// The queues to measure, the largest last. The bulk is enqueued to the last but one.
fn sizes() -> Vec<i64> {
    let largest = bench_size("SCALE_LARGEST", 10_000_000);
    [1, 1_000, 1_000_000].into_iter().filter(|rows| *rows < largest).chain([largest]).collect()
}

pub(crate) async fn measure() -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut peaks = Vec::new();
    for rows in sizes() {
        let bench = bench().await;
        filling::fill(&bench, rows).await;
        figures.extend(claiming(&bench, rows).await);
        let working = working::measure(&bench, rows).await;
        peaks.push(working.peak_kb);
        figures.extend(of_working(rows, &working));
    }
    if let [smallest, .., largest] = peaks[..] {
        #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "kilobytes")]
        let ratio = largest as f64 / smallest as f64;
        let what = "peak memory with the longest queue, relative to one row";
        figures.push(Figure::without_target(what, format!("{ratio:.2} times")));
    }
    figures.extend(bulk::measure().await);
    figures
}

async fn bench() -> Bench {
    // Only the daemon enforces the limit.
    let options = Options { latency: Duration::from_millis(50), rate_limit: None, ..Options::default() };
    Bench::to_measure_at(options, &[]).await
}

/// Times batches that claim one row, and the most that a batch claims; on disk with syncs, and in memory without.
async fn claiming(bench: &Bench, rows: i64) -> Vec<Figure> {
    let mut figures = Vec::new();
    for each in [1, 16].into_iter().filter(|each| *each == 1 || rows >= 1_000) {
        let what = |part: &str| format!("{rows} rows: a batch that claims {each}, {part}");
        let in_memory = claims::measure(&bench.database(), Path::new(MEMORY), rows, each).await;
        let figure = format!("{} ({} to write the results)", in_memory.claiming, in_memory.recording);
        let met = in_memory.claiming.p99 <= Duration::from_millis(1);
        figures.push(match each {
            1 => Figure::with_target(what("without the sync"), figure, "p99 at most 1 ms", met),
            _ => Figure::without_target(what("without the sync"), figure),
        });
        let directory = bench.database().parent().expect("it is in a directory").to_owned();
        let on_disk = claims::measure(&bench.database(), &directory, rows, each).await;
        figures.push(Figure::without_target(what("with the sync"), on_disk.claiming.to_string()));
    }
    figures
}

fn of_working(rows: i64, working: &Working) -> Vec<Figure> {
    let Working { ready, peak_kb, per_second, status, restarted } = working;
    let ms = |time: &Duration| format!("{} ms", time.as_millis());
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "kilobytes")]
    let peak_mb = *peak_kb as f64 / 1000.0;
    let after_a_kill = restarted.map(|restarted| {
        Figure::with_target(
            format!("{rows} rows: from the restart after a kill with 64 in flight to the first commit, less the limiter's window"),
            ms(&restarted),
            "at most 100 ms",
            restarted <= Duration::from_millis(100),
        )
    });
    let figures = vec![
        Figure::with_target(
            format!("{rows} rows: from start to ready, slowest of 3"),
            ms(ready),
            "at most 1 s",
            *ready <= Duration::from_secs(1),
        ),
        Figure::with_target(
            format!("{rows} rows: submissions per second"),
            format!("{per_second:.2}"),
            "at least 19.4",
            *per_second >= FULL_PACE,
        ),
        Figure::with_target(
            format!("{rows} rows: peak memory"),
            format!("{peak_mb:.1} MB"),
            "at most 15 MB",
            peak_mb <= 15.0,
        ),
        Figure::with_target(
            format!("{rows} rows: certcommit status meanwhile, median of 5"),
            ms(status),
            "at most 200 ms",
            *status <= Duration::from_millis(200),
        ),
    ];
    figures.into_iter().chain(after_a_kill).collect()
}
