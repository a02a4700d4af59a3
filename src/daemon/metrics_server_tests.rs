//! The server over real connections.

use std::io::Write as _;
use std::net::TcpStream;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::cause::{DatabaseCause, Incident};
use crate::clock::UnixMillis;
use crate::queue::{Counts, Paces};

fn full() -> Incident {
    let (sentence, remedy) = ("the disk is full".into(), "make room".into());
    Incident::new(DatabaseCause { code: "disk_full", sentence, remedy }, Some(UnixMillis(0)))
}

async fn get(address: SocketAddr, path: &'static str) -> (u16, String) {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: here\r\n\r\n")?;
        io::read_to_string(stream)
    });
    let response = asked.await.unwrap().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn server() -> (MetricsServer, SocketAddr) {
    let server = MetricsServer::listen(SocketAddr::from(([127, 0, 0, 1], 0)), None).await.unwrap();
    let address = server.address();
    (server, address)
}

fn running(counts: &Counts) -> StatusSnapshot<'_> {
    let paces = Paces { commits: 12.5, reads: 10.0 };
    StatusSnapshot { counts, mode: Mode::Running, incidents: &[], outage: None, paces, cap: 20, next_due: None }
}

#[tokio::test]
async fn the_gauges_show_the_snapshot() {
    let (mut server, address) = server().await;
    let counts = [(submission::State::Pending, 3)].into_iter().collect();
    let now = clock::now();
    let snapshot = StatusSnapshot { next_due: Some(now.unix.seconds() - 7), ..running(&counts) };
    server.publish(StatusSnapshot { mode: Mode::PausedByFault, ..snapshot }, now);
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"certcommit_submissions{state="pending"} 3"#,
        r#"certcommit_submissions{state="held"} 0"#,
        "certcommit_oldest_due_seconds 7",
        "certcommit_pace_per_second 12.5",
        "certcommit_rate_limit_per_second 20",
        r#"certcommit_paused{by="operator"} 0"#,
        r#"certcommit_paused{by="fault"} 1"#,
        "certcommit_database_available 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
    }
    assert_eq!(get(address, "/").await.0, 404);
}

#[tokio::test]
async fn an_incident_is_shown_by_its_code_and_its_end_as_well() {
    let (mut server, address) = server().await;
    let (counts, now) = (Counts::default(), clock::now());
    let incident = Incident::new(PauseCause::RestoredDump, None);
    let shown = r#"certcommit_incident{code="restored_dump"}"#;
    let one = std::slice::from_ref(&incident);
    for (seconds, incidents, expected) in [(0, &[][..], "0"), (2, one, "1"), (4, &[], "0")] {
        let later = Now { instant: now.instant + Duration::from_secs(seconds), ..now };
        server.publish(StatusSnapshot { incidents, ..running(&counts) }, later);
        let (_, text) = get(address, "/metrics").await;
        assert!(text.contains(&format!("{shown} {expected}")), "{text}");
    }
}

#[tokio::test]
async fn a_submission_that_is_due_in_the_future_is_not_overdue() {
    let counts = Counts::default();
    let now = clock::now();
    let snapshot = StatusSnapshot { next_due: Some(now.unix.seconds() + 60), ..running(&counts) };
    let full = full();
    assert_eq!(gauges(snapshot, now).oldest_due_s, 0);
    assert!(!gauges(StatusSnapshot { outage: Some(&full), ..snapshot }, now).database_available);
}

#[tokio::test]
async fn readyz_is_ok_while_commits_go_out_and_otherwise_shows_why_not() {
    let (mut server, address) = server().await;
    assert_eq!(get(address, "/readyz").await, (503, "starting\n".to_owned()));
    let counts = Counts::default();
    let (now, running) = (clock::now(), running(&counts));
    let by_operator = Incident::new(PauseCause::ByOperator { reason: Some("maintenance".into()) }, None);
    let readback = Incident::new(PauseCause::ReadbackFailing { why: "cut".into(), request_id: None }, None);
    let paused =
        StatusSnapshot { mode: Mode::PausedByOperator, incidents: std::slice::from_ref(&by_operator), ..running };
    let outage = full();
    let full = StatusSnapshot { outage: Some(&outage), ..paused };
    let stopping = StatusSnapshot { mode: Mode::Stopping, ..running };
    // Reading back alone is paused: commits go out.
    let reading = StatusSnapshot { incidents: std::slice::from_ref(&readback), ..running };
    for (snapshot, expected) in [
        (running, (200, "ok\n")),
        (paused, (503, "an operator paused the queue: maintenance\n")),
        (full, (503, "the disk is full; since 1970-01-01T00:00:00Z\n")),
        (stopping, (503, "stopping\n")),
        (reading, (200, "ok\n")),
    ] {
        server.publish(snapshot, now);
        let (status, text) = get(address, "/readyz").await;
        assert_eq!((status, text.as_str()), expected, "{snapshot:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_and_do_not_block_others() {
    let (_server, address) = server().await;
    let began = clock::now().instant;
    let connect = || tokio::net::TcpStream::connect(address);
    let mut idle = Vec::new();
    for _ in 0..=MOST_CONNECTIONS {
        idle.push(connect().await.unwrap());
    }
    // Time stands still but for those who wait for it.
    let mut asking = connect().await.unwrap();
    asking.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("starting\n"), "{answer}");
    let waited = clock::now().instant - began;
    assert!(
        waited < LONGEST_HEAD * 2,
        "those who say nothing are closed before those who wait for an answer: {waited:?}"
    );
}

#[tokio::test]
async fn healthz_is_ok_as_long_as_the_event_loop_makes_rounds() {
    let (mut server, address) = server().await;
    let counts = Counts::default();
    let now = clock::now();
    server.publish(running(&counts), now);
    assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
    let earlier = now.instant.checked_sub(Duration::from_secs(40)).unwrap();
    server.publish(running(&counts), Now { instant: earlier, ..now });
    let (status, text) = get(address, "/healthz").await;
    assert!(status == 503 && text.contains("has made no round for 40 s"), "{status} {text}");
}
