//! The limit over many restarts: a daemon is killed with SIGKILL at random and started again on the same queue. The last run
//! ends by itself.
//!
//! `BENCH_LIVES` (50) runs of up to four seconds; `BENCH_SEED` repeats their lengths. Readbacks come sooner than by default, so
//! that the last run needn't wait for ten minutes. It is asserted that nothing is repeated without the required reads.

use std::time::Duration;

use certcommit::simulator::Options;
use fastrand::Rng;
use tokio::time::sleep;

use super::arrivals::worst_sliding_second;
use super::report::Figure;
use super::support::{Bench, Row, bench_size, ids, new_seed};

/// More rows than the runs can submit.
const ROWS_PER_RUN: usize = 40;
/// Includes the limiter's first window, so some runs end before they send.
const LONGEST_RUN_MS: u64 = 4_000;
const SHORT_WAITS: [(&str, &str); 2] = [("verify.settle", "2s"), ("verify.resend_after", "10s")];

pub(crate) async fn measure() -> Vec<Figure> {
    let lives: usize = bench_size("LIVES", 50);
    let seed = bench_size("SEED", new_seed());
    let mut rng = Rng::with_seed(seed);
    let (latency, jitter) = (Duration::from_millis(300), Duration::from_millis(20));
    let options = Options { latency, jitter, rate_limit: None, seed, ..Options::default() };
    let bench = Bench::to_measure_at(options, &SHORT_WAITS).await;
    let ids = ids(lives * ROWS_PER_RUN);
    bench.enqueue(&ids).await;
    for _ in 0..lives {
        let daemon = bench.spawn(&["run"]);
        // Only the time of the kill varies.
        sleep(Duration::from_millis(rng.u64(0..=LONGEST_RUN_MS))).await;
        daemon.kill();
    }
    let sent_before_kill = bench.simulator.commits().len();
    assert_eq!(bench.spawn(&["run", "--until-empty"]).end().await.0, Some(0));
    let repeated = bench.assert_each_repeat_explained().await;
    let lost = lost(&bench).await;
    let situation = format!("over {lives} killed runs (seed {seed}) and a last one");
    vec![
        worst_sliding_second(&situation, &bench.simulator.commit_times()),
        Figure::with_target("submissions lost over these runs", lost.to_string(), "0", lost == 0),
        Figure::without_target(
            "commits sent before the last kill; repeated, each after the required reads",
            format!("{sent_before_kill}; {repeated}"),
        ),
    ]
}

/// Counts the rows that don't have the one order that the API has for them.
async fn lost(bench: &Bench) -> usize {
    let rows = bench.rows().await;
    let is_lost = |row: &&Row| {
        row.state != "submitted"
            || row.order_id.is_none()
            || row.order_id != bench.simulator.order_id(&row.certificate_id)
            || bench.simulator.orders_placed(&row.certificate_id) != 1
    };
    rows.iter().filter(is_lost).count()
}
