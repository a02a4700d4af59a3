//! A true limit below the cap: how much of it is used, how much the server refuses, and how soon the pace recovers once the
//! limit is lifted. The limits are 3, 10 and 17 per second, and one that changes: 15, 5 and 15.
//!
//! All four run in parallel, each with a simulator in a thread of its own, for `BENCH_LOWER_SECONDS` (600) and then until the
//! pace has recovered.

use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{Arrival, Options};
use tokio::time::{Instant, sleep_until, timeout};

use super::report::{Figure, percent};
use super::support::{Bench, bench_size, got, ids};

const LATENCY: Duration = Duration::from_millis(300);
const JITTER: Duration = Duration::from_millis(20);
const THROTTLED: &str = "RequestLimitExceeded";

/// The pace has recovered when this many commits arrive in this time: one percent less than the guard allows.
const RECOVERED: (usize, Duration) = (193, Duration::from_secs(10));
/// The pace must recover within this time.
const PATIENCE: u64 = 180;
/// The cap.
const CAP: u64 = 20;

pub(crate) async fn measure() -> Vec<Figure> {
    let seconds = bench_size("LOWER_SECONDS", 600);
    let third = seconds / 3;
    let (three, ten, seventeen, changing) = tokio::join!(
        under("3/s", vec![(3, seconds)]),
        under("10/s", vec![(10, seconds)]),
        under("17/s", vec![(17, seconds)]),
        under("15/s, then 5/s, then 15/s", vec![(15, third), (5, third), (15, third)]),
    );
    [three, ten, seventeen, changing].into_iter().flatten().collect()
}

/// Submits under these limits, each for this many seconds, and then without one.
async fn under(description: &str, limits: Vec<(u32, u64)>) -> Vec<Figure> {
    let options = Options { latency: LATENCY, jitter: JITTER, rate_limit: Some(limits[0].0), ..Options::default() };
    let bench = Bench::to_measure_at(options, &[]).await;
    let granted: u64 = limits.iter().map(|(limit, seconds)| u64::from(*limit) * seconds).sum();
    bench.enqueue(&ids(usize::try_from(granted + CAP * (PATIENCE + 60)).unwrap())).await;
    let _daemon = bench.spawn(&["run"]);
    bench.simulator.until_commits(1).await;
    let mut until = bench.simulator.commit_times()[0];
    for (limit, seconds) in limits {
        bench.simulator.set_rate_limit(Some(limit));
        until += Duration::from_secs(seconds);
        sleep_until(until).await;
    }
    let commits = bench.simulator.commits();
    bench.simulator.set_rate_limit(None);
    let recovery = timeout(Duration::from_secs(PATIENCE), until_recovered(&bench, clock::now().instant)).await;
    figures(description, granted, &commits, recovery.ok())
}

fn figures(limits: &str, granted: u64, commits: &[Arrival], recovery: Option<Duration>) -> Vec<Figure> {
    let refused = as_f64(commits.iter().filter(|commit| got(THROTTLED)(commit)).count());
    let sent = as_f64(commits.len());
    let used = (sent - refused) / f64::from(u32::try_from(granted).unwrap());
    let throttled = refused / sent;
    let took = recovery.map_or(format!("more than {PATIENCE} s"), |took| format!("{:.0} s", took.as_secs_f64()));
    vec![
        Figure::with_target(format!("use of a true limit of {limits}"), percent(used), "at least 95 %", used >= 0.95),
        Figure::with_target(format!("throttled at {limits}"), percent(throttled), "at most 2 %", throttled <= 0.02),
        Figure::with_target(
            format!("time until the pace is back at 20/s, after {limits}"),
            took,
            "at most 120 s",
            recovery.is_some_and(|took| took <= Duration::from_secs(120)),
        ),
    ]
}

/// Waits until the pace has recovered. Returns the time from lifting the limit until the recovered pace began.
async fn until_recovered(bench: &Bench, lifted: Instant) -> Duration {
    let (number, span) = RECOVERED;
    let before = bench.simulator.commits().len();
    // Reading all arrivals takes the simulator's lock; about once a second is enough.
    for count in ((before + number)..).step_by(20) {
        bench.simulator.until_commits(count).await;
        let times = bench.simulator.commit_times();
        let (first, last) = (times[count - number], times[count - 1]);
        if last.duration_since(first) <= span {
            return first.duration_since(lifted);
        }
    }
    unreachable!("the range is infinite")
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
