//! What operators are told while something is wrong is what is true: the cause, since when, what it means, and the next step.

use certcommit::clock;
use certcommit::queue::DaemonLock;
use certcommit::simulator::{Fault, ReadFault};
use serde_json::Value;
use sqlx::Connection as _;

use crate::support::{Bench, Process, event_of, ids, in_time, output};

const WRONG_TYPE: &str = "FailedOperation.InvalidParam";
const BUSY: &str = "FailedOperation.NetworkError";

/// The exit code of a command, and what it printed.
async fn printed(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(bench.command(arguments)).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Waits until `status` shows this text.
async fn until_shown(bench: &Bench, text: &str) -> String {
    in_time(text, async {
        loop {
            let (_, shown) = printed(bench, &["status"]).await;
            if shown.split_whitespace().collect::<Vec<_>>().join(" ").contains(text) {
                return shown;
            }
        }
    })
    .await
}

/// A bench whose CA is busy for every certificate.
async fn busy_ca(rows: usize) -> (Bench, Vec<String>) {
    let bench = Bench::new().await;
    let ids = ids(rows);
    for id in &ids {
        bench.simulator.script_commits_forever(id, Fault::Error(BUSY.to_owned()));
    }
    bench.enqueue(&ids).await;
    (bench, ids)
}

#[tokio::test]
async fn who_holds_the_write_lock_is_named_and_check_fails() {
    let bench = Bench::new().await;
    bench.enqueue(&ids(3)).await;
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let holder = format!("process {}", std::process::id());
    let (code, shown) = printed(&bench, &["status", "--exit-code"]).await;
    assert_eq!(code, Some(74), "{shown}");
    assert!(shown.contains(&holder), "{shown}");
    let (code, checked) = printed(&bench, &["check"]).await;
    assert!(code == Some(74) && checked.contains(&holder), "{checked}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    assert_eq!(printed(&bench, &["check"]).await.0, Some(0));
}

#[tokio::test]
async fn a_daemon_that_is_stopped_by_a_signal_is_named_with_the_command_that_continues_it() {
    let bench = Bench::new().await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    daemon.signal("STOP");
    let shown = until_shown(&bench, "BLOCKED").await;
    assert!(shown.contains(&format!("kill -CONT {}", daemon.pid())), "{shown}");
    assert_eq!(printed(&bench, &["check"]).await.0, Some(74));
    daemon.signal("CONT");
    until_shown(&bench, "RUNNING").await;
    daemon.kill();
}

#[tokio::test]
async fn a_daemon_that_has_written_nothing_for_too_long_fails_the_check() {
    let bench = Bench::new().await;
    bench.enqueue(&ids(1)).await;
    // Something that holds the daemon's lock, and does nothing.
    let lock = DaemonLock::acquire(bench.path("queue.db").as_path()).await.unwrap();
    let now = clock::now().unix.seconds();
    bench.sql(&format!("UPDATE daemon SET mode = 'running', started_at = {now} - 60, heartbeat_at = {now}")).await;
    let (code, checked) = printed(&bench, &["check"]).await;
    assert_eq!(code, Some(0), "{checked}");
    bench.sql("UPDATE daemon SET heartbeat_at = heartbeat_at - 36").await;
    let (code, checked) = printed(&bench, &["check"]).await;
    assert!(code == Some(69) && checked.contains("the daemon hangs"), "{checked}");
    assert!(printed(&bench, &["status"]).await.1.starts_with("SILENT "));
    drop(lock);
}

#[tokio::test]
async fn a_daemon_of_an_older_version_that_still_runs_after_an_upgrade_passes_the_check() {
    let bench = Bench::new().await;
    bench.enqueue(&ids(1)).await;
    let lock = DaemonLock::acquire(bench.path("queue.db").as_path()).await.unwrap();
    bench.sql("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    let (code, checked) = printed(&bench, &["check"]).await;
    assert!(code == Some(0) && checked.contains("knows schema"), "{checked}");
    drop(lock);
}

#[tokio::test]
async fn a_pause_says_since_when_how_many_probes_failed_and_when_the_next_comes() {
    let (bench, _) = busy_ca(12).await;
    let mut daemon = bench.spawn(&["run"]);
    let line = daemon.until_event("still_paused").await;
    assert_eq!((line["cause"].as_str(), line["probes"].as_i64()), (Some("ca_busy"), Some(1)), "{line}");
    let shown = until_shown(&bench, "PAUSED").await;
    for label in ["\nwhy ", "\nsince ", "\nmeanwhile ", "\ndo "] {
        assert!(shown.contains(label), "{label:?} in {shown}");
    }
    assert!(shown.contains("time left    unknown"), "{shown}");
    until_shown(&bench, "2 failed, the last").await;
    assert_eq!(printed(&bench, &["status", "--exit-code"]).await.0, Some(69));
    let (code, checked) = printed(&bench, &["check"]).await;
    assert!(code == Some(69) && checked.contains("is paused: several submissions in succession got"), "{checked}");
    daemon.kill();
    let (code, checked) = printed(&bench, &["check"]).await;
    assert_eq!(code, Some(0), "without a daemon, nothing is paused: {checked}");
}

#[tokio::test]
async fn an_operators_pause_is_no_failure() {
    let bench = Bench::new().await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    assert_eq!(printed(&bench, &["pause", "maintenance at the CA"]).await.0, Some(0));
    daemon.until_event("paused").await;
    let (code, checked) = printed(&bench, &["check"]).await;
    assert!(code == Some(0) && checked.contains("an operator paused the queue: maintenance at the CA"), "{checked}");
    assert_eq!(printed(&bench, &["status", "--exit-code"]).await.0, Some(0));
    daemon.kill();
}

#[tokio::test]
async fn a_daemon_that_was_killed_is_told_from_one_that_was_stopped() {
    let bench = Bench::new().await;
    bench.enqueue(&ids(3)).await;
    bench.sql("UPDATE submissions SET due_at = 9999999999").await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    daemon.kill();
    let (code, shown) = printed(&bench, &["status", "--exit-code"]).await;
    assert_eq!(code, Some(69), "{shown}");
    for part in [
        "\nwhy          the last run did not record its end",
        "\nsince ",
        "meanwhile    nothing is sent. 3 pending: nothing",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[tokio::test]
async fn a_probe_that_finds_the_ca_still_busy_spends_no_try() {
    let (bench, ids) = busy_ca(8).await;
    let mut daemon = bench.spawn(&["run"]);
    for _ in 0..12 {
        daemon.until_event("still_paused").await;
    }
    let rows = bench.rows().await;
    assert!(rows.iter().all(|row| row.tries <= 1), "only the commits that tripped the breaker count: {rows:?}");
    ids.iter().for_each(|id| bench.simulator.clear_scripts(id));
    daemon.until_event("resumed").await;
    daemon.kill();
}

#[tokio::test]
async fn resume_waits_for_the_probe_and_ends_with_69_while_the_fault_lasts() {
    let (mut bench, ids) = busy_ca(12).await;
    bench.set("pause.probe_initial", "1h");
    bench.set("pause.probe_max", "1h");
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("paused").await;
    let (code, text) = printed(&bench, &["resume"]).await;
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("still paused") && text.contains(BUSY) && text.contains("1 probe failed"), "{text}");
    ids.iter().for_each(|id| bench.simulator.clear_scripts(id));
    let (code, text) = printed(&bench, &["resume"]).await;
    assert_eq!((code, text.as_str()), (Some(0), "resumed\n"));
    daemon.kill();
    let (code, text) = printed(&bench, &["resume"]).await;
    assert!(code == Some(0) && text.contains("no daemon is running"), "{text}");
}

#[tokio::test]
async fn verify_says_what_the_readbacks_found_and_which_step_is_left() {
    let bench = Bench::new().await;
    bench
        .simulator
        .script_reads_forever("placed", ReadFault::Shows { order_id: Some("SO9".to_owned()), status: Some(8) });
    bench.enqueue(&["placed", "new"]).await;
    bench.sql("UPDATE control SET paused = 1, pause_reason = 'a restore'").await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let (code, text) = printed(&bench, &["verify", "--pending"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 have an order, and are submitted; 1 show none so far"), "{text}");
    assert!(text.contains("the queue is paused. Left to do: ") && text.contains("certcommit resume"), "{text}");
    daemon.kill();
    bench.enqueue(&["another"]).await;
    let (_, text) = printed(&bench, &["verify", "another"]).await;
    assert!(text.contains("no daemon is running"), "{text}");
}

#[tokio::test]
async fn a_second_daemon_says_in_the_logs_format_that_the_first_one_goes_on() {
    let bench = Bench::new().await;
    let mut first = bench.spawn(&["run"]);
    first.until_event("ready").await;
    let (code, lines) = bench.spawn(&["run"]).end().await;
    assert_eq!(code, Some(75), "{lines:?}");
    let failed: Vec<&Value> = lines.iter().filter(|line| event_of(line) == "start_failed").collect();
    assert!(failed.len() == 1 && failed[0]["exit_code"] == 75, "{lines:?}");
    assert!(lines.iter().all(Value::is_object), "every line is in the log's format: {lines:?}");
    first.kill();
}

#[tokio::test]
async fn failed_rows_are_shown_with_what_they_share_and_corrected_in_one_command() {
    let bench = Bench::new().await;
    let ids = ids(3);
    for id in &ids {
        bench.simulator.script_commits(id, vec![Fault::Error(WRONG_TYPE.to_owned())]);
    }
    bench.enqueue(&ids).await;
    bench.sql("UPDATE submissions SET verify_type = 'FILE', reference = 'spring'").await;
    bench.spawn(&["run", "--until-empty"]).end().await;
    let (_, shown) = printed(&bench, &["status"]).await;
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        shown.contains(&format!("3 {WRONG_TYPE}: ")) && shown.contains("; verify_type FILE; reference spring"),
        "{shown}"
    );
    let correct = ["retry", "--error-code", WRONG_TYPE, "--reference", "spring", "--verify-type", "DNS_AUTO"];
    let (code, text) = printed(&bench, &[&correct[..], &["--dry-run"]].concat()).await;
    assert!(code == Some(0) && text.contains("verify_type FILE, becomes DNS_AUTO; reference spring"), "{text}");
    assert_eq!(bench.count("failed").await, 3, "nothing has changed");
    let (code, text) = printed(&bench, &correct).await;
    assert!(code == Some(0) && text.contains("3 pending again"), "{text}");
    let corrected: i64 = bench.value("SELECT count(*) FROM submissions WHERE verify_type = 'DNS_AUTO'").await;
    assert_eq!((corrected, bench.count("pending").await), (3, 3));
}

#[tokio::test]
async fn a_certificates_history_says_why_what_the_server_said_and_what_to_do() {
    let bench = Bench::new().await;
    bench.simulator.script_commits("refused", vec![Fault::Error(WRONG_TYPE.to_owned())]);
    bench.enqueue(&["refused"]).await;
    bench.spawn(&["run", "--until-empty"]).end().await;
    let (_, text) = printed(&bench, &["history", "refused"]).await;
    for part in [
        "refused is failed: ",
        "error: FailedOperation.InvalidParam: ",
        "(RequestId ",
        "to do: remove the cause that the error names; then: certcommit retry refused",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn an_invalid_configuration_is_reported_in_the_logs_format() {
    let mut bench = Bench::new().await;
    bench.set("rate.per_second", "none");
    let (code, lines) = Process::spawn(bench.command(&["run"])).end().await;
    assert_eq!(code, Some(78), "{lines:?}");
    assert!(lines.iter().any(|line| event_of(line) == "start_failed"), "{lines:?}");
}
