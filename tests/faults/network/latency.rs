//! The rate limit over a slow network: the round trips of setting up connections must neither bunch requests nor slow them down.
//!
//! The limit is promised while network delays vary by less than `rate.guard`. A busy machine adds to that, so the tests print
//! how late their own timers were.

use std::time::Duration;

use certcommit::simulator::{Options, rate, worst_second};
use tokio::net::TcpListener;

use crate::support::{
    Authority, Bench, ConnectProxy, Distance, FaultProxy, Process, TunnelReply, ids, lateness, test_size,
};

const CAP: usize = 20;

#[tokio::test]
async fn cold_tls_connections_neither_break_the_limit_nor_reduce_the_rate() {
    let rows: usize = test_size("ROWS", 60);
    let guard: u64 = test_size("GUARD_MS", 150);
    let round_trip: u64 = test_size("ROUND_TRIP_MS", 100);
    let latency: u64 = test_size("LATENCY_MS", 200);
    let options = Options { latency: Duration::from_millis(latency), rate_limit: None, ..Options::default() };
    let mut bench = Bench::with(options, &[("rate.guard", &format!("{guard}ms"))]).await;
    bench.set("api.connect_timeout", "5s");
    let authority = Authority::new("Trusted");
    authority.write(&bench.path("authority.pem"));
    let distance = Distance { round_trip: Duration::from_millis(round_trip), ..Distance::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Some(authority.server("localhost"));
    let proxy = FaultProxy::on(listener, &bench.simulator, server, distance);
    bench.set("api.endpoint", &format!("https://localhost:{}", proxy.port()));
    let ids = ids(rows);
    bench.enqueue(&ids).await;
    let late = lateness();
    let mut command = bench.command(&["run", "--until-empty"]);
    command.env("SSL_CERT_FILE", bench.path("authority.pem"));
    let (code, _) = Process::spawn(command).end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    let times = bench.simulator.commit_times();
    let (worst, rate) = (worst_second(&times), rate(&times));
    let late = late.borrow().as_millis();
    println!(
        "{} commits over {} connections, guard {guard} ms, round trip {round_trip} ms, latency {latency} ms: at most \
         {worst} in a second, {rate:.2} a second; timers were up to {late} ms late",
        times.len(),
        proxy.connections(),
    );
    assert_eq!(times.len(), rows);
    assert!(worst <= CAP, "{worst} in one second, at a guard of {guard} ms; timers were up to {late} ms late");
    assert!(worst > CAP / 2, "latency must not lower the rate, yet the best second had {worst}");
}

/// Requests that a proxy holds back depart together. Even that must be within the limit.
#[tokio::test]
async fn a_proxy_that_grants_its_tunnels_all_at_once_does_not_break_the_limit() {
    const HOST: &str = "ssl.certcommit.invalid";
    let options = Options { rate_limit: None, ..Options::default() };
    let mut bench = Bench::with(options, &[("rate.guard", "150ms")]).await;
    bench.set("api.connect_timeout", "20s");
    let authority = Authority::new("Trusted");
    authority.write(&bench.path("authority.pem"));
    let api = FaultProxy::with_tls(&bench.simulator, authority.server(HOST)).await;
    let proxy = ConnectProxy::to(api.port()).await;
    proxy.reply_with(TunnelReply::GrantAfterRequests(CAP));
    bench.set("api.endpoint", &format!("https://{HOST}"));
    bench.set("api.proxy", &proxy.url());
    let ids = ids(3 * CAP);
    bench.enqueue(&ids).await;
    let mut command = bench.command(&["run", "--until-empty"]);
    command.env("SSL_CERT_FILE", bench.path("authority.pem"));
    let (code, _) = Process::spawn(command).end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    let times = bench.simulator.commit_times();
    let worst = worst_second(&times);
    assert_eq!(times.len(), ids.len());
    assert!(worst <= CAP, "{worst} in one second");
}

#[tokio::test]
async fn a_proxy_that_is_far_away_neither_breaks_the_limit_nor_reduces_the_rate() {
    const HOST: &str = "ssl.certcommit.invalid";
    let rows: usize = test_size("ROWS", 60);
    let guard: u64 = test_size("GUARD_MS", 150);
    let round_trip: u64 = test_size("ROUND_TRIP_MS", 100);
    let latency: u64 = test_size("LATENCY_MS", 200);
    let options = Options { latency: Duration::from_millis(latency), rate_limit: None, ..Options::default() };
    let mut bench = Bench::with(options, &[("rate.guard", &format!("{guard}ms"))]).await;
    bench.set("api.connect_timeout", "5s");
    let authority = Authority::new("Trusted");
    authority.write(&bench.path("authority.pem"));
    let api = FaultProxy::with_tls(&bench.simulator, authority.server(HOST)).await;
    let distance = Distance { round_trip: Duration::from_millis(round_trip), ..Distance::default() };
    let proxy = ConnectProxy::on(ConnectProxy::listener().await, api.port(), None, distance);
    bench.set("api.endpoint", &format!("https://{HOST}"));
    bench.set("api.proxy", &proxy.url());
    let ids = ids(rows);
    bench.enqueue(&ids).await;
    let late = lateness();
    let mut command = bench.command(&["run", "--until-empty"]);
    command.env("SSL_CERT_FILE", bench.path("authority.pem"));
    let (code, _) = Process::spawn(command).end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    let times = bench.simulator.commit_times();
    let (worst, rate) = (worst_second(&times), rate(&times));
    let late = late.borrow().as_millis();
    println!(
        "{} commits through {} tunnels, guard {guard} ms, round trip {round_trip} ms, latency {latency} ms: at most \
         {worst} in a second, {rate:.2} a second; timers were up to {late} ms late",
        times.len(),
        proxy.tunnels(),
    );
    assert_eq!(times.len(), rows);
    assert!(proxy.tunnels() < rows, "tunnels are reused, yet {} were opened", proxy.tunnels());
    assert!(worst <= CAP, "{worst} in one second, at a guard of {guard} ms; timers were up to {late} ms late");
    assert!(worst > CAP / 2, "latency must not lower the rate, yet the best second had {worst}");
}
