//! The server never sees more requests than the limit in any sliding second.

use std::time::Duration;

use certcommit::daemon::Stop;
use certcommit::simulator::{Options, worst_second};
use certcommit::submission::State;

use crate::support::{Bench, got, ids, in_time};

const CAP: usize = 20;

/// More than the default, since tests share the machine and delays vary more.
const GUARD: &str = "150ms";

/// A bench with this latency in milliseconds, whose API has no rate limit.
async fn bench(latency: u64) -> Bench {
    let latency = Duration::from_millis(latency);
    Bench::with(Options { latency, rate_limit: None, ..Options::default() }, &[("rate.guard", GUARD)]).await
}

#[tokio::test]
async fn no_second_exceeds_the_cap_however_many_rows_wait() {
    let bench = bench(300).await;
    let ids = ids(60);
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    let times = bench.simulator.commit_times();
    let worst = worst_second(&times);
    assert_eq!(times.len(), 60);
    assert!(worst <= CAP, "{worst} in one second");
    assert!(worst > CAP / 2, "latency must not lower the rate, yet the best second had {worst}");
}

#[tokio::test]
async fn the_cap_holds_across_a_restart() {
    let bench = bench(0).await;
    let ids = ids(50);
    bench.enqueue(&ids).await;
    let daemon = bench.start().await;
    in_time("the first commits", bench.simulator.until_commits(18)).await;
    daemon.stop(Stop::Soon).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= CAP, "{worst} in one second");
}

#[tokio::test]
async fn retries_count_against_the_cap_too() {
    let mut bench = bench(0).await;
    bench.set("rate.per_second", "5");
    bench.set("pause.after", "1000");
    let ids = ids(12);
    for id in &ids {
        let busy = certcommit::simulator::Fault::Error("FailedOperation.NetworkError".to_owned());
        bench.simulator.script_commits(id, vec![busy]);
    }
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    let times = bench.simulator.commit_times();
    assert_eq!(times.len(), 24);
    assert!(worst_second(&times) <= 5, "{} in one second", worst_second(&times));
}

#[tokio::test]
async fn a_server_that_limits_the_rate_below_the_cap_spends_no_try_and_slows_the_pace() {
    let bench = bench(0).await;
    bench.simulator.set_rate_limit(Some(5));
    let ids = ids(25);
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Submitted, 25).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert!(bench.rows().await.iter().all(|row| row.tries == 1));
    let refused = bench.simulator.commits().iter().filter(|commit| got("RequestLimitExceeded")(commit)).count();
    assert!((1..25).contains(&refused), "{refused} refused");
    let pace: f64 = bench.value("SELECT pace FROM daemon").await;
    assert!(pace < 15.0, "{pace}/s");
}

#[tokio::test]
async fn reads_have_a_limit_of_their_own() {
    let mut bench = bench(0).await;
    bench.set("verify.per_second", "4");
    bench.simulator.set_read_rate_limit(None);
    let ids = ids(10);
    ids.iter().for_each(|id| bench.simulator.set_certificate(id, 8, Some(&format!("SO-{id}"))));
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    let times: Vec<_> = bench.simulator.reads().iter().map(|read| read.at).collect();
    assert_eq!(times.len(), 10);
    assert!(worst_second(&times) <= 4, "{} in one second", worst_second(&times));
}
