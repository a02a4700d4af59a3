//! `certcommit report` says what became of a campaign, in each of its forms.

use certcommit::simulator::Fault;
use serde_json::Value;

use crate::support::{Bench, output, text};

const WRONG_TYPE: &str = "FailedOperation.InvalidParam";

/// What a command prints, and that it succeeds.
async fn printed(bench: &Bench, arguments: &[&str]) -> String {
    let ended = output(bench.command(arguments)).await;
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

/// A campaign of three certificates, one of which is refused, and a certificate of another one that isn't due.
async fn campaign() -> Bench {
    let bench = Bench::new().await;
    bench.simulator.script_commits("wrong", vec![Fault::Error(WRONG_TYPE.to_owned())]);
    bench.simulator.script_commits("lost", vec![Fault::CutAfter]);
    for id in ["good", "wrong", "lost"] {
        printed(&bench, &["enqueue", id, "--reference", "spring, \"24\"", "--verify-type", "DNS"]).await;
    }
    printed(&bench, &["enqueue", "later", "--reference", "autumn", "--due-at", "2099-01-01T00:00:00Z"]).await;
    let mut daemon = bench.spawn(&["run"]);
    for _ in 0..2 {
        daemon.until_event("submitted").await;
    }
    daemon.signal("TERM");
    daemon.end().await;
    bench
}

#[tokio::test]
async fn a_table_lists_the_certificates_and_then_counts_them() {
    let bench = campaign().await;
    let table = printed(&bench, &["report", "--reference", "spring, \"24\""]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("good ") && lines[0].contains(" submitted "), "{table}");
    assert_eq!(lines[3], "3 certificates: 2 ordered, confirmation letter needed; 1 failed");
    assert_eq!(lines[4], format!("1 failed with {WRONG_TYPE}: simulated error"));
    assert_eq!(lines.len(), 5, "{table}");
}

#[tokio::test]
async fn the_csv_of_a_campaign_can_be_enqueued_again() {
    let bench = campaign().await;
    let file = text(&bench.path("report.csv"));
    assert_eq!(printed(&bench, &["report", "--format", "csv", "-o", &file]).await, "");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("\u{feff}certificate_id,verify_type,priority,reference,state,outcome,"), "{written}");
    assert!(written.contains("\r\ngood,DNS,0,\"spring, \"\"24\"\"\",submitted,letter_needed,SO"), "{written}");
    let again = printed(&bench, &["enqueue", "--file", &file, "--ignore-unknown"]).await;
    assert_eq!(again, "0 new, 4 known, 0 refused\n");
}

#[tokio::test]
async fn a_json_line_has_every_request_for_its_certificate() {
    let bench = campaign().await;
    let lines = printed(&bench, &["report", "--format", "jsonl", "--state", "submitted"]).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| &line["certificate_id"]).collect::<Vec<_>>(), ["good", "lost"]);
    let kinds: Vec<_> = lines[1]["requests"].as_array().unwrap().iter().map(|request| &request["kind"]).collect();
    assert_eq!(kinds, ["commit", "read"]);
    assert_eq!(lines[1]["requests"][0]["outcome"], "in_doubt");
}

#[tokio::test]
async fn a_report_covers_what_was_enqueued_in_its_time() {
    let bench = campaign().await;
    let ids = async |options: &[&str]| {
        let lines = printed(&bench, &[&["report", "--format", "jsonl"], options].concat()).await;
        let id =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["certificate_id"].as_str().unwrap().to_owned();
        lines.lines().map(id).collect::<Vec<_>>()
    };
    let everything = ["good", "wrong", "lost", "later"];
    assert_eq!(ids(&["--since", "2024-01-01T00:00:00Z", "--until", "2099-01-01T00:00:00Z"]).await, everything);
    assert_eq!(ids(&["--until", "2024-01-01T00:00:00Z"]).await, [""; 0]);
    assert_eq!(ids(&["--since", "2099-01-01T00:00:00Z"]).await, [""; 0]);
    assert_eq!(ids(&["--since", "2024-01-01T00:00:00Z", "--state", "failed"]).await, ["wrong"]);
    assert_eq!(ids(&["--reference", "unknown"]).await, [""; 0]);
}

#[tokio::test]
async fn the_page_has_the_campaign_in_one_file() {
    let bench = campaign().await;
    let file = text(&bench.path("report.html"));
    printed(&bench, &["report", "--reference", "spring, \"24\"", "--format", "html", "--output", &file]).await;
    let page = std::fs::read_to_string(&file).unwrap();
    for part in [
        "<!DOCTYPE html>",
        "Certificate orders of spring, &quot;24&quot;",
        "Why certificates failed",
        "<svg ",
        "\"lost\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("\"later\""), "another campaign");
    let ended = output(bench.command(&["report", "--output", "/nonexistent/report.html"])).await;
    assert_eq!(ended.status.code(), Some(2));
}
