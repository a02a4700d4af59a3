//! Connections that are never established, or end before the reply.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{assert_waits_until_fixed, message_of, until_submitted};
use crate::support::{Act, Answer, Bench, Distance, FaultProxy, Greeting, Process, ReplyScript, ids, test_size};

async fn bench() -> (Bench, FaultProxy) {
    let mut bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.simulator).await;
    bench.set("api.endpoint", &proxy.endpoint());
    (bench, proxy)
}

/// Enqueues a certificate, and waits until it is submitted.
async fn submit(bench: &Bench, daemon: &mut Process, id: &str) {
    bench.enqueue(&[id]).await;
    daemon.until_line("its order", |line| line["event"] == "submitted" && line["certificate_id"] == id).await;
}

#[tokio::test]
async fn a_refused_connection_costs_no_try() {
    let bench = Bench::new().await;
    bench.simulator.pause_listening().await;
    bench.enqueue(&ids(8)).await;
    let daemon = bench.spawn(&["run"]);
    assert_waits_until_fixed(&bench, daemon, &["Connection refused"], async || {
        bench.simulator.resume_listening().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_host_that_drops_packets_costs_no_try() {
    let mut bench = Bench::new().await;
    let (listener, queued) = full_listener().await;
    bench.set("api.endpoint", &format!("http://{}", listener.local_addr().unwrap()));
    bench.set("api.connect_timeout", "400ms");
    bench.enqueue(&ids(8)).await;
    let daemon = bench.spawn(&["run"]);
    let mut proxy = None;
    assert_waits_until_fixed(&bench, daemon, &["timed out"], async || {
        drop(queued);
        proxy = Some(FaultProxy::on(listener, &bench.simulator, None, Distance::default()));
    })
    .await;
}

/// A listener with a full backlog, which drops connection attempts as an unreachable host does, and the connections that fill
/// it.
async fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut queued = Vec::new();
    let timeout = Duration::from_millis(300);
    let address = listener.local_addr().unwrap();
    while let Ok(stream) = tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    (listener, queued)
}

#[tokio::test]
async fn a_server_that_never_replies_pauses_the_queue_and_sent_requests_are_read_back() {
    let (mut bench, proxy) = bench().await;
    bench.set("api.request_timeout", "1s");
    proxy.greet(Greeting::Hang);
    let ids = ids(12);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    let line = daemon.until_event("in_doubt").await;
    assert!(line["message"].as_str().unwrap().contains("timed out: the order may have been placed"), "{line}");
    let paused = daemon.until_event("paused").await;
    assert_eq!(paused["cause"], "outcomes_unknown");
    assert!(bench.simulator.arrivals().is_empty());
    proxy.greet(Greeting::Serve);
    until_submitted(&mut daemon, ids.len()).await;
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    assert_eq!(bench.simulator.commits().len(), ids.len());
}

#[tokio::test]
async fn a_connection_lost_during_a_request_leaves_it_in_doubt_and_it_is_not_repeated_without_a_readback() {
    let cases =
        [("vanished", Act::Hang, "timed out"), ("closed", Act::Close, "connection closed before message completed")];
    let (mut bench, proxy) = bench().await;
    bench.set("api.request_timeout", "3s");
    let mut daemon = bench.spawn(&["run"]);
    for (id, act, _) in &cases {
        submit(&bench, &mut daemon, &format!("before-{id}")).await;
        proxy.script(id, Answer::Withheld(vec![act.clone()]));
        submit(&bench, &mut daemon, id).await;
    }
    daemon.signal("TERM");
    let (_, lines) = daemon.end().await;
    for (id, _, says) in &cases {
        let line = message_of(&lines, "in_doubt", id);
        assert!(line.contains(says), "{line}");
        let requests: Vec<_> =
            proxy.received().into_iter().filter(|request| request.certificate_id.ends_with(id)).collect();
        let connections: Vec<usize> = requests.iter().map(|request| request.connection).collect();
        let [before, lost, later @ ..] = &connections[..] else { panic!("{requests:#?}") };
        assert_eq!(before, lost, "the connection was open before");
        assert!(later.iter().all(|later| later != lost), "it isn't reused: {connections:?}");
        assert_eq!(proxy.commits_of(id).len(), 2);
        bench.assert_each_submitted_once(&[id]).await;
    }
    bench.assert_nothing_resent_blindly().await;
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_nothing() {
    let (bench, proxy) = bench().await;
    let mut daemon = bench.spawn(&["run"]);
    let ids = ids(test_size("CYCLES", 20));
    for (id, count) in ids.iter().zip(1..) {
        submit(&bench, &mut daemon, id).await;
        assert_eq!(proxy.connections(), count, "each cycle has a connection of its own");
        proxy.close_idle();
        proxy.until(|proxy| proxy.open() == 0).await;
    }
    daemon.signal("TERM");
    let (_, lines) = daemon.end().await;
    assert!(!lines.iter().any(|line| line["event"] == "in_doubt" || line["event"] == "retrying"), "{lines:#?}");
    bench.assert_each_submitted_once(&ids).await;
    assert!(bench.rows().await.iter().all(|row| row.tries == 1));
    assert_eq!(proxy.received().len(), ids.len());
}

/// Each request finds a connection that has just been closed or is being closed. Still, no request is repeated without a record
/// of its own.
#[tokio::test]
async fn a_server_that_closes_after_each_reply_gets_no_request_twice() {
    let (mut bench, proxy) = bench().await;
    bench.set("pause.after", "1000");
    let ids = ids(2 * test_size("CYCLES", 20));
    for id in &ids {
        proxy.script(id, Answer::Forwarded(|reply| vec![Act::Send(reply.whole()), Act::Close]));
    }
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
}

#[tokio::test]
async fn a_duplicate_reply_is_not_taken_for_the_reply_to_the_next_request() {
    let (bench, proxy) = bench().await;
    proxy.script("doubled", Answer::Forwarded(|reply| vec![Act::Send([reply.whole(), reply.whole()].concat())]));
    let mut daemon = bench.spawn(&["run"]);
    submit(&bench, &mut daemon, "doubled").await;
    submit(&bench, &mut daemon, "next").await;
    daemon.signal("TERM");
    daemon.end().await;
    bench.assert_each_submitted_once(&["doubled", "next"]).await;
    assert_eq!(proxy.received().len(), 2);
    assert_ne!(proxy.commits_of("doubled")[0].connection, proxy.commits_of("next")[0].connection);
}

#[tokio::test]
async fn a_late_duplicate_reply_is_not_taken_for_the_reply_to_the_next_request() {
    let late: ReplyScript =
        |reply| vec![Act::SendAgain, Act::Wait(Duration::from_millis(500)), Act::Send(reply.whole())];
    let (bench, proxy) = bench().await;
    proxy.script("next", Answer::Forwarded(late));
    let mut daemon = bench.spawn(&["run"]);
    submit(&bench, &mut daemon, "first").await;
    let ids = ["next", "after-it", "and-again"];
    bench.enqueue(&ids).await;
    until_submitted(&mut daemon, 4).await;
    daemon.signal("TERM");
    let (_, lines) = daemon.end().await;
    let line = message_of(&lines, "in_doubt", "next");
    assert!(line.contains("the reply has the RequestId of an earlier one"), "{line}");
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 4);
    assert_eq!(bench.row("next").await.resolved_by.as_deref(), Some("readback"));
    assert_eq!(proxy.commits_of("first")[0].connection, proxy.commits_of("next")[0].connection);
}
