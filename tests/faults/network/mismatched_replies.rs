//! Replies to the wrong request: HTTP/1.1 matches them by order alone, and a middlebox changes the order.

use std::time::Duration;

use super::{message_of, until_submitted};
use certcommit::simulator::ReadFault;

use crate::support::{Act, Answer, Authority, Bench, FaultProxy, Greeting, Process, ReplyScript, text};

const HOST: &str = "localhost";
/// What the log says of a copy of an earlier reply.
const REPEATED: &str = "the reply has the RequestId of an earlier one";

/// A refusal of a commit.
fn refusal(request_id: &str) -> Vec<u8> {
    let error = r#"{"Code":"FailedOperation.CertificateNotFound","Message":"no"}"#;
    let body = format!(r#"{{"Response":{{"Error":{error},"RequestId":"{request_id}"}}}}"#);
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn stop(daemon: Process) -> Vec<serde_json::Value> {
    daemon.signal("TERM");
    daemon.end().await.1
}

/// From the second request on, each one on the connection gets the reply to the previous one. The third request waits for a
/// connection meanwhile, since new ones are never established.
#[tokio::test]
async fn a_request_waiting_for_an_out_of_step_connection_gets_no_other_requests_reply() {
    let mut bench = Bench::new().await;
    let authority = Authority::new("Trusted");
    let proxy = FaultProxy::with_tls(&bench.simulator, authority.server(HOST)).await;
    bench.set("api.endpoint", &format!("https://{HOST}:{}", proxy.port()));
    let trusted = bench.path("authority.pem");
    authority.write(&trusted);
    let mut command = bench.command(&["run"]);
    command.env("SSL_CERT_FILE", text(&trusted));
    let mut daemon = Process::spawn(command);
    bench.enqueue(&["first"]).await;
    until_submitted(&mut daemon, 1).await;
    proxy.greet(Greeting::Hang);
    let behind: ReplyScript = |reply| {
        vec![Act::UntilConnections(2), Act::SendAgain, Act::Wait(Duration::from_millis(500)), Act::Send(reply.whole())]
    };
    proxy.script("next", Answer::Forwarded(behind));
    bench.enqueue(&["next", "waiting"]).await;
    daemon.until_event("in_doubt").await;
    proxy.greet(Greeting::Serve);
    until_submitted(&mut daemon, 3).await;
    let line = message_of(&stop(daemon).await, "in_doubt", "next");
    assert!(line.contains(REPEATED), "{line}");
    bench.assert_each_submitted_once(&["first", "next", "waiting"]).await;
    let connection_of = |id| proxy.commits_of(id)[0].connection;
    assert_eq!(connection_of("first"), connection_of("next"));
    assert_ne!(connection_of("next"), connection_of("waiting"), "it isn't reused");
}

#[tokio::test]
async fn a_reply_repeated_on_another_connection_puts_all_requests_in_flight_in_doubt() {
    let mut bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.simulator).await;
    bench.set("api.endpoint", &proxy.endpoint());
    let mut daemon = bench.spawn(&["run"]);
    proxy.script("refused", Answer::Withheld(vec![Act::Send(refusal("r"))]));
    bench.enqueue(&["refused"]).await;
    daemon.until_event("failed").await;
    let late: ReplyScript = |reply| vec![Act::Wait(Duration::from_secs(1)), Act::Send(reply.whole())];
    proxy.script("in-flight", Answer::Forwarded(late));
    proxy.script("crossed", Answer::Withheld(vec![Act::UntilRequests(3), Act::Send(refusal("r"))]));
    bench.enqueue(&["in-flight", "crossed"]).await;
    until_submitted(&mut daemon, 2).await;
    let lines = stop(daemon).await;
    let line = message_of(&lines, "in_doubt", "crossed");
    assert!(line.contains(REPEATED), "{line}");
    let line = message_of(&lines, "in_doubt", "in-flight");
    assert!(line.contains("replies came to the wrong requests"), "{line}");
    let connection_of = |id| proxy.commits_of(id)[0].connection;
    assert_eq!((connection_of("refused"), connection_of("crossed")), (1, 2));
    assert_eq!(connection_of("in-flight"), 1);
    bench.assert_each_submitted_once(&["in-flight", "crossed"]).await;
    bench.assert_nothing_resent_blindly().await;
}

/// A page from a middlebox doesn't say which request it is for, so a copy of it couldn't be recognized.
#[tokio::test]
async fn a_connection_is_not_reused_after_a_reply_without_a_request_id() {
    let mut bench = Bench::new().await;
    bench.set("pause.after", "1000");
    let proxy = FaultProxy::start(&bench.simulator).await;
    bench.set("api.endpoint", &proxy.endpoint());
    let page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nbusy";
    proxy.script("page", Answer::Withheld(vec![Act::Send(page.to_vec())]));
    // Its readback occupies the connection that it opens.
    bench.set("api.request_timeout", "2s");
    bench.simulator.script_reads("page", vec![ReadFault::Hang]);
    let again: ReplyScript =
        |reply| vec![Act::SendAgain, Act::Wait(Duration::from_millis(500)), Act::Send(reply.whole())];
    proxy.script("next", Answer::Forwarded(again));
    let mut daemon = bench.spawn(&["run"]);
    bench.enqueue(&["page"]).await;
    daemon.until_event("in_doubt").await;
    bench.enqueue(&["next"]).await;
    until_submitted(&mut daemon, 2).await;
    stop(daemon).await;
    bench.assert_each_submitted_once(&["page", "next"]).await;
    assert_ne!(proxy.commits_of("page")[0].connection, proxy.commits_of("next")[0].connection);
    assert_eq!(bench.row("next").await.resolved_by.as_deref(), Some("reply"));
}
