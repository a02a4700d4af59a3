//! A user's trigger rejects what the daemon writes. Nothing is lost, canceled or repeated because of it.

use std::time::Duration;

use certcommit::cause::{Cause, PauseCause};
use certcommit::daemon::Stop;
use certcommit::simulator::{Fault, Options};
use certcommit::submission::State;
use serde_json::Value;

use crate::support::{Bench, Process, ids, in_time, output};

const MESSAGE: &str = "not in the audit table";

/// A trigger that rejects updates, as an audit table with a constraint would.
fn trigger(when: &str) -> String {
    format!(
        "CREATE TRIGGER audit BEFORE UPDATE ON submissions WHEN {when}
         BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    )
}

fn assert_rejects(cause: &Cause) {
    assert!(
        matches!(cause, Cause::Pause(PauseCause::WritesRejected { rule, .. }) if rule.as_str() == MESSAGE),
        "{cause:?}"
    );
}

#[tokio::test]
async fn if_every_claim_is_rejected_nothing_is_canceled_and_a_run_until_empty_exits_with_1() {
    let bench = Bench::new().await;
    let ids = ids(40);
    bench.enqueue(&ids).await;
    bench.sql(&trigger("NEW.state = 'in_flight'")).await;
    let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!((code, bench.count("pending").await, bench.simulator.arrivals().len()), (Some(1), 40, 0));
    let refusals = lines.iter().filter(|line| line["event"] == "write_refused").count();
    assert!((5..40).contains(&refusals), "one line for each row until the pause: {refusals}");
    let paused = lines.iter().find(|line| line["event"] == "paused").unwrap();
    assert_eq!(paused["cause"], "writes_rejected");
    assert!(paused["why"].as_str().unwrap().contains(MESSAGE), "{paused}");
    bench.sql("DROP TRIGGER audit").await;
    assert_eq!(bench.spawn(&["run", "--until-empty"]).end().await.0, Some(0));
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn a_rejected_claim_does_not_affect_others_and_ends_a_run_until_empty_with_1() {
    let bench = Bench::new().await;
    bench.enqueue(&["audited", "other"]).await;
    bench.sql(&trigger("NEW.state = 'in_flight' AND OLD.certificate_id = 'audited'")).await;
    assert_eq!(bench.spawn(&["run", "--until-empty"]).end().await.0, Some(1));
    assert_eq!(
        (bench.row("audited").await.state.as_str(), bench.row("other").await.state.as_str()),
        ("pending", "submitted")
    );
}

#[tokio::test]
async fn a_daemon_whose_claims_are_rejected_pauses_with_the_triggers_message_and_resumes_by_itself() {
    let bench = Bench::new().await;
    let ids = ids(20);
    bench.enqueue(&ids).await;
    bench.sql(&trigger("NEW.state = 'in_flight'")).await;
    let mut daemon = bench.start().await;
    assert_rejects(&daemon.until_paused().await);
    let to_stderr = ["sh", "-c", "exec \"$0\" \"$@\" >&2"];
    let mut watcher = Process::spawn(bench.command_under(&to_stderr, &["status", "--watch", "--json"]));
    let shows = |line: &Value| line["daemon"]["why"].as_str().is_some_and(|why| why.contains(MESSAGE));
    watcher.until_line("the trigger's message", shows).await;
    watcher.kill();
    let status = output(bench.command(&["status"])).await;
    let status = String::from_utf8(status.stdout).unwrap();
    let words = status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.starts_with("PAUSED") && words.contains("certcommit check names triggers"), "{status}");
    bench.sql("DROP TRIGGER audit").await;
    daemon.until_count(State::Submitted, 20).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn if_every_result_is_rejected_sending_stops_and_no_order_is_placed_twice() {
    let bench = Bench::new().await;
    let ids = ids(60);
    bench.enqueue(&ids).await;
    bench.sql(&trigger("OLD.state = 'in_flight'")).await;
    let mut daemon = bench.start().await;
    assert_rejects(&daemon.until_paused().await);
    let sent = bench.simulator.commits().len();
    assert!(sent < 50, "{sent} were sent although no result could be written");
    bench.sql("DROP TRIGGER audit").await;
    in_time("all orders", bench.simulator.until_orders(60)).await;
    daemon.until_count(State::Submitted, 60).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 60);
}

#[tokio::test]
async fn recovery_settles_a_row_once_the_trigger_that_rejected_it_is_dropped() {
    let bench = Bench::with(Options { latency: Duration::from_secs(1), ..Options::default() }, &[]).await;
    bench.enqueue(&["audited"]).await;
    let daemon = bench.spawn(&["run"]);
    in_time("the commit", bench.simulator.until_commits(1)).await;
    daemon.kill();
    bench.sql(&trigger("OLD.state = 'in_flight'")).await;
    let mut daemon = bench.start().await;
    assert_rejects(&daemon.until_paused().await);
    assert_eq!(bench.row("audited").await.state, "in_flight");
    bench.sql("DROP TRIGGER audit").await;
    daemon.until_count(State::Submitted, 1).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&["audited"]).await;
    assert_eq!(bench.simulator.commits().len(), 1);
}

#[tokio::test]
async fn an_update_ignored_by_a_trigger_counts_as_rejected() {
    let ignoring = |when: &str| {
        format!("CREATE TRIGGER audit BEFORE UPDATE ON submissions WHEN {when} BEGIN SELECT RAISE(IGNORE); END")
    };
    for when in ["NEW.state = 'in_flight'", "OLD.state = 'in_flight'"] {
        let bench = Bench::new().await;
        bench.enqueue(&["audited", "other"]).await;
        bench.sql(&ignoring(&format!("OLD.certificate_id = 'audited' AND {when}"))).await;
        let mut daemon = bench.spawn(&["run"]);
        let line = daemon.until_event("write_refused").await;
        assert!(line["message"].as_str().is_some_and(|text| text.contains("RAISE(IGNORE)")), "{line}");
        // This line may have come before the refusal.
        daemon
            .until_line_seen("the other", |line| line["certificate_id"] == "other" && line["event"] == "submitted")
            .await;
        bench.sql("DROP TRIGGER audit").await;
        daemon.signal("TERM");
        assert_eq!(daemon.end().await.0, Some(0), "{when}");
        bench.run_until_empty().await;
        bench.assert_each_submitted_once(&["audited", "other"]).await;
        assert_eq!(bench.simulator.commits_of("audited").len(), 1, "{when}");
    }
}

#[tokio::test]
async fn a_read_rejected_by_a_trigger_after_it_was_written_is_undone_and_claimed_again() {
    for action in ["RAISE(FAIL, 'not in the audit table')", "RAISE(IGNORE)"] {
        let bench = Bench::new().await;
        let when = if action.contains("FAIL") { "AFTER" } else { "BEFORE" };
        bench.simulator.script_commits("audited", vec![Fault::CutAfter]);
        bench.enqueue(&["audited"]).await;
        bench
            .sql(&format!(
                "CREATE TRIGGER audit {when} INSERT ON requests WHEN NEW.kind = 'read' BEGIN SELECT {action}; END"
            ))
            .await;
        let mut daemon = bench.spawn(&["run"]);
        daemon.until_event("write_refused").await;
        bench.enqueue(&["other"]).await;
        daemon.until_line("the other", |line| line["certificate_id"] == "other" && line["event"] == "submitted").await;
        bench.sql("DROP TRIGGER audit").await;
        daemon.until_line("the read", |line| line["certificate_id"] == "audited" && line["event"] == "submitted").await;
        daemon.signal("TERM");
        assert_eq!(daemon.end().await.0, Some(0), "{action}");
        bench.assert_each_submitted_once(&["audited", "other"]).await;
    }
}

#[tokio::test]
async fn a_trigger_that_rolls_back_does_not_affect_other_rows() {
    for (table, when) in [
        ("submissions", "OLD.certificate_id = 'audited' AND NEW.state = 'in_flight'"),
        ("submissions", "OLD.certificate_id = 'audited' AND OLD.state = 'in_flight'"),
        ("requests", "OLD.certificate_id = 'audited'"),
    ] {
        let bench = Bench::new().await;
        bench.enqueue(&["audited"]).await;
        bench.enqueue(&ids(20)).await;
        bench
            .sql(&format!(
                "CREATE TRIGGER audit BEFORE UPDATE ON {table} WHEN {when} BEGIN SELECT RAISE(ROLLBACK, '{MESSAGE}'); END"
            ))
            .await;
        let mut daemon = bench.start().await;
        daemon.until_count(State::Submitted, 20).await;
        bench.sql("DROP TRIGGER audit").await;
        daemon.until_count(State::Submitted, 21).await;
        daemon.stop(Stop::Soon).await;
        bench.assert_each_submitted_once(&["audited"]).await;
        assert_eq!(bench.simulator.commits_of("audited").len(), 1, "{when}");
    }
}

#[tokio::test]
async fn one_rejected_row_is_not_a_database_fault() {
    for raise in ["ABORT", "ROLLBACK"] {
        for when in ["NEW.state = 'in_flight'", "OLD.state = 'in_flight'"] {
            let bench = Bench::new().await;
            bench.enqueue(&["audited", "other"]).await;
            bench
                .sql(&format!(
                    "CREATE TRIGGER audit BEFORE UPDATE ON submissions WHEN OLD.certificate_id = 'audited' AND {when}
                     BEGIN SELECT RAISE({raise}, '{MESSAGE}'); END"
                ))
                .await;
            let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
            let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
            assert_eq!((code, count("database_unavailable")), (Some(1), 0), "{raise} {when}: {lines:?}");
            assert!(count("write_refused") >= 1, "{raise} {when}: {lines:?}");
        }
    }
}

#[tokio::test]
async fn a_start_continues_past_a_row_for_which_a_trigger_rolls_back() {
    let bench = Bench::with(Options { latency: Duration::from_secs(1), ..Options::default() }, &[]).await;
    bench.enqueue(&["audited", "other"]).await;
    let daemon = bench.spawn(&["run"]);
    in_time("the commits", bench.simulator.until_commits(2)).await;
    daemon.kill();
    bench
        .sql(&format!(
            "CREATE TRIGGER audit BEFORE UPDATE ON submissions WHEN OLD.certificate_id = 'audited'
             BEGIN SELECT RAISE(ROLLBACK, '{MESSAGE}'); END"
        ))
        .await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Submitted, 1).await;
    bench.sql("DROP TRIGGER audit").await;
    daemon.until_count(State::Submitted, 2).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&["audited", "other"]).await;
}
