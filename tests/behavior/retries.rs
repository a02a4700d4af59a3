//! Temporary failures are retried a bounded number of times. Permanent ones fail at once, with their code.

use certcommit::daemon::Stop;
use certcommit::simulator::Fault;

use crate::support::{Bench, got, in_time};

const NETWORK: &str = "FailedOperation.NetworkError";
const BACKEND: &str = "InternalError.BackendResponseError";

fn error(code: &str) -> Fault {
    Fault::Error(code.to_owned())
}

#[tokio::test]
async fn a_row_that_fails_twice_temporarily_is_submitted_at_the_third_try() {
    let bench = Bench::new().await;
    bench.simulator.script_commits("abcb1234", vec![error(NETWORK), error(NETWORK)]);
    bench.enqueue(&["abcb1234"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    let row = bench.row("abcb1234").await;
    assert_eq!((row.tries, row.resolved_by.as_deref(), row.error_code), (3, Some("reply"), None));
    let answers: Vec<String> = bench.simulator.arrivals().into_iter().map(|arrival| arrival.answer).collect();
    assert_eq!(answers, [NETWORK, "ok", NETWORK, "ok", "ok"], "it is read before each further try");
}

#[tokio::test]
async fn a_network_error_after_a_placed_order_is_not_repeated() {
    let bench = Bench::new().await;
    bench.simulator.script_commits("abcb1234", vec![Fault::ErrorAfter(NETWORK.to_owned())]);
    bench.enqueue(&["abcb1234"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    assert_eq!(bench.row("abcb1234").await.resolved_by.as_deref(), Some("readback"));
    assert_eq!(bench.simulator.commits_of("abcb1234").len(), 1);
}

#[tokio::test]
async fn the_last_try_is_read_back_if_it_may_have_been_executed() {
    let mut bench = Bench::new().await;
    bench.set("retry.max_tries", "1");
    for code in [NETWORK, BACKEND] {
        let id = if code == NETWORK { "network" } else { "backend" };
        bench.simulator.script_commits(id, vec![Fault::ErrorAfter(code.to_owned())]);
        bench.enqueue(&[id]).await;
    }
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["network", "backend"]).await;
}

#[tokio::test]
async fn a_failed_row_that_is_retried_by_hand_is_read_back_first() {
    let bench = Bench::new().await;
    let refused = "FailedOperation.InvalidParam";
    bench.simulator.script_commits("abcb1234", vec![Fault::ErrorAfter(refused.to_owned())]);
    bench.enqueue(&["abcb1234"]).await;
    bench.run_until_empty().await;
    assert_eq!(bench.row("abcb1234").await.error_code.as_deref(), Some(refused));
    bench.sql("UPDATE submissions SET state = 'pending'").await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    assert_eq!(bench.simulator.commits_of("abcb1234").len(), 1);
}

#[tokio::test]
async fn a_backend_error_is_read_back_before_each_further_try() {
    let bench = Bench::new().await;
    bench.simulator.script_commits("abcb1234", vec![error(BACKEND), error(BACKEND)]);
    bench.enqueue(&["abcb1234"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    assert_eq!(bench.row("abcb1234").await.tries, 3);
    let kinds: Vec<&str> =
        bench.simulator.arrivals().iter().map(|arrival| if arrival.is_commit() { "commit" } else { "read" }).collect();
    assert_eq!(kinds, ["commit", "read", "commit", "read", "commit"]);
}

#[tokio::test]
async fn a_backend_error_after_a_placed_order_is_not_repeated() {
    let bench = Bench::new().await;
    bench.simulator.script_commits("abcb1234", vec![Fault::ErrorAfter(BACKEND.to_owned())]);
    bench.enqueue(&["abcb1234"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    assert_eq!(bench.row("abcb1234").await.resolved_by.as_deref(), Some("readback"));
    assert_eq!(bench.simulator.commits_of("abcb1234").len(), 1);
}

#[tokio::test]
async fn a_row_that_always_fails_ends_with_its_code_after_the_last_try() {
    let mut bench = Bench::new().await;
    bench.set("retry.max_tries", "3");
    for (id, code) in [("network", NETWORK), ("backend", BACKEND)] {
        bench.simulator.script_commits_forever(id, error(code));
    }
    bench.enqueue(&["network", "backend"]).await;
    bench.run_until_empty().await;
    for (id, code) in [("network", NETWORK), ("backend", BACKEND)] {
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.tries, row.error_code.as_deref()), ("failed", 3, Some(code)), "{row:?}");
        assert!(row.request_id.is_some() && row.reason.is_some_and(|reason| reason.contains("3 tries")));
        assert_eq!(bench.simulator.commits_of(id).len(), 3);
    }
}

#[tokio::test]
async fn a_permanent_refusal_fails_at_once_with_code_and_request_id() {
    let bench = Bench::new().await;
    let refusals = [
        ("gone", "FailedOperation.CertificateNotFound"),
        ("invalid", "FailedOperation.CertificateInvalid"),
        ("param", "FailedOperation.InvalidParam"),
    ];
    for (id, code) in refusals {
        bench.simulator.script_commits_forever(id, error(code));
    }
    bench.enqueue(&refusals.map(|(id, _)| id)).await;
    bench.run_until_empty().await;
    for (id, code) in refusals {
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.error_code.as_deref()), ("failed", Some(code)), "{row:?}");
        assert!(row.request_id.is_some_and(|id| !id.is_empty()));
        assert_eq!(bench.simulator.commits_of(id).len(), 1);
    }
}

#[tokio::test]
async fn a_restart_keeps_the_tries_and_the_backoff() {
    let mut bench = Bench::new().await;
    bench.set("retry.initial_backoff", "5m");
    bench.set("retry.max_backoff", "5m");
    bench.simulator.script_commits("abcb1234", vec![error(NETWORK)]);
    bench.enqueue(&["abcb1234"]).await;
    let daemon = bench.start().await;
    in_time("the first try", bench.simulator.until_commits(1)).await;
    daemon.stop(Stop::Soon).await;
    let row = bench.row("abcb1234").await;
    assert_eq!((row.state.as_str(), row.tries, row.error_code.as_deref()), ("pending", 1, Some(NETWORK)), "{row:?}");
    let waits: bool = bench.value("SELECT due_at > created_at FROM submissions").await;
    assert!(waits, "the backoff is in the row");
    bench.sql("UPDATE submissions SET due_at = 0").await;
    bench.run_until_empty().await;
    assert_eq!(bench.row("abcb1234").await.tries, 2);
    bench.assert_each_submitted_once(&["abcb1234"]).await;
}

#[tokio::test]
async fn a_failed_row_set_to_pending_by_hand_starts_over() {
    let mut bench = Bench::new().await;
    bench.set("retry.max_tries", "1");
    bench.simulator.script_commits("abcb1234", vec![error(NETWORK)]);
    bench.enqueue(&["abcb1234"]).await;
    bench.run_until_empty().await;
    assert_eq!(bench.row("abcb1234").await.state, "failed");
    let again = format!("UPDATE submissions SET state = 'pending' WHERE state = 'failed' AND error_code = '{NETWORK}'");
    bench.sql(&again).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    let row = bench.row("abcb1234").await;
    assert_eq!((row.tries, row.error_code), (1, None));
    assert_eq!(bench.simulator.commits().iter().filter(|commit| got("ok")(commit)).count(), 1);
}
