//! Faults of the network: connections that are refused, unresolved, untrusted, silent, slow, cut or endless.
//!
//! A request that was not sent spends no try and leaves nothing in doubt. One that was sent but got no reliable reply is in
//! doubt, and is read back.

mod connections;
mod late_orders;
mod latency;
mod mismatched_replies;
mod proxies;
mod redirects;
mod replies;
mod tinyproxy;
mod tls;

use serde_json::Value;

use crate::support::{Bench, Process, event_of, ids};

/// The message of the line with this event for this certificate.
fn message_of(lines: &[Value], event: &str, id: &str) -> String {
    let matches = |line: &&Value| event_of(line) == event && line["certificate_id"] == id;
    let line = lines.iter().find(matches).unwrap_or_else(|| panic!("no {event} of {id}: {lines:#?}"));
    line["message"].as_str().unwrap().to_owned()
}

/// Waits until the log reports this many submissions.
async fn until_submitted(daemon: &mut Process, count: usize) {
    while daemon.seen().iter().filter(|line| event_of(line) == "submitted").count() < count {
        daemon.until_event("submitted").await;
    }
}

/// Asserts that a daemon that can't send says so in these words, spends no try, pauses, probes, and resumes by itself once
/// the fault is fixed.
async fn assert_waits_until_fixed(bench: &Bench, mut daemon: Process, says: &[&str], fix: impl AsyncFnOnce()) {
    let line = daemon.until_event("retrying").await;
    assert_says(&line, "not sent: ", says);
    let line = daemon.until_event("paused").await;
    assert_says(&line, "the API can't be reached: ", says);
    let probe = daemon.until_event("retrying").await;
    assert_says(&probe, "not sent: ", says);
    let rows = bench.rows().await;
    let unspent = |state: &str| state == "pending" || state == "in_flight";
    assert!(rows.iter().all(|row| row.tries == 0 && unspent(&row.state)), "{rows:?}");
    assert!(bench.simulator.arrivals().is_empty());
    fix().await;
    daemon.until_event("resumed").await;
    until_submitted(&mut daemon, rows.len()).await;
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    assert!(!lines.iter().any(|line| event_of(line) == "in_doubt"), "{lines:#?}");
    bench.assert_each_submitted_once(&ids(rows.len())).await;
    assert!(bench.rows().await.iter().all(|row| row.tries == 1));
    assert_eq!(bench.simulator.arrivals().len(), rows.len());
}

fn assert_says(line: &Value, before: &str, words: &[&str]) {
    let message = line["message"].as_str().unwrap();
    assert!(message.contains(before) && words.iter().all(|words| message.contains(words)), "{message}");
}
