//! Rows and pause reasons from anyone who may write to the database.

use certcommit::daemon::Stop;
use certcommit::simulator::Options;
use certcommit::submission::State;
use serde_json::Value;

use super::{HOSTILE, assert_harmless, run, show_queue};
use crate::support::{Bench, Process};

#[tokio::test]
async fn any_pause_reason_pauses_and_is_shown_on_one_line() {
    let hostile = HOSTILE.replace('\'', "''").replace('\0', "");
    let reasons =
        [format!("'{hostile}'"), "printf('%.65536c', 'x') || char(10)".into(), "CAST(x'61ff0a1b' AS TEXT)".into()];
    for format in ["json", "text"] {
        let bench = Bench::with(Options::default(), &[("log.format", format)]).await;
        let mut daemon = bench.spawn(&["run"]);
        until_text(&mut daemon, " ready").await;
        for reason in &reasons {
            bench.sql(&format!("UPDATE control SET paused = 1, pause_reason = {reason}")).await;
            let line = until_text(&mut daemon, "an operator paused the queue").await;
            assert_harmless(format, line.into_bytes());
            let seen = show_queue(&bench, &[]).await;
            assert!(seen.contains("PAUSED       by hand; "), "{seen}");
            let (code, printed, _) = run(bench.command(&["resume"])).await;
            assert_eq!((code, printed.as_str()), (Some(0), "resumed\n"));
            until_text(&mut daemon, "resumed by an operator").await;
        }
        bench.sql("INSERT INTO submissions (certificate_id) VALUES ('after')").await;
        until_text(&mut daemon, "submitted after").await;
        daemon.signal("TERM");
        assert_eq!(daemon.end().await.0, Some(0));
    }
}

/// Waits for the next log line with these words, in either format.
async fn until_text(daemon: &mut Process, words: &str) -> String {
    let line = daemon.until_line(words, |line| text_of(line).contains(words)).await;
    text_of(&line)
}

fn text_of(line: &Value) -> String {
    match (line, &line["message"]) {
        (Value::String(text), _) => text.clone(),
        (_, Value::String(message)) => format!("{} {message}", line["level"]),
        (other, _) => other.to_string(),
    }
}

#[tokio::test]
async fn a_hostile_reference_is_kept_and_does_no_harm() {
    let bench = Bench::new().await;
    let hostile: String = HOSTILE.replace('\'', "''").replace('\0', "");
    bench.sql(&format!("INSERT INTO submissions (certificate_id, reference) VALUES ('abcd', '{hostile}')")).await;
    bench.sql("INSERT INTO submissions (certificate_id, reference) VALUES ('efgh', CAST(x'ff1b0a' AS TEXT))").await;
    let (code, _, log) = run(bench.command(&["run", "--until-empty"])).await;
    assert_eq!(code, Some(0), "{log}");
    show_queue(&bench, &["abcd", "efgh"]).await;
    bench.assert_each_submitted_once(&["abcd", "efgh"]).await;
    let kept: String = bench.value("SELECT reference FROM submissions WHERE certificate_id = 'abcd'").await;
    assert_eq!(kept, HOSTILE.replace('\0', ""));
}

/// Rows that the rules refuse: columns and values.
const POISON: [(&str, &str); 11] = [
    ("certificate_id", "'not an id'"),
    ("certificate_id", "x'61626364'"),
    ("certificate_id", "CAST(x'ff1b' AS TEXT)"),
    ("certificate_id", "char(27) || '[2J' || char(10)"),
    ("certificate_id", "printf('%.65536c', 'a')"),
    ("certificate_id, verify_type", "'type', 'nonsense'"),
    ("certificate_id, verify_type", "'bytes', x'00ff1b'"),
    ("certificate_id, reference", "'long', printf('%.65536c', 'r')"),
    ("certificate_id, reference", "'blob', x'00ff'"),
    ("certificate_id, tries", "'tries', 'many'"),
    ("certificate_id, tries", "'negative', -1"),
];

/// Rows that are never due, since their values don't compare with valid ones.
const NEVER_DUE: [(&str, &str); 3] = [
    ("certificate_id, due_at", "'soon', 'soon'"),
    ("certificate_id, due_at", "'blob-due', x'ff'"),
    ("certificate_id, created_at, due_at", "'created', 'long ago', 9999999999"),
];

/// Inserts rows past the rules for inserting.
async fn smuggle(bench: &Bench, rows: &[(&str, &str)]) {
    let rules: String = bench.value("SELECT sql FROM sqlite_master WHERE name = 'submissions_insert_rules'").await;
    let inserts =
        rows.iter().map(|(columns, values)| format!("INSERT INTO submissions ({columns}) VALUES ({values});"));
    let inserts: String = inserts.collect();
    bench.sql(&format!("DROP TRIGGER submissions_insert_rules; {inserts} {rules};")).await;
}

#[tokio::test]
async fn rows_that_bypassed_the_rules_stay_unchanged_and_others_are_sent() {
    let bench = Bench::new().await;
    smuggle(&bench, &NEVER_DUE).await;
    for round in 0..5 {
        let renamed = POISON.map(|(columns, values)| (columns, values.replace("',", &format!("-{round}',"))));
        let fresh: Vec<(&str, &str)> = renamed.iter().map(|(columns, values)| (*columns, values.as_str())).collect();
        smuggle(&bench, if round == 0 { &POISON } else { &fresh[5..] }).await;
    }
    let poison = POISON.len() + 4 * (POISON.len() - 5);
    bench.enqueue(&["good-1", "good-2"]).await;
    let mut daemon = bench.spawn(&["run"]);
    for _ in 0..2 {
        daemon.until_event("submitted").await;
    }
    daemon.signal("TERM");
    let (code, log) = daemon.end().await;
    assert_eq!(code, Some(0));
    let reported = log.iter().filter(|line| line["submission"].is_i64()).count();
    assert_eq!(reported, poison, "each is logged once");
    let due: i64 = bench.value("SELECT count(*) FROM submissions WHERE state = 'pending' AND due_at < 9e9").await;
    assert_eq!(usize::try_from(due), Ok(poison), "nothing is canceled");
    let good: i64 = bench.value("SELECT count(*) FROM submissions WHERE state = 'submitted'").await;
    assert_eq!((good, bench.simulator.commits().len()), (2, 2), "the others were sent, and none of these");
    show_queue(&bench, &["good-1", "tries", "created"]).await;
}

#[tokio::test]
async fn a_row_that_a_trigger_keeps_from_moving_is_reported_once_and_others_are_sent() {
    let bench = Bench::new().await;
    smuggle(&bench, &[("certificate_id, priority", "'stuck', 0"), ("certificate_id", "'bad id'")]).await;
    bench
        .sql(
            "CREATE TRIGGER mine BEFORE UPDATE ON submissions WHEN OLD.id <= 2 BEGIN
               SELECT RAISE(ABORT, 'not mine to move');
             END",
        )
        .await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_line("the stuck row", |line| line["submission"] == 1).await;
    for id in ["good-1", "good-2", "good-3"] {
        bench.enqueue(&[id]).await;
        daemon.until_event("submitted").await;
    }
    let reported = daemon.seen().iter().filter(|line| line["submission"].is_i64()).count();
    assert_eq!(reported, 2, "each once: {:#?}", daemon.seen());
    bench.sql("DROP TRIGGER mine").await;
    daemon.until_line("the row that was stuck", |line| line["certificate_id"] == "stuck").await;
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    bench.assert_each_submitted_once(&["stuck", "good-1", "good-2", "good-3"]).await;
}

#[tokio::test]
async fn nonsense_in_the_daemons_own_row_is_overwritten() {
    let bench = Bench::new().await;
    bench.enqueue(&["abcd"]).await;
    let nonsense = "UPDATE daemon SET pid = 'x', version = x'ff1b', started_at = 'then', mode = char(27) || '[2J',
                           why = CAST(x'ff0a' AS TEXT), pace = 'fast'";
    bench.sql(nonsense).await;
    bench.sql("UPDATE daemon SET heartbeat_at = x'00'").await;
    show_queue(&bench, &["abcd"]).await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Submitted, 1).await;
    bench.sql(nonsense).await;
    show_queue(&bench, &["abcd"]).await;
    bench.enqueue(&["efgh"]).await;
    daemon.until_count(State::Submitted, 2).await;
    daemon.stop(Stop::Soon).await;
    let mode: String = bench.value("SELECT mode FROM daemon").await;
    assert_eq!(mode, "stopped");
}
