//! Metrics, readiness and the service manager's status show what the daemon does.

use certcommit::daemon::Stop;
use certcommit::metrics::Metric;
use certcommit::simulator::Fault;
use certcommit::submission::State;
use serde_json::Value;

use crate::support::{Bench, Process, bench_with_metrics, get, in_time};

#[tokio::test]
async fn each_request_is_counted_by_its_kind_outcome_and_code() {
    let mut bench = bench_with_metrics().await;
    bench.set("follow.interval", "1s");
    let error = |code: &str| vec![Fault::Error(code.to_owned())];
    bench.simulator.script_commits("busy", error("FailedOperation.NetworkError"));
    bench.simulator.script_commits("refused", error("FailedOperation.CertificateInvalid"));
    bench.simulator.script_commits("novel", error("FailedOperation.NobodyKnowsIt"));
    bench.enqueue(&["good", "busy", "refused", "novel"]).await;
    let mut daemon = bench.start().await;
    daemon.until("the end", |progress| progress.counts.open() == 0 && progress.counts.of(State::Submitted) == 2).await;
    in_time("a look at the orders", bench.simulator.until(|api| !api.lists().is_empty())).await;
    let mut text = String::new();
    in_time("the look to be counted", async {
        while !text.contains("certcommit_follow_requests_total{outcome=\"ok\"} ") {
            text = get(daemon.metrics(), "/metrics").await.1;
        }
    })
    .await;
    for line in [
        r#"certcommit_requests_total{kind="commit",outcome="submitted",code=""} 2"#,
        r#"certcommit_requests_total{kind="commit",outcome="retry",code="FailedOperation.NetworkError"} 1"#,
        r#"certcommit_requests_total{kind="commit",outcome="failed",code="FailedOperation.CertificateInvalid"} 1"#,
        r#"certcommit_requests_total{kind="commit",outcome="failed",code="other"} 1"#,
        r#"certcommit_followed_orders{standing="refused"} 0"#,
        r#"certcommit_request_duration_seconds_count{kind="commit"} 5"#,
    ] {
        assert!(text.lines().any(|actual| actual == line), "{line} in {text}");
    }
    for name in Metric::NAMES {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} in {text}");
    }
    daemon.stop(Stop::Soon).await;
}

#[tokio::test]
async fn a_paused_queue_is_not_ready_and_says_why() {
    let bench = bench_with_metrics().await;
    bench.sql("UPDATE control SET paused = 1, pause_reason = 'maintenance at the CA'").await;
    let mut daemon = bench.start().await;
    daemon.until_paused().await;
    let ready = async || get(daemon.metrics(), "/readyz").await;
    in_time("the pause", async {
        let why = "an operator paused the queue: maintenance at the CA; since ";
        while !matches!(ready().await, (503, text) if text.starts_with(why)) {}
    })
    .await;
    assert_eq!(get(daemon.metrics(), "/healthz").await, (200, "ok\n".to_owned()));
    bench.sql("UPDATE control SET paused = 0").await;
    in_time("readiness", async { while ready().await != (200, "ok\n".to_owned()) {} }).await;
    daemon.stop(Stop::Soon).await;
}

#[tokio::test]
async fn the_page_is_served_where_the_log_says_while_another_process_keeps_the_queue_locked() {
    let bench = bench_with_metrics().await;
    let mut daemon = bench.spawn(&["run"]);
    let page_of = |line: &Value| {
        line["message"].as_str()?.split_once("a page about the queue on http://").map(|(_, page)| page.to_owned())
    };
    let page = page_of(&daemon.until_line("the address", |line| page_of(line).is_some()).await).unwrap();
    bench.enqueue(&["abcb1234"]).await;
    in_time("the result in the queue", async { while bench.count("submitted").await == 0 {} }).await;
    let mut writer = bench.connect().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let (status, text) = get(page.trim_end_matches('/').parse().unwrap(), "/?state=submitted").await;
    assert!(status == 200 && text.contains(r#""certificate_id":"abcb1234""#), "{status} {text}");
    sqlx::query("ROLLBACK").execute(&mut writer).await.unwrap();
    daemon.signal("TERM");
    let (code, _) = daemon.end().await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn an_address_in_use_is_named_and_the_daemon_exits_with_74() {
    let mut bench = Bench::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    bench.set("metrics.listen", &address);
    let (code, lines) = bench.spawn(&["run"]).end().await;
    let log = lines.iter().map(ToString::to_string).collect::<String>();
    assert!(code == Some(74) && log.contains(&format!("metrics.listen: {address}")), "{code:?} {log}");
}

#[tokio::test]
async fn the_service_manager_gets_progress_and_the_reason_of_a_pause() {
    let bench = Bench::new().await;
    bench.enqueue(&["abcb1234", "abcb1235"]).await;
    let manager = bench.service_manager();
    let mut command = bench.command(&["run"]);
    manager.supervises(&mut command);
    let daemon = Process::spawn(command);
    manager.until_message("READY=1").await;
    manager.until_message("STATUS=idle: 2 submitted, 0 failed, 0 held").await;
    bench.sql("UPDATE control SET paused = 1, pause_reason = 'maintenance at the CA'").await;
    let paused = manager.until_message("STATUS=paused since ").await;
    let rest = ", 0 open (2 submitted, 0 failed, 0 held): an operator paused the queue: maintenance at the CA";
    assert!(paused.contains(rest), "{paused}");
    daemon.signal("TERM");
    manager.until_message("STOPPING=1").await;
    daemon.end().await;
}

#[tokio::test]
async fn the_watchdog_is_fed_while_the_queue_is_idle_or_locked() {
    let bench = Bench::new().await;
    let manager = bench.service_manager();
    let mut command = bench.command(&["run"]);
    manager.supervises(&mut command);
    command.env("WATCHDOG_USEC", "300000");
    let mut daemon = Process::spawn(command);
    manager.until_message("READY=1").await;
    for _ in 0..3 {
        manager.until_message("WATCHDOG=1").await;
    }
    let mut writer = bench.connect().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    sqlx::query("INSERT INTO submissions (certificate_id) VALUES ('abcb1234')").execute(&mut writer).await.unwrap();
    daemon.until_event("database_unavailable").await;
    for _ in 0..3 {
        manager.until_message("WATCHDOG=1").await;
    }
    manager.until_message("STATUS=waits for the database").await;
    sqlx::query("COMMIT").execute(&mut writer).await.unwrap();
    manager.until_message("STATUS=idle: 1 submitted").await;
    daemon.signal("TERM");
    daemon.end().await;
}
