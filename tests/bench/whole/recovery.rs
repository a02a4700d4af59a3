//! `kill -9` in the midst of 200 submissions: how long, from the restart, until all that was in flight at the kill is settled.
//! By what had become of it: it never left, its order landed, or it left and never landed.
//!
//! `BENCH_KILLS` (100) kills, half of them at a latency of 50 ms and half at 300 ms, four at a time; `BENCH_SEED` repeats their
//! moments. In one in `BENCH_KILLS_PER_LOSS` (25), the last commits before the kill never land, which takes ten minutes. It is
//! asserted that nothing is lost, and that nothing is repeated without the required reads.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{Fault, Options, worst_second};
use fastrand::Rng;
use sqlx::Connection as _;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep};

use super::report::{Figure, percentile};
use super::support::{Bench, bench_size, ids, new_seed, within};

const ROWS: usize = 200;
const LATENCIES_MS: [u64; 2] = [50, 300];
/// How many kills are measured at the same time.
const AT_A_TIME: usize = 4;
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const TARGET: Duration = Duration::from_secs(3);
/// Longer than `verify.resend_after`.
const PATIENCE: Duration = Duration::from_secs(900);

/// What had become of a commit when the daemon was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fate {
    NeverLeft,
    Landed,
    NeverLanded,
}

impl Fate {
    const ALL: [Self; 3] = [Self::NeverLeft, Self::Landed, Self::NeverLanded];

    fn as_str(self) -> &'static str {
        match self {
            Self::NeverLeft => "never left",
            Self::Landed => "landed",
            Self::NeverLanded => "left and never landed",
        }
    }
}

/// A kill to make.
#[derive(Debug, Clone, Copy)]
struct Plan {
    latency_ms: u64,
    /// Whether the last commits before it never land.
    loses: bool,
    seed: u64,
}

/// What came of one.
#[derive(Debug, Clone)]
struct Kill {
    latency_ms: u64,
    /// When the last row of each fate was settled, from the restart.
    settled: HashMap<Fate, Duration>,
    worst_second: usize,
    repeats: usize,
}

pub(crate) async fn measure() -> Vec<Figure> {
    let kills: usize = bench_size("KILLS", 100);
    let per_loss: usize = bench_size("KILLS_PER_LOSS", 25);
    let seed = bench_size("SEED", new_seed());
    let mut rng = Rng::with_seed(seed);
    let plans = (0..kills).map(|number| Plan {
        latency_ms: LATENCIES_MS[number % LATENCIES_MS.len()],
        loses: number % per_loss == 0,
        seed: rng.u64(..),
    });
    let plans: Vec<Plan> = plans.collect();
    let (local, mut lanes) = (LocalSet::new(), JoinSet::new());
    for lane in 0..AT_A_TIME {
        lanes.spawn_local_on(one_by_one(plans.iter().copied().skip(lane).step_by(AT_A_TIME).collect()), &local);
    }
    let kills: Vec<Kill> = local.run_until(lanes.join_all()).await.concat();
    let mut figures: Vec<Figure> =
        LATENCIES_MS.iter().flat_map(|latency_ms| Fate::ALL.map(|fate| of_fate(&kills, *latency_ms, fate))).collect();
    let worst = kills.iter().map(|kill| kill.worst_second).max().unwrap_or_default();
    let repeats: usize = kills.iter().map(|kill| kill.repeats).sum();
    figures.push(Figure::with_target(
        format!("worst sliding second over {} kills (seed {seed})", kills.len()),
        worst.to_string(),
        "at most 20",
        worst <= 20,
    ));
    figures
        .push(Figure::without_target("commits repeated, each after two readbacks that counted", repeats.to_string()));
    figures
}

fn of_fate(kills: &[Kill], latency_ms: u64, fate: Fate) -> Figure {
    let of_latency = kills.iter().filter(|kill| kill.latency_ms == latency_ms);
    let times: Vec<Duration> = of_latency.filter_map(|kill| kill.settled.get(&fate).copied()).collect();
    let what = format!("kill -9, {latency_ms} ms: from the restart until what {} is settled", fate.as_str());
    let at = |quantile| {
        percentile(&times, quantile).map_or("none".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
    };
    let measured = format!("median {}, longest {}, of {} kills", at(0.5), at(1.0), times.len());
    match fate {
        Fate::NeverLeft | Fate::Landed => {
            let met = times.iter().all(|time| *time <= TARGET);
            Figure::with_target(what, measured, "at most 3 s", met)
        }
        Fate::NeverLanded => Figure::without_target(what, measured),
    }
}

async fn one_by_one(plans: Vec<Plan>) -> Vec<Kill> {
    let mut kills = Vec::new();
    for plan in plans {
        kills.push(kill(plan).await);
    }
    kills
}

async fn kill(Plan { latency_ms, loses, seed }: Plan) -> Kill {
    let mut rng = Rng::with_seed(seed);
    let latency = Duration::from_millis(latency_ms);
    let bench = Bench::to_measure_at(Options { latency, rate_limit: None, ..Options::default() }, &[]).await;
    let ids = ids(ROWS);
    bench.enqueue(&ids).await;
    let sent = rng.usize(20..=ROWS * 3 / 4);
    if loses {
        for id in &ids[sent - 3..sent] {
            bench.simulator.script_commits(id, vec![Fault::HangBefore]);
        }
    }
    let daemon = bench.spawn(&["run"]);
    within(PATIENCE, "commits", bench.simulator.until_commits(sent)).await;
    // Only the time of the kill varies.
    sleep(latency.mul_f64(rng.f64())).await;
    daemon.kill();
    let in_flight: HashSet<String> = in_state(&bench, "in_flight").await;
    let restarted = clock::now().instant;
    let daemon = bench.spawn(&["run"]);
    let settled = until_settled(&bench, &in_flight, restarted).await;
    within(PATIENCE, "the other rows", bench.simulator.until_orders(ROWS)).await;
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    let never_sent = never_sent(&bench).await;
    let mut by_fate: HashMap<Fate, Duration> = HashMap::new();
    for (id, at) in settled {
        let fate = if never_sent.contains(&id) {
            Fate::NeverLeft
        } else if bench.simulator.commits_of(&id).len() == 1 {
            Fate::Landed
        } else {
            Fate::NeverLanded
        };
        let latest = by_fate.entry(fate).or_default();
        *latest = at.max(*latest);
    }
    Kill {
        latency_ms,
        settled: by_fate,
        worst_second: worst_second(&bench.simulator.commit_times()),
        repeats: bench.assert_each_repeat_explained().await,
    }
}

/// Waits until these certificates are settled. Returns when each was.
async fn until_settled(bench: &Bench, waiting: &HashSet<String>, since: Instant) -> HashMap<String, Duration> {
    let mut settled = HashMap::new();
    within(PATIENCE, "what was in flight", async {
        while settled.len() < waiting.len() {
            sleep(POLL_INTERVAL).await;
            let done = in_state(bench, "submitted").await;
            let at = clock::now().instant - since;
            for id in done.intersection(waiting) {
                settled.entry(id.clone()).or_insert(at);
            }
        }
    })
    .await;
    settled
}

/// The certificates in this state.
async fn in_state(bench: &Bench, state: &str) -> HashSet<String> {
    let rows = bench.rows().await;
    rows.into_iter().filter(|row| row.state == state).map(|row| row.certificate_id).collect()
}

/// The certificates of which a commit was claimed and not sent.
async fn never_sent(bench: &Bench) -> HashSet<String> {
    let mut connection = bench.connect().await;
    let query =
        sqlx::query_scalar("SELECT certificate_id FROM requests WHERE kind = 'commit' AND outcome = 'not_sent'");
    let never_sent: Vec<String> = query.fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    never_sent.into_iter().collect()
}
