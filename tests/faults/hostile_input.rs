//! Hostile texts and rows: whatever they contain, other rows are processed, a log line stays one line, and nothing controls a
//! terminal.

mod commands;
mod parsers;
mod rows;

use std::process::Command;

use certcommit::escaping::is_unsafe;
use certcommit::simulator::{Fault, Options, ReadFault};
use certcommit::submission::State;
use serde_json::{Value, json};

use crate::support::{Bench, output};

/// Escapes, line breaks, NUL, characters that reorder or hide text, and an emoji.
const HOSTILE: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\r\n\t\0\u{8}\u{7f}\u{9b}31m\u{202e}back\u{2028}\u{200b}\u{feff}🙂'; DROP TABLE submissions; --";

/// The length in bytes that no line exceeds.
const LONGEST_LINE: usize = 8_000;

/// Asserts that an output has complete lines, none too long, and nothing that controls a terminal. Returns it.
fn assert_harmless(what: &str, printed: Vec<u8>) -> String {
    let printed = String::from_utf8(printed).unwrap_or_else(|error| panic!("{what} is not UTF-8: {error}"));
    for line in printed.split_terminator('\n') {
        assert!(!line.chars().any(is_unsafe), "{what}: {line:?}");
        assert!(line.len() <= LONGEST_LINE, "{what} has a line of {} bytes", line.len());
    }
    printed
}

/// Runs a command to its end. Returns its exit code, standard output and standard error.
async fn run(command: Command) -> (Option<i32>, String, String) {
    let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let output = output(command).await;
    let printed = assert_harmless(&what, output.stdout);
    (output.status.code(), printed, assert_harmless(&what, output.stderr))
}

/// The output of all commands that show the queue.
async fn show_queue(bench: &Bench, ids: &[&str]) -> String {
    let mut commands = vec![vec!["status"], vec!["status", "--json"], vec!["check"]];
    commands.extend(ids.iter().map(|id| vec!["history", id]));
    let mut seen = String::new();
    for arguments in commands {
        let (code, printed, errors) = run(bench.command(&arguments)).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments:?}");
        seen.push_str(&printed);
    }
    seen
}

fn refused(code: &str, message: &str, request_id: &str) -> Fault {
    let error = json!({ "Code": code, "Message": message });
    Fault::Raw(json!({ "Response": { "Error": error, "RequestId": request_id } }).to_string().into())
}

#[tokio::test]
async fn a_servers_text_is_capped_and_escaped_in_row_log_and_terminal() {
    for format in ["json", "text"] {
        let bench = Bench::with(Options::default(), &[("log.format", format)]).await;
        let ids = ["message", "code", "id", "long"];
        bench.enqueue(&ids).await;
        let long = "\u{1b}x".repeat(250_000);
        let faults = [
            refused("FailedOperation.InvalidParam", HOSTILE, "r-1"),
            refused(&format!("FailedOperation.{HOSTILE}"), "m", "r-2"),
            refused("FailedOperation.InvalidParam", "m", HOSTILE),
            refused(&format!("FailedOperation.{}", &long[..100_000]), &long[..60_000], &long[..10_000]),
        ];
        for (id, fault) in ids.iter().zip(faults) {
            bench.simulator.script_commits(id, vec![fault]);
        }
        let (code, _, log) = run(bench.command(&["run", "--until-empty"])).await;
        assert_eq!(code, Some(1), "{log}");
        for id in ids {
            let failures: Vec<&str> = log.lines().filter(|line| line.contains(&format!("failed {id}: "))).collect();
            assert_eq!(failures.len(), 1, "one line for {id} in {log}");
            assert!(failures[0].contains("FailedOperation."), "{failures:?}");
        }
        let whole = match format {
            "json" => log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object())),
            _ => log.lines().all(|line| line.starts_with("20") && line.contains("Z ")),
        };
        assert!(whole, "no line is broken: {log}");
        let seen = show_queue(&bench, &ids).await;
        assert!(seen.contains("FailedOperation.InvalidParam") && seen.contains("4 failed"), "{seen}");
        assert_eq!(bench.count("failed").await, ids.len());
        let longest: i64 = bench
            .value("SELECT max(max(length(error_code), length(error_message), length(request_id))) FROM submissions")
            .await;
        assert!(longest <= 500, "{longest} characters in a row");
        let unescaped: i64 = bench
            .value(
                "SELECT count(*) FROM submissions WHERE error_code || error_message || request_id GLOB '*[^ -~🙂…]*'",
            )
            .await;
        assert_eq!(unescaped, 0, "the rows are as safe as the log");
    }
}

/// Replies without a valid answer.
fn unreadable_replies() -> Vec<Vec<u8>> {
    let success = r#"{"Response":{"OrderId":"SO1","Status":8,"RequestId":"r"}}"#;
    let texts = [
        format!("\u{feff}{success}"),
        success.replace("SO1", r"\ud800"),
        success.replace("SO1", &"S".repeat(1_000_000)),
        success.replace("SO1", &HOSTILE.escape_default().to_string()),
        success.replace("SO1", r"SO1\u0000"),
        success.replace("8,", "1e400,"),
        success.replace("8,", "-0,"),
        success.replace("8,", "8.0,"),
        success.replace("8,", "99999999999999999999,"),
        success.replace("8,", "true,"),
        success.replace("8,", "[8],"),
        success.replace(r#""Status""#, r#""Status":8,"Status""#),
        success.replace(r#""RequestId""#, r#""Error":{},"RequestId""#),
        success.replace(r#""RequestId""#, r#""Error":"no","RequestId""#),
        success.replace(r#""RequestId""#, r#""Error":{"Code":7},"RequestId""#),
        success.replace(r#""r""#, &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        format!("{success}{success}"),
        "[".repeat(1_000_000),
        r#"{"Response":"#.repeat(10_000),
        "\0".repeat(100),
    ];
    let bytes = [vec![0xff; 100], success.as_bytes().iter().flat_map(|byte| [*byte, 0]).collect(), Vec::new()];
    texts.into_iter().map(String::into_bytes).chain(bytes).collect()
}

#[tokio::test]
async fn an_unreadable_reply_is_never_taken_for_an_answer() {
    let bench = Bench::with(Options::default(), &[("pause.after", "1000000")]).await;
    let ids: Vec<String> = (0..unreadable_replies().len()).map(|number| format!("cert-{number}")).collect();
    for (id, body) in ids.iter().zip(unreadable_replies()) {
        bench.simulator.script_commits(id, vec![Fault::Raw(body.clone())]);
        bench.simulator.script_reads(id, vec![ReadFault::Raw(body)]);
    }
    bench.enqueue(&ids).await;
    let ended = bench.run_until_empty().await;
    assert_eq!((ended.counts.of(State::Held), ended.counts.of(State::Failed)), (0, 0));
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    for id in &ids {
        assert_eq!(bench.simulator.commits_of(id).len(), 2, "{id} was in doubt, read back, and sent again");
    }
}
