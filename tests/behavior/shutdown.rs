//! A stop sends nothing more, waits for requests in flight, and leaves every row in its true state.

use std::time::Duration;

use certcommit::daemon::Stop;
use certcommit::simulator::Options;
use certcommit::submission::State;

use crate::support::{Bench, event_of, ids, in_time};

async fn bench(latency: Duration) -> Bench {
    Bench::with(Options { latency, ..Options::default() }, &[]).await
}

#[tokio::test]
async fn a_stop_waits_for_requests_in_flight_and_returns_unsent_claims() {
    let bench = bench(Duration::from_millis(300)).await;
    let ids = ids(30);
    bench.enqueue(&ids).await;
    let daemon = bench.start().await;
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let ended = daemon.stop(Stop::Soon).await;
    let sent = bench.simulator.commits().len();
    assert!(sent < 30, "it stopped midway");
    assert_eq!((bench.count("submitted").await, bench.count("pending").await), (sent, 30 - sent));
    assert_eq!(usize::try_from(ended.counts.of(State::Submitted)), Ok(sent));
    let returned = bench.rows().await.into_iter().filter_map(|row| row.reason);
    assert!(returned.filter(|reason| reason.starts_with("not sent")).count() > 0);
    let mode: String = bench.value("SELECT mode FROM daemon").await;
    assert_eq!(mode, "stopped");
    let unfinished: i64 = bench.value("SELECT count(*) FROM requests WHERE finished_at IS NULL").await;
    assert_eq!(unfinished, 0);
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 30);
}

#[tokio::test]
async fn a_second_stop_leaves_requests_in_flight_in_doubt_and_the_next_run_reads_them_back() {
    let bench = bench(Duration::from_secs(60)).await;
    let ids = ids(6);
    bench.enqueue(&ids).await;
    let daemon = bench.start().await;
    in_time("all commits", bench.simulator.until_commits(6)).await;
    daemon.request_stop(Stop::Soon);
    let ended = daemon.stop(Stop::Now).await;
    assert_eq!(ended.counts.of(State::InDoubt), 6);
    bench.simulator.set_latency(Duration::ZERO, Duration::ZERO);
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    assert!(bench.rows().await.iter().all(|row| row.resolved_by.as_deref() == Some("readback")));
    assert_eq!(bench.simulator.commits().len(), 6);
}

#[tokio::test]
async fn a_request_that_outlasts_the_stop_timeout_is_in_doubt() {
    let mut bench = bench(Duration::from_secs(60)).await;
    bench.set("worker.stop_timeout", "200ms");
    bench.enqueue(&["abcb1234"]).await;
    let daemon = bench.start().await;
    in_time("the commit", bench.simulator.until_commits(1)).await;
    daemon.stop(Stop::Soon).await;
    let row = bench.row("abcb1234").await;
    assert_eq!(row.state, "in_doubt", "{row:?}");
}

#[tokio::test]
async fn sigterm_and_sigint_stop_the_daemon_cleanly_and_sighup_stops_a_run_until_empty() {
    for (signal, arguments) in [("TERM", &["run"][..]), ("INT", &["run"]), ("HUP", &["run", "--until-empty"])] {
        let bench = bench(Duration::from_millis(300)).await;
        bench.enqueue(&ids(30)).await;
        let daemon = bench.spawn(arguments);
        in_time("some commits", bench.simulator.until_commits(4)).await;
        daemon.signal(signal);
        let (code, lines) = daemon.end().await;
        assert_eq!(code, Some(0), "{signal}");
        let events: Vec<&str> = lines.iter().map(event_of).collect();
        assert!(events.contains(&"stopping") && events.last() == Some(&"stopped"), "{signal}: {events:?}");
        assert_eq!(bench.count("submitted").await, bench.simulator.orders(), "{signal}");
        assert_eq!((bench.count("in_flight").await, bench.count("in_doubt").await), (0, 0), "{signal}");
    }
}
