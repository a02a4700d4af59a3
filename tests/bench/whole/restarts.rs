//! The limit over many lives: a daemon that is killed with SIGKILL at random, and started again on the same queue. The
//! last life comes to its end.
//!
//! `BENCH_LIVES` (50) lives of up to four seconds; `BENCH_SEED` repeats their lengths. What is in doubt is read back
//! sooner than users have it, so that the last life needn't wait for ten minutes. That nothing is sent again without
//! the reads that it takes is held by assertion.

use std::time::Duration;

use certcommit::simulator::Options;
use fastrand::Rng;
use tokio::time::sleep;

use super::arrivals::fullest_second;
use super::report::Figure;
use super::support::{Bench, Row, bench_size, ids, new_seed};

/// More than the lives get through.
const ROWS_A_LIFE: usize = 40;
/// The limiter's first window is a part of it, so that some lives end before they send.
const LONGEST_LIFE_MS: u64 = 4_000;
const SOONER: [(&str, &str); 2] = [("verify.settle", "2s"), ("verify.resend_after", "10s")];

pub(crate) async fn measure() -> Vec<Figure> {
    let lives: usize = bench_size("LIVES", 50);
    let seed = bench_size("SEED", new_seed());
    let mut rng = Rng::with_seed(seed);
    let (latency, jitter) = (Duration::from_millis(300), Duration::from_millis(20));
    let options = Options { latency, jitter, rate_limit: None, seed, ..Options::default() };
    let bench = Bench::to_measure_at(options, &SOONER).await;
    let ids = ids(lives * ROWS_A_LIFE);
    bench.enqueue(&ids).await;
    for _ in 0..lives {
        let daemon = bench.spawn(&["run"]);
        // When the kill comes is what is measured.
        sleep(Duration::from_millis(rng.u64(0..=LONGEST_LIFE_MS))).await;
        daemon.kill();
    }
    let killed_until = bench.simulator.commits().len();
    assert_eq!(bench.spawn(&["run", "--until-empty"]).end().await.0, Some(0));
    let again = bench.assert_each_repeat_explained().await;
    let lost = lost(&bench).await;
    let situation = format!("{lives} lives that were killed (seed {seed}), and one more");
    vec![
        fullest_second(&situation, &bench.simulator.commit_times()),
        Figure::wanted("submissions lost over them", lost.to_string(), "0", lost == 0),
        Figure::told(
            "commits sent until the last kill; again, and only after two reads",
            format!("{killed_until}; {again}"),
        ),
    ]
}

/// How many rows don't have the one order that the API has for them.
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
