//! Who sees the page, and what others get.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::super::metrics_server::MetricsServer;
use super::*;
use crate::cause::{DatabaseCause, Incident, PauseCause};
use crate::clock;
use crate::config::UnsafeFilesystem;
use crate::queue::{Counts, Opening, Paces, Queue};
use crate::submission::State as SubmissionState;

fn database(path: &std::path::Path) -> DatabaseSettings {
    DatabaseSettings { path: path.join("queue.db"), unsafe_filesystem: UnsafeFilesystem::Refuse }
}

fn page(audience: PageAudience) -> Option<PageServer> {
    PageServer::new(audience, database(std::path::Path::new("/nowhere")), 20)
}

fn at(address: &str) -> ReachedAt {
    ReachedAt::new(address.parse().unwrap())
}

/// A request to this host; one without a name for an empty text.
fn request(uri: &str, hosts: &[&str]) -> Parts {
    let request = axum::http::Request::builder().uri(uri);
    let request = hosts.iter().fold(request, |request, host| request.header(header::HOST, *host));
    request.body(()).unwrap().into_parts().0
}

fn names(host: &str) -> bool {
    names_an_address(&request("/", &[host]))
}

#[test]
fn the_host_must_be_an_address_or_localhost() {
    for host in ["127.0.0.1", "127.0.0.1:9437", "10.1.2.3:80", "[::1]", "[::1]:9437", "localhost", "LocalHost:9437"] {
        assert!(names(host), "{host}");
    }
    for host in [
        "",
        "rebound.example:9437",
        "127.0.0.1.rebound.example",
        "localhost.example",
        "localhost.",
        "localhost:",
        "localhost:99999",
        "localhost:80:80",
        "::1",
        "[::1",
        "[::1]9437",
        "[rebound.example]",
        "127.0.0.1@rebound.example",
        "0x7f.1",
        "2130706433",
    ] {
        assert!(!names(host), "{host}");
    }
    assert!(!names_an_address(&request("/", &[])), "none");
    assert!(!names_an_address(&request("/", &["127.0.0.1", "127.0.0.1"])), "two");
    assert!(!names_an_address(&request("http://rebound.example/", &["127.0.0.1"])), "another one in the first line");
    assert!(names_an_address(&request("http://127.0.0.1:9437/", &["127.0.0.1:9437"])));
}

#[test]
fn the_page_is_for_loopback_addresses_unless_everyone_may_see_it() {
    let seen = |audience, address| may_see(audience, at(address));
    for loopback in ["127.0.0.1:9437", "127.9.9.9:9437", "[::1]:9437", "[::ffff:127.0.0.1]:9437"] {
        assert!(seen(PageAudience::Loopback, loopback) && seen(PageAudience::Any, loopback), "{loopback}");
    }
    for other in ["10.1.2.3:9437", "[fe80::1]:9437", "[::ffff:10.1.2.3]:9437"] {
        assert!(!seen(PageAudience::Loopback, other) && seen(PageAudience::Any, other), "{other}");
    }
    assert!(!seen(PageAudience::Off, "127.0.0.1:9437"));
}

#[test]
fn the_address_of_the_page_is_one_that_a_browser_on_this_machine_reaches() {
    let address = |audience, listening: &str| page(audience)?.address(listening.parse().unwrap());
    for (listening, on_loopback, for_all) in [
        ("127.0.0.1:9437", Some("http://127.0.0.1:9437/"), "http://127.0.0.1:9437/"),
        ("0.0.0.0:9437", Some("http://127.0.0.1:9437/"), "http://127.0.0.1:9437/"),
        ("[::]:9437", Some("http://[::1]:9437/"), "http://[::1]:9437/"),
        ("10.1.2.3:9437", None, "http://10.1.2.3:9437/"),
    ] {
        assert_eq!(address(PageAudience::Loopback, listening).as_deref(), on_loopback);
        assert_eq!(address(PageAudience::Any, listening).as_deref(), Some(for_all));
        assert_eq!(address(PageAudience::Off, listening), None);
    }
}

#[test]
fn the_filter_has_the_names_of_the_options_of_the_report() {
    let all = ReportFilter {
        reference: Some("spring & co".to_owned()),
        state: Some(SubmissionState::Failed),
        since: Some(7),
        until: Some(1_551_113_065),
    };
    assert_eq!(filter(""), Ok(ReportFilter::default()));
    assert_eq!(filter("reference=spring+%26+co&state=failed&since=7&until=2019-02-25T16:44:25Z"), Ok(all));
    for (query, sentence) in [
        ("state=lost", "state is \"lost\": it must be one of pending, in_flight, in_doubt, "),
        ("since=today", "since is \"today\": it must be unix seconds, or a time such as 2026-12-01T00:00:00Z"),
        ("until=", "until is \"\": it must be "),
        ("campaign=spring", "\"campaign\" is no filter: reference, state, since and until are"),
    ] {
        let wrong = filter(query).unwrap_err();
        assert!(wrong.starts_with(sentence), "{wrong}");
    }
    assert!(filter(&format!("{}=", "x".repeat(10_000))).unwrap_err().len() < 200);
}

#[tokio::test]
async fn who_may_not_see_the_page_gets_403_and_who_uses_a_name_gets_421() {
    let page = page(PageAudience::Loopback).unwrap();
    let refused = async |address, host| page.page(at(address), &request("/", &[host])).await.unwrap_err();
    let (status, text) = refused("10.1.2.3:9437", "10.1.2.3:9437").await;
    assert!(status == StatusCode::FORBIDDEN && text.contains("as metrics.page says"), "{text}");
    let (status, text) = refused("[::ffff:127.0.0.1]:9437", "rebound.example:9437").await;
    let expected = "open this page by an IP address or as localhost, such as http://127.0.0.1:9437/\n";
    assert_eq!((status, text.as_str()), (StatusCode::MISDIRECTED_REQUEST, expected));
}

#[tokio::test]
async fn more_visitors_than_there_are_places_are_sent_away() {
    let page = page(PageAudience::Loopback).unwrap();
    let visitors = u32::try_from(MOST_VISITORS).unwrap();
    let all = Arc::clone(&page.visitors).acquire_many_owned(visitors).await.unwrap();
    let visit = async || page.page(at("127.0.0.1:9437"), &request("/", &["localhost"])).await.unwrap_err();
    let (status, text) = visit().await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && text.starts_with("too many visitors"), "{text}");
    drop(all);
    assert!(!visit().await.1.starts_with("too many visitors"));
}

#[test]
fn what_the_daemon_is_doing_is_shown_with_the_first_trouble_and_its_remedy() {
    let counts = Counts::default();
    let paces = Paces { commits: 12.5, reads: 10.0 };
    let running = StatusSnapshot {
        counts: &counts,
        mode: Mode::Running,
        incidents: &[],
        outage: None,
        paces,
        cap: 20,
        next_due: None,
    };
    let expected = DaemonNow { mode: "running", trouble: None, pace: 12.5, cap: 20 };
    assert_eq!(daemon_now(running), expected);
    let by_operator = Incident::new(PauseCause::ByOperator { reason: Some("maintenance".into()) }, None);
    let paused =
        StatusSnapshot { mode: Mode::PausedByOperator, incidents: std::slice::from_ref(&by_operator), ..running };
    let trouble = daemon_now(paused).trouble.unwrap();
    assert_eq!(trouble.what, "an operator paused the queue: maintenance");
    assert_eq!(trouble.to_do, "once the operator's reason is over: certcommit resume");
    let (sentence, remedy) = ("the disk is full".into(), "make room".into());
    let full = Incident::new(DatabaseCause { code: "disk_full", sentence, remedy }, None);
    let outage = daemon_now(StatusSnapshot { outage: Some(&full), ..paused });
    assert_eq!((outage.mode, outage.trouble.unwrap().to_do.as_str()), ("waits for the database", "make room"));
}

/// The head and the body of the answer to this request.
async fn exchange(address: SocketAddr, request: &'static str) -> (String, String) {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer).unwrap()
    });
    let answer = asked.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn the_page_is_sent_with_what_keeps_strangers_out_and_only_to_those_who_read() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let _queue = Queue::open(&database, Opening::Create).await.unwrap();
    let page = PageServer::new(PageAudience::Loopback, database, 20);
    let mut server = MetricsServer::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), page).await.unwrap();
    let address = server.address();
    let counts = Counts::default();
    let (paces, now) = (Paces { commits: 12.5, reads: 10.0 }, clock::now());
    let snapshot = StatusSnapshot {
        counts: &counts,
        mode: Mode::Running,
        incidents: &[],
        outage: None,
        paces,
        cap: 20,
        next_due: None,
    };
    server.publish(snapshot, now);

    let (head, body) = exchange(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 200 ") && body.contains("<b>12.5/s</b>") && body.ends_with("</html>"), "{head}");
    for line in [
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(head.lines().any(|shown| shown == line), "{line} in {head}");
    }
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("; connect-src 'self'; ") && policy.ends_with("; frame-ancestors 'none'"), "{policy}");
    assert!(!head.contains("access-control-"), "no other origin reads it: {head}");

    let (head, body) = exchange(address, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 200 ") && body.is_empty(), "{head} {body}");
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "405"),
        ("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        ("GET /?state=lost HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n", "421"),
        ("GET / HTTP/1.0\r\n\r\n", "421"),
        ("GET /metrics HTTP/1.1\r\nHost: rebound.example\r\n\r\n", "200"),
        ("GET /readyz HTTP/1.0\r\n\r\n", "200"),
        ("GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
    ] {
        let (head, _) = exchange(address, request).await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{request}");
    }
}

#[tokio::test]
async fn without_a_queue_the_error_and_its_remedy_are_sent_and_no_markup() {
    let page = page(PageAudience::Loopback);
    let server = MetricsServer::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), page).await.unwrap();
    let (head, body) = exchange(server.address(), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 503 ") && head.contains("\ncontent-type: text/plain; charset=utf-8"), "{head}");
    assert!(body.contains("there is no queue at /nowhere/queue.db; create it with "), "{body}");
}

#[tokio::test]
async fn a_page_that_is_off_is_not_there() {
    let page = page(PageAudience::Off);
    let server = MetricsServer::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), page).await.unwrap();
    assert_eq!(server.page_address(), None);
    let (head, _) = exchange(server.address(), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");
}
