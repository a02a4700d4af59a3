//! Orders that were placed are looked at until their status is final, beside everything else.

use certcommit::daemon::Stop;
use certcommit::simulator::{Arrival, Fault, ReadFault, worst_second};
use certcommit::submission::State;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Bench, ids, in_time, output};

const UNAUTHORIZED: &str = "UnauthorizedOperation";

/// A bench whose daemons follow the orders.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.set("follow.interval", "1s");
    bench
}

/// Waits until the newest status of a certificate is this one.
async fn until_status(bench: &Bench, id: &'static str, status: i64) {
    let known = "SELECT group_concat(certificate_id || '=' || current_status) FROM submission_report";
    in_time(&format!("status {status} of {id}"), async {
        let wanted = format!("{id}={status}");
        while !bench.value::<Option<String>>(known).await.unwrap_or_default().split(',').any(|one| one == wanted) {}
    })
    .await;
}

#[tokio::test]
async fn an_order_is_followed_until_it_is_issued_and_the_answer_to_its_submission_stays() {
    let bench = bench().await;
    bench.enqueue(&["good"]).await;
    let mut daemon = bench.spawn(&["run"]);
    for (status, previous, words) in [(0, 8, "reviewing (0)"), (1, 0, "approved (1)")] {
        in_time("the order", bench.simulator.until_orders(1)).await;
        let order = bench.simulator.order_id("good").unwrap();
        bench.simulator.set_certificate("good", status, Some(&order));
        let line = daemon.until_event("status_changed").await;
        let shown = json!([line["certificate_id"], line["order_id"], line["status"], line["previous_status"]]);
        assert_eq!(shown, json!(["good", order, status, previous]));
        assert!(line["message"].as_str().unwrap().contains(&format!("order {order} is {words}")), "{line}");
        until_status(&bench, "good", status).await;
    }
    let history = output(bench.command(&["history", "good"])).await;
    assert!(String::from_utf8_lossy(&history.stdout).contains("  now: status 1: approved; since 2"), "{history:?}");
    let row = bench.row("good").await;
    assert_eq!((row.state.as_str(), row.status), ("submitted", Some(8)));
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM followed WHERE due_at IS NULL AND status = 1").await, 1);
    let looks = bench.simulator.lists().len();
    bench.enqueue(&["later"]).await;
    in_time("a look at the other", bench.simulator.until(|api| api.lists().len() > looks)).await;
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
}

#[tokio::test]
async fn without_an_interval_nothing_is_followed_and_a_reload_can_begin_and_end_it() {
    let bench = Bench::new().await;
    bench.enqueue(&["good"]).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("submitted").await;
    let line = bench.reload(&mut daemon, "").await;
    assert!(line["changed"].is_null() && bench.simulator.lists().is_empty(), "{line}");
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM followed").await, 0);
    let line = bench.reload(&mut daemon, "follow.interval = \"1s\"").await;
    assert_eq!(line["changed"], "follow.interval from \"off\" to \"1s\"");
    until_status(&bench, "good", 8).await;
    bench.reload(&mut daemon, "").await;
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
}

#[tokio::test]
async fn without_the_permission_commits_go_on_and_the_log_says_what_to_grant() {
    let bench = bench().await;
    bench.simulator.refuse_lists_with("denied", UNAUTHORIZED);
    bench.enqueue(&["denied"]).await;
    let mut daemon = bench.spawn(&["run"]);
    let line = daemon.until_event("follow_failed").await;
    assert_eq!((&line["error_code"], &line["level"]), (&json!(UNAUTHORIZED), &json!("WARN")));
    assert!(line["message"].as_str().unwrap().contains("grant these keys ssl:DescribeCertificates"), "{line}");
    bench.enqueue(&["next"]).await;
    let submitted = daemon.until_event("submitted").await;
    assert_eq!(submitted["certificate_id"], "next");
    bench.simulator.refuse_lists_with("none", UNAUTHORIZED);
    daemon.until_line("the recovery", |line| line["message"].as_str().unwrap().contains("can be read again")).await;
    until_status(&bench, "denied", 8).await;
    daemon.kill();
}

#[tokio::test]
async fn one_certificate_that_spoils_every_reply_keeps_no_other_from_being_followed() {
    let bench = bench().await;
    let ids = ids(9);
    bench.simulator.refuse_lists_with("cert-0004", "InternalError");
    bench.enqueue(&ids).await;
    let daemon = bench.start().await;
    in_time("all others to be looked at", async {
        while bench.value::<i64>("SELECT count(*) FROM followed WHERE status = 8").await < 8 {}
    })
    .await;
    daemon.stop(Stop::Soon).await;
    let left = "SELECT certificate_id FROM submission_report WHERE current_status IS NULL";
    assert_eq!(bench.value::<String>(left).await, "cert-0004");
}

#[tokio::test]
async fn looks_and_readbacks_together_stay_within_the_limit_of_reads_and_commits_keep_theirs() {
    let mut bench = bench().await;
    bench.set("verify.per_second", "4");
    bench.set("rate.guard", "150ms");
    bench.set("pause.after", "1000");
    let ids = ids(40);
    for id in ids.iter().step_by(2) {
        bench.simulator.script_commits(id, vec![Fault::CutAfter]);
        bench.simulator.script_reads(id, vec![ReadFault::Error("InternalError".to_owned())]);
    }
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Submitted, 40).await;
    let seen = bench.simulator.lists().len();
    in_time("some more looks", bench.simulator.until(|api| api.lists().len() > seen + 2)).await;
    daemon.stop(Stop::Soon).await;
    let is_read = |arrival: &Arrival| arrival.is_read() || arrival.is_list();
    let reads: Vec<Instant> =
        bench.simulator.arrivals().iter().filter(|arrival| is_read(arrival)).map(|arrival| arrival.at).collect();
    assert!(worst_second(&reads) <= 4, "{} reads in one second", worst_second(&reads));
    assert!(worst_second(&bench.simulator.commit_times()) <= 20);
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn a_kill_between_two_looks_loses_nothing_and_following_goes_on() {
    let bench = bench().await;
    let ids = ids(5);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("a look", bench.simulator.until(|api| !api.lists().is_empty())).await;
    daemon.kill();
    let order = bench.simulator.order_id("cert-0001").unwrap_or_default();
    daemon = bench.spawn(&["run"]);
    in_time("all orders", bench.simulator.until_orders(5)).await;
    bench.simulator.set_certificate("cert-0001", 2, Some(&order));
    daemon.until_line("the refusal", |line| line["event"] == "status_changed" && line["status"] == 2).await;
    until_status(&bench, "cert-0005", 8).await;
    let status = output(bench.command(&["status"])).await;
    assert!(String::from_utf8_lossy(&status.stdout).contains("1 refused by the CA"), "{status:?}");
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn check_online_says_whether_the_statuses_of_orders_can_be_read() {
    let bench = bench().await;
    let good = output(bench.command(&["check", "--online"])).await;
    let text = String::from_utf8_lossy(&good.stdout);
    assert!(text.contains("the statuses of orders can be read, as follow.interval requires"), "{good:?}");
    bench.simulator.refuse_lists_with("certcommit-check", UNAUTHORIZED);
    let denied = output(bench.command(&["check", "--online"])).await;
    let text = String::from_utf8_lossy(&denied.stderr);
    assert!(denied.status.code() == Some(69) && text.contains("grant ssl:DescribeCertificates"), "{denied:?}");
}
