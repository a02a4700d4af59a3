//! The log has exactly the documented events and fields.

use std::collections::BTreeSet;
use std::time::Duration;

use certcommit::logging::{Field, LogEvent};
use certcommit::simulator::{Fault, Issuance, ReadFault};
use serde_json::Value;

use crate::support::{Bench, Process, event_of, in_time};

const OUTAGE: &str = "AuthFailure.SecretIdNotFound";
const UNAUTHORIZED: &str = "UnauthorizedOperation";

/// The fields of every line with an event.
const COMMON: [&str; 4] = ["timestamp", "level", "message", "event"];

#[tokio::test]
async fn every_event_has_exactly_the_documented_fields() {
    let mut bench = Bench::new().await;
    bench.set("log.progress_interval", "1s");
    let mut lines = Vec::new();
    let mut daemon = bench.spawn(&["run"]);
    cause_every_event_of_a_submission(&bench, &mut daemon).await;
    cause_every_pause(&bench, &mut daemon).await;
    cause_every_database_fault(&bench, &mut daemon).await;
    cause_every_reload(&bench, &mut daemon).await;
    bench.simulator.script_commits("in-flight", vec![Fault::HangBefore]);
    let sent = bench.simulator.commits().len();
    bench.enqueue(&["in-flight"]).await;
    in_time("the commit", bench.simulator.until_commits(sent + 1)).await;
    lines.extend_from_slice(daemon.seen());
    daemon.kill();
    lines.extend(log_of_a_clean_stop_and_one_forced_by_the_database(&bench).await);
    lines.extend(log_of_followed_orders().await);
    lines.extend(bench.spawn(&["run", "--config", "/nowhere"]).end().await.1);

    let documented: BTreeSet<(String, String)> = LogEvent::ALL
        .iter()
        .flat_map(|event| event.fields().iter().map(|field| (event.to_string(), field.to_string())))
        .collect();
    let logged: BTreeSet<(String, String)> = lines.iter().flat_map(fields_of).collect();
    assert_eq!(logged.difference(&documented).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "undocumented");
    assert_eq!(documented.difference(&logged).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "never logged");
    lines.iter().for_each(assert_level);
}

/// The event and the fields of a line; nothing for a line without an event.
fn fields_of(line: &Value) -> Vec<(String, String)> {
    let names = line.as_object().expect("each line is an object").keys();
    let own = names.filter(|name| !COMMON.contains(&name.as_str()));
    own.map(|name| (event_of(line).to_owned(), name.clone())).collect()
}

/// Asserts that a line has the level of its event. Lines without an event are about the machine, at INFO or WARN.
fn assert_level(line: &Value) {
    if line["event"].is_null() {
        return assert!(line["level"] == "INFO" || line["level"] == "WARN", "{line}");
    }
    let event = LogEvent::ALL.iter().find(|event| event.as_str() == event_of(line));
    let escalated =
        event.filter(|_| line["unwritten"].is_u64() || event_of(line) == "reloaded" && line["error"].is_string());
    let level = match (event, escalated) {
        (Some(event), None) => event.level().as_str(),
        (Some(_), Some(_)) => "ERROR",
        (None, _) => "WARN",
    };
    assert_eq!(line["level"], level, "{line}");
}

/// Waits until only the row that is not due is open.
async fn until_settled(daemon: &mut Process) {
    let settled = |line: &Value| {
        event_of(line) == "progress" && line["pending"] == 1 && line["in_flight"] == 0 && line["in_doubt"] == 0
    };
    daemon.until_line("all other rows to be settled", settled).await;
}

async fn cause_every_event_of_a_submission(bench: &Bench, daemon: &mut Process) {
    let error = |code: &str| Fault::Error(code.to_owned());
    let api = &bench.simulator;
    api.script_commits("retried", vec![error("FailedOperation.NetworkError")]);
    api.script_commits("refused", vec![error("FailedOperation.CertificateNotFound")]);
    api.set_certificate("canceled", 7, Some("an-order"));
    api.script_commits("lost-after", vec![Fault::CutAfter]);
    api.script_commits("lost-before", vec![Fault::CutBefore]);
    api.script_commits("page", vec![Fault::Html]);
    api.script_commits("backend", vec![Fault::ErrorAfter("InternalError.BackendResponseError".to_owned())]);
    api.script_commits("dead-end", vec![Fault::CutBefore]);
    api.script_reads_forever("dead-end", ReadFault::Shows { order_id: Some("an-order".to_owned()), status: Some(7) });
    api.script_commits("unreadable", vec![Fault::CutAfter]);
    api.script_reads_forever("unreadable", ReadFault::Error("FailedOperation.CertificateNotFound".to_owned()));
    api.script_commits("throttled", vec![error("RequestLimitExceeded")]);
    bench.sql("INSERT INTO submissions (certificate_id, due_at) VALUES ('later', 9999999999)").await;
    bench
        .enqueue(&[
            "good",
            "retried",
            "refused",
            "canceled",
            "lost-after",
            "lost-before",
            "page",
            "backend",
            "dead-end",
            "unreadable",
            "throttled",
        ])
        .await;
    until_settled(daemon).await;
}

async fn log_of_followed_orders() -> Vec<Value> {
    let mut bench = Bench::new().await;
    bench.set("follow.interval", "1s");
    let takes = Duration::from_secs(1)..Duration::from_secs(1);
    bench.simulator.issue(Issuance { takes, refused: 1.0, letter_missing: 0.0 });
    bench.enqueue(&["followed"]).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("status_changed").await;
    bench.simulator.refuse_lists_with("unlistable", UNAUTHORIZED);
    bench.enqueue(&["unlistable"]).await;
    daemon.until_event("follow_failed").await;
    let lines = daemon.seen().to_vec();
    daemon.kill();
    lines
}

async fn cause_every_pause(bench: &Bench, daemon: &mut Process) {
    bench.sql("UPDATE control SET paused = 1, pause_reason = 'maintenance at the CA'").await;
    daemon.until_event("paused").await;
    bench.sql("UPDATE control SET paused = 0").await;
    daemon.until_event("resumed").await;

    bench.simulator.outage(Some(OUTAGE));
    bench.enqueue(&["outage"]).await;
    daemon.until_event("paused").await;
    daemon.until_event("still_paused").await;
    bench.simulator.outage(None);
    daemon.until_event("resumed").await;

    // One denial concerns its row; five in succession concern the account. Successful rows in between keep commits going.
    let forbidden = ["forbidden-1", "forbidden-2", "forbidden-3", "forbidden-4", "forbidden-5"];
    for id in forbidden {
        bench.simulator.script_commits(id, vec![Fault::CutAfter]);
        bench.simulator.script_reads_forever(id, ReadFault::Error(UNAUTHORIZED.to_owned()));
        bench.enqueue(&[id, id.replace("forbidden", "answered").as_str()]).await;
    }
    daemon.until_event("verify_paused").await;
    forbidden.into_iter().for_each(|id| bench.simulator.clear_scripts(id));
    daemon.until_event("resumed").await;
    until_settled(daemon).await;
}

async fn cause_every_database_fault(bench: &Bench, daemon: &mut Process) {
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    daemon.until_event("database_unavailable").await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    daemon.until_event("resumed").await;

    let rules: String = bench.value("SELECT sql FROM sqlite_master WHERE name = 'submissions_insert_rules'").await;
    let smuggled = "INSERT INTO submissions (certificate_id) VALUES ('not an id')";
    bench.sql(&format!("BEGIN; DROP TRIGGER submissions_insert_rules; {smuggled}; {rules}; COMMIT;")).await;
    daemon.until_line("the row that can't be sent", |line| line["submission"].is_i64()).await;

    bench
        .sql(
            "CREATE TRIGGER mine BEFORE UPDATE ON submissions WHEN NEW.state = 'submitted' BEGIN
               SELECT RAISE(ABORT, 'not mine to move');
             END",
        )
        .await;
    bench.enqueue(&["immovable"]).await;
    daemon.until_line("the result that can't be written", |line| line["request"].is_i64()).await;
    bench.sql("DROP TRIGGER mine").await;
}

async fn cause_every_reload(bench: &Bench, daemon: &mut Process) {
    bench.reload(daemon, "[api]\nlanguage = \"zh-CN\"\n[rate]\nper_second = 19\n").await;
    bench.reload(daemon, "[rate]\nper_second = 21\n").await;
    bench.configure("");
}

async fn log_of_a_clean_stop_and_one_forced_by_the_database(bench: &Bench) -> Vec<Value> {
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    daemon.signal("TERM");
    let (code, mut lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    std::fs::rename(bench.database(), bench.path("aside")).unwrap();
    let (code, more) = daemon.end().await;
    assert_eq!(code, Some(76));
    lines.extend(more);
    lines
}

/// The comparison above ignores these fields.
#[test]
fn no_documented_field_is_one_that_every_line_has() {
    assert!(Field::ALL.iter().all(|field| !COMMON.contains(&field.as_str()) && field.as_str() != "target"));
}
