//! An enqueued row gets its order, once, and the row and the log show it.

use certcommit::daemon::Stop;
use certcommit::submission::State;

use crate::support::{Bench, in_time};

#[tokio::test]
async fn a_row_inserted_while_the_daemon_runs_gets_its_result() {
    let bench = Bench::new().await;
    let mut daemon = bench.start().await;
    bench.sql("INSERT INTO submissions (certificate_id) VALUES ('abcb1234')").await;
    daemon.until_count(State::Submitted, 1).await;
    let row = bench.row("abcb1234").await;
    assert_eq!(row.order_id, bench.simulator.order_id("abcb1234"));
    assert_eq!((row.status, row.tries, row.resolved_by.as_deref()), (Some(8), 1, Some("reply")));
    assert!(row.request_id.is_some_and(|id| !id.is_empty()));
    assert_eq!((row.error_code, row.reason), (None, None));
    daemon.stop(Stop::Soon).await;
    assert_eq!(bench.simulator.commits().len(), 1);
}

#[tokio::test]
async fn each_request_has_one_log_line_with_its_result() {
    let bench = Bench::new().await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    bench.sql("INSERT INTO submissions (certificate_id) VALUES ('abcb1234')").await;
    let line = daemon.until_event("submitted").await;
    in_time("the order", bench.simulator.until_orders(1)).await;
    assert_eq!(line["certificate_id"], "abcb1234");
    assert_eq!(line["order_id"].as_str(), bench.simulator.order_id("abcb1234").as_deref());
    assert_eq!((line["status"].as_i64(), line["try"].as_i64()), (Some(8), Some(1)));
    assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
    assert!(line["duration_ms"].is_u64() && line["level"] == "INFO", "{line}");
    let message = line["message"].as_str().unwrap();
    assert!(
        message.contains("abcb1234") && message.contains("SO000001"),
        "the message is complete by itself: {message}"
    );
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    let line_count = lines.iter().filter(|line| line["certificate_id"] == "abcb1234").count();
    assert_eq!(line_count, 1, "{lines:#?}");
    let (secret_id, secret_key) = bench.simulator.credentials();
    let log = format!("{lines:?}");
    assert!(!log.contains(&secret_id) && !log.contains(&secret_key), "no secret is logged");
}

#[tokio::test]
async fn the_newer_action_uses_its_own_parameter_names() {
    let mut bench = Bench::new().await;
    bench.set("api.action", "CertificateOrderSubmit");
    bench.enqueue(&["abcb1234"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    let commits = bench.simulator.commits_of("abcb1234");
    assert_eq!((commits[0].action.as_str(), commits[0].answer.as_str()), ("CertificateOrderSubmit", "ok"));
}

#[tokio::test]
async fn the_verify_type_is_sent() {
    let bench = Bench::new().await;
    bench
        .sql(
            "INSERT INTO submissions (certificate_id, verify_type) VALUES ('dns', 'DNS'), ('file', 'FILE_PROXY');
             INSERT INTO submissions (certificate_id) VALUES ('plain')",
        )
        .await;
    bench.run_until_empty().await;
    let sent = |id| bench.simulator.commits_of(id)[0].verify_type.clone();
    assert_eq!((sent("dns").as_deref(), sent("file").as_deref()), (Some("DNS"), Some("FILE_PROXY")));
    assert_eq!(sent("plain"), None);
}

#[tokio::test]
async fn higher_priorities_go_first() {
    let bench = Bench::new().await;
    bench
        .sql(
            "INSERT INTO submissions (certificate_id, priority)
             VALUES ('a0', 0), ('b2', 2), ('c1', 1), ('d3', 3), ('e3', 3), ('f0', 0)",
        )
        .await;
    bench.run_until_empty().await;
    let order: Vec<String> = bench.simulator.commits().into_iter().filter_map(|commit| commit.certificate_id).collect();
    assert_eq!(order, ["d3", "e3", "b2", "c1", "a0", "f0"]);
}

#[tokio::test]
async fn a_row_waits_until_it_is_due() {
    let bench = Bench::new().await;
    bench
        .sql(
            "INSERT INTO submissions (certificate_id, due_at) VALUES ('later', 9999999999);
             INSERT INTO submissions (certificate_id) VALUES ('now')",
        )
        .await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Submitted, 1).await;
    assert_eq!(bench.row("later").await.state, "pending");
    assert!(bench.simulator.commits_of("later").is_empty());
    bench.sql("UPDATE submissions SET due_at = 0 WHERE certificate_id = 'later'").await;
    daemon.until_count(State::Submitted, 2).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&["later", "now"]).await;
}

#[tokio::test]
async fn a_canceled_row_is_not_sent() {
    let bench = Bench::new().await;
    bench.enqueue(&["wanted", "unwanted"]).await;
    bench.sql("UPDATE submissions SET state = 'canceled' WHERE certificate_id = 'unwanted'").await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["wanted"]).await;
    assert_eq!(bench.row("unwanted").await.state, "canceled");
    assert!(bench.simulator.commits_of("unwanted").is_empty());
}

#[tokio::test]
async fn every_request_at_the_server_is_on_record() {
    let bench = Bench::new().await;
    bench.enqueue(&["abcb1234", "abcb1235"]).await;
    bench.run_until_empty().await;
    let on_record: i64 = bench
        .value(
            "SELECT count(*) FROM requests WHERE kind = 'commit' AND outcome = 'submitted' AND finished_at IS NOT NULL",
        )
        .await;
    assert_eq!(usize::try_from(on_record), Ok(bench.simulator.arrivals().len()));
}

#[tokio::test]
async fn a_run_until_empty_ends_at_once_when_there_is_nothing_to_do() {
    let bench = Bench::new().await;
    let ended = bench.run_until_empty().await;
    assert_eq!((ended.counts.open(), ended.refused), (0, None));
    assert!(bench.simulator.arrivals().is_empty());
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let bench = Bench::new().await;
    bench.enqueue(&crate::support::ids(20)).await;
    bench.run_until_empty().await;
    assert!(bench.simulator.connections() <= 3, "{} connections for 20 requests", bench.simulator.connections());
}
