//! How soon an idle daemon sends what another process enqueues, from the return of the INSERT to the arrival at the API, and the
//! cost of being idle; with and without file notifications.
//!
//! The INSERTs come one by one, at random times, and slowly enough that the limit doesn't matter: `BENCH_INSERTS` (300) in each
//! case, after `BENCH_IDLE_SECONDS` (60) without any.

use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::Options;
use tokio::time::{Instant, sleep};

use super::report::{Figure, milliseconds, percentile};
use super::support::{Bench, Process, bench_size, ids, within};

/// A namespace without file notifications.
const UNWATCHED: [&str; 5] =
    ["unshare", "-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_inotify_instances; exec \"$0\" \"$@\""];
const INTERVAL_MS: std::ops::RangeInclusive<u64> = 150..=400;
/// After this, the start's work is done, and the limiter's first window is over.
const SETTLED: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn measure() -> Vec<Figure> {
    let watched = Idle::start("with file notifications", true).await;
    let unwatched = Idle::start("without file notifications", false).await;
    let (watched_cost, unwatched_cost) = tokio::join!(watched.cost(), unwatched.cost());
    let mut figures = vec![watched_cost, unwatched_cost];
    figures.extend(watched.pick_up("at most 10 ms", Duration::from_millis(10)).await);
    figures.extend(unwatched.pick_up("at most 150 ms", Duration::from_millis(150)).await);
    figures
}

/// A daemon with nothing to do.
struct Idle {
    bench: Bench,
    daemon: Process,
    situation: &'static str,
}

impl Idle {
    async fn start(situation: &'static str, watched: bool) -> Self {
        let bench = Bench::to_measure_at(Options::default(), &[]).await;
        let command = if watched { bench.command(&["run"]) } else { bench.command_under(&UNWATCHED, &["run"]) };
        let mut daemon = Process::spawn(command);
        daemon.until_event("ready").await;
        sleep(SETTLED).await;
        assert_eq!(watches_files(&daemon), watched, "{situation}");
        Self { bench, daemon, situation }
    }

    /// The CPU time that it takes.
    async fn cost(&self) -> Figure {
        let (before, since) = (self.daemon.processor_time(), clock::now().instant);
        sleep(Duration::from_secs(bench_size("IDLE_SECONDS", 60))).await;
        let part = (self.daemon.processor_time() - before).div_duration_f64(clock::now().instant - since);
        let what = format!("CPU time when idle, as a share of one core, {}", self.situation);
        Figure::with_target(what, format!("{:.2} %", 100.0 * part), "at most 0.5 %", part <= 0.005)
    }

    /// How soon it sends an enqueued row.
    async fn pick_up(self, target: &str, at_most: Duration) -> Vec<Figure> {
        let ids = ids(bench_size("INSERTS", 300));
        let inserts = insert(&self.bench, &ids).await;
        within(SOON, "the last commit", self.bench.simulator.until_commits(ids.len())).await;
        // A request may arrive before the INSERT has returned.
        let delays: Vec<Duration> = std::iter::zip(&ids, &inserts)
            .map(|(id, insert)| self.bench.simulator.commits_of(id)[0].at.saturating_duration_since(insert.returned))
            .collect();
        let at = |part| percentile(&delays, part).unwrap_or(Duration::MAX);
        let took: Vec<Duration> = inserts.iter().map(|insert| insert.returned - insert.begun).collect();
        let took = [0.5, 0.99, 1.0].map(|part| milliseconds(percentile(&took, part).unwrap_or(Duration::MAX)));
        let what = |part| format!("from an INSERT to the API, {}, {part} of {}", self.situation, ids.len());
        vec![
            Figure::without_target(what("median"), milliseconds(at(0.5))),
            Figure::with_target(what("99th percentile"), milliseconds(at(0.99)), target, at(0.99) <= at_most),
            Figure::without_target(what("slowest"), milliseconds(at(1.0))),
            Figure::without_target("the INSERTs themselves: median, 99th percentile, slowest", took.join(", ")),
        ]
    }
}

/// An INSERT by another process.
struct Insert {
    begun: Instant,
    returned: Instant,
}

/// Enqueues rows one by one, each in a transaction of its own.
async fn insert(bench: &Bench, ids: &[String]) -> Vec<Insert> {
    let mut outside = bench.connect().await;
    let mut inserts = Vec::new();
    for id in ids {
        let statement = "INSERT INTO submissions (certificate_id) VALUES (?)";
        let begun = clock::now().instant;
        sqlx::query(statement).bind(id).execute(&mut outside).await.unwrap();
        inserts.push(Insert { begun, returned: clock::now().instant });
        sleep(Duration::from_millis(fastrand::u64(INTERVAL_MS))).await;
    }
    inserts
}

fn watches_files(process: &Process) -> bool {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap();
    let mut targets = descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets.any(|target| target.as_os_str() == "anon_inode:inotify")
}
