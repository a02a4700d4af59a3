//! How much of the limit is used, and whether it is ever exceeded: with an API that replies after 5 ms, 300 ms and 3 s, and over
//! cold TLS connections to a distant one. The simulator refuses nothing, so every arrival counts.
//!
//! All four run in parallel, each with a simulator in a thread of its own, for `BENCH_LIMIT_SECONDS` (300).

use std::time::Duration;

use certcommit::simulator::Options;
use tokio::net::TcpListener;

use super::arrivals::{use_of_the_limit, worst_sliding_second};
use super::report::{Figure, milliseconds};
use super::support::{Authority, Bench, Distance, FaultProxy, Process, bench_size, ids, lateness, within};

const JITTER: Duration = Duration::from_millis(20);
const FAR_AWAY: Distance = Distance { round_trip: Duration::from_millis(100), jitter: JITTER };
const PER_SECOND: usize = 20;

/// The figures of one situation, and the longest delay of a timer meanwhile.
type Measured = (Vec<Figure>, Duration);

pub(crate) async fn measure() -> Vec<Figure> {
    let (fast, medium, slow, far) = tokio::join!(
        replying_after("replies after 5 ms", Duration::from_millis(5)),
        replying_after("replies after 300 ms", Duration::from_millis(300)),
        replying_after("replies after 3 s", Duration::from_secs(3)),
        over_tls("cold TLS connections, 100 ms away"),
    );
    let (figures, late): (Vec<_>, Vec<_>) = [fast, medium, slow, far].into_iter().unzip();
    let late = late.into_iter().max().unwrap_or_default();
    let delay = Figure::without_target("longest delay of the simulator's timers, all four runs", milliseconds(late));
    figures.into_iter().flatten().chain([delay]).collect()
}

async fn bench(latency: Duration) -> Bench {
    let options = Options { latency, jitter: JITTER, rate_limit: None, ..Options::default() };
    Bench::to_measure_at(options, &[]).await
}

async fn replying_after(situation: &str, latency: Duration) -> Measured {
    let bench = bench(latency).await;
    let seconds = fill(&bench).await;
    let daemon = bench.spawn(&["run"]);
    measure_run(&bench, daemon, situation, seconds).await
}

async fn over_tls(situation: &str) -> Measured {
    let mut bench = bench(Duration::from_millis(5)).await;
    let authority = Authority::new("Trusted");
    authority.write(&bench.path("authority.pem"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let proxy = {
        let _there = bench.beside_the_api();
        let server = Some(authority.server("localhost"));
        FaultProxy::on(TcpListener::from_std(listener).unwrap(), &bench.simulator, server, FAR_AWAY)
    };
    bench.set("api.endpoint", &format!("https://localhost:{}", proxy.port()));
    let seconds = fill(&bench).await;
    let mut command = bench.command(&["run"]);
    command.env("SSL_CERT_FILE", bench.path("authority.pem"));
    measure_run(&bench, Process::spawn(command), situation, seconds).await
}

/// Enqueues as many rows as the limit allows in the time. Returns the seconds.
async fn fill(bench: &Bench) -> usize {
    let seconds = bench_size("LIMIT_SECONDS", 300);
    bench.enqueue(&ids(PER_SECOND * seconds)).await;
    seconds
}

async fn measure_run(bench: &Bench, daemon: Process, situation: &str, seconds: usize) -> Measured {
    let late = {
        let _there = bench.beside_the_api();
        lateness()
    };
    let patience = Duration::from_secs(60) * 2 * u32::try_from(seconds).unwrap().div_ceil(60);
    within(patience, situation, bench.simulator.until_commits(PER_SECOND * seconds)).await;
    daemon.kill();
    let times = bench.simulator.commit_times();
    (vec![use_of_the_limit(situation, &times), worst_sliding_second(situation, &times)], *late.borrow())
}
