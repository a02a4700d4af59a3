//! The order is placed, and the reply is broken.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crate::support::{Act, Answer, Bench, FaultProxy, Greeting, Reply, ReplyScript};

use super::message_of;

const TIMED_OUT: &str = "timed out";

/// The most memory that a daemon may need, whatever it receives.
const MEMORY_KB: u64 = 64 * 1024;

/// How much of an unread reply the kernel may hold.
const KERNEL_BUFFERS: usize = 15 * 1024 * 1024;

/// What happens to a reply, and what the log says.
struct BrokenReply {
    id: &'static str,
    answer: ReplyScript,
    says: &'static str,
}

/// The reply with a different head.
fn with_head(head: &str, reply: &Reply) -> Vec<u8> {
    [head.as_bytes(), &reply.body].concat()
}

fn announcing(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")
}

/// Replies that leave it unknown whether the order was placed.
const BROKEN: &[BrokenReply] = &[
    BrokenReply { id: "unanswered", answer: |_| vec![Act::Close], says: "connection closed before message completed" },
    BrokenReply {
        id: "cut-in-head",
        answer: |reply| vec![Act::Send(reply.head[..20].to_vec()), Act::Close],
        says: "connection closed before message completed",
    },
    BrokenReply {
        id: "cut-in-body",
        answer: |reply| vec![Act::Send(reply.head.clone()), Act::Send(reply.body[..20].to_vec()), Act::Close],
        says: "end of file before message length reached",
    },
    BrokenReply { id: "silent", answer: |_| vec![Act::Hang], says: TIMED_OUT },
    BrokenReply {
        id: "one-byte-a-second",
        answer: |reply| vec![Act::Slowly(reply.whole(), Duration::from_secs(1))],
        says: TIMED_OUT,
    },
    BrokenReply {
        id: "one-byte-of-body-a-second",
        answer: |reply| vec![Act::Send(reply.head.clone()), Act::Slowly(reply.body.clone(), Duration::from_secs(1))],
        says: TIMED_OUT,
    },
    BrokenReply {
        id: "body-without-end",
        answer: |_| {
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            vec![
                Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
                Act::Forever(chunk.into(), Duration::ZERO),
            ]
        },
        says: "the reply was longer than 1 MiB",
    },
    BrokenReply {
        id: "body-without-end-slowly",
        answer: |_| {
            vec![
                Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
                Act::Forever(b"1\r\n \r\n".to_vec(), Duration::from_millis(50)),
            ]
        },
        says: TIMED_OUT,
    },
    BrokenReply {
        id: "head-without-end",
        answer: |_| {
            let line = format!("X-Padding: {}\r\n", "x".repeat(1000));
            vec![Act::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Act::Forever(line.into(), Duration::ZERO)]
        },
        says: "message head is too large",
    },
    BrokenReply {
        id: "information-without-end",
        answer: |_| vec![Act::Forever(b"HTTP/1.1 102 Processing\r\n\r\n".to_vec(), Duration::from_millis(20))],
        says: TIMED_OUT,
    },
    BrokenReply {
        id: "length-too-short",
        answer: |reply| vec![Act::Send(with_head(&announcing(reply.body.len() - 1), reply))],
        says: "the reply was not JSON, or was cut off",
    },
    BrokenReply {
        id: "length-too-long-and-closed",
        answer: |reply| vec![Act::Send(with_head(&announcing(reply.body.len() + 1), reply)), Act::Close],
        says: "end of file before message length reached",
    },
    BrokenReply {
        id: "length-too-long-and-silent",
        answer: |reply| vec![Act::Send(with_head(&announcing(reply.body.len() + 1), reply)), Act::Hang],
        says: TIMED_OUT,
    },
    BrokenReply {
        id: "two-lengths",
        answer: |reply| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: {}\r\n\r\n", reply.body.len());
            vec![Act::Send(with_head(&head, reply))]
        },
        says: "invalid content-length parsed",
    },
    BrokenReply {
        id: "no-length-at-all",
        answer: |reply| vec![Act::Send(with_head("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", reply))],
        says: "the reply was not JSON, or was cut off",
    },
    BrokenReply {
        id: "chunk-without-size",
        answer: |reply| vec![Act::Send(with_head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", reply))],
        says: "Invalid chunk size line",
    },
    BrokenReply {
        id: "other-protocol",
        answer: |_| vec![Act::Send(b"SSH-2.0-OpenSSH_10.0\r\n\r\n".to_vec()), Act::Hang],
        says: "invalid HTTP version parsed",
    },
    BrokenReply {
        id: "old-http-cut",
        answer: |reply| {
            let whole = with_head("HTTP/1.0 200 OK\r\n\r\n", reply);
            vec![Act::Send(whole[..whole.len() - 1].to_vec()), Act::Close]
        },
        says: "the reply was not JSON, or was cut off",
    },
    BrokenReply { id: "gzip-bomb", answer: |_| vec![Act::Send(BOMB.clone())], says: "the reply was not UTF-8" },
];

/// Unusual replies that are still valid.
const UNUSUAL: &[(&str, ReplyScript)] = &[
    ("old-http", |reply| vec![Act::Send(with_head("HTTP/1.0 200 OK\r\n\r\n", reply)), Act::Close]),
    ("byte-by-byte", |reply| vec![Act::Slowly(reply.whole(), Duration::from_millis(1))]),
    ("informed-first", |reply| {
        let first = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n";
        vec![Act::Send(first.to_vec()), Act::Wait(Duration::from_millis(100)), Act::Send(reply.whole())]
    }),
    ("chunked", |reply| {
        let (one, two) = reply.body.split_at(10);
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        vec![Act::Send(head.to_vec()), Act::Send(chunk(one)), Act::Send(chunk(two)), Act::Send(chunk(b""))]
    }),
];

/// A reply of about 33 kB that would inflate to 32 MiB: a genuine receipt after spaces.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let receipt = br#"{"Response":{"OrderId":"SO1","Status":8,"RequestId":"r"}}"#;
    let mut gzip = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    stdin.write_all(&vec![b' '; 32 * 1024 * 1024]).unwrap();
    stdin.write_all(receipt).unwrap();
    drop(stdin);
    let output = gzip.wait_with_output().unwrap();
    assert!(output.status.success());
    let length = output.stdout.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    [head.into_bytes(), output.stdout].concat()
});

#[tokio::test]
async fn a_broken_reply_leaves_the_order_in_doubt_and_it_is_read_back_once() {
    let mut bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.simulator).await;
    LazyLock::force(&BOMB);
    bench.set("api.endpoint", &proxy.endpoint());
    bench.set("api.request_timeout", "3s");
    bench.set("pause.after", "1000");
    for reply in BROKEN {
        proxy.script(reply.id, Answer::Forwarded(reply.answer));
    }
    let ids: Vec<&str> = BROKEN.iter().map(|reply| reply.id).collect();
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    for _ in &ids {
        daemon.until_event("submitted").await;
    }
    let peak = peak_memory_kb(daemon.pid());
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    for BrokenReply { id, says, .. } in BROKEN {
        let line = message_of(&lines, "in_doubt", id);
        assert!(line.contains(says) && line.contains("it is read back"), "{line}");
        let row = bench.row(id).await;
        assert_eq!((row.tries, row.resolved_by.as_deref()), (1, Some("readback")), "{row:?}");
        assert_eq!(proxy.commits_of(id).len(), 1, "{id}");
    }
    println!("{} bytes of endless replies were sent; peak memory {peak} kB", proxy.endless_bytes());
    assert!(proxy.endless_bytes() < 1024 * 1024 + KERNEL_BUFFERS, "{} bytes were sent", proxy.endless_bytes());
    assert!(peak < MEMORY_KB, "{peak} kB at the peak");
}

#[tokio::test]
async fn an_unusual_but_complete_reply_counts() {
    let mut bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.simulator).await;
    bench.set("api.endpoint", &proxy.endpoint());
    for (id, answer) in UNUSUAL {
        proxy.script(id, Answer::Forwarded(*answer));
    }
    let ids: Vec<&str> = UNUSUAL.iter().map(|(id, _)| *id).collect();
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    for id in ids {
        assert_eq!(bench.row(id).await.resolved_by.as_deref(), Some("reply"), "{id}");
    }
    assert!(bench.simulator.reads().is_empty());
}

#[tokio::test]
async fn no_request_asks_for_a_compressed_reply() {
    let mut bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.simulator).await;
    bench.set("api.endpoint", &proxy.endpoint());
    bench.simulator.set_certificate("placed", 8, Some("SO1"));
    bench.enqueue(&["new", "placed"]).await;
    bench.run_until_empty().await;
    let received = proxy.received();
    assert_eq!(received.len(), 3, "two commits and a read: {received:#?}");
    assert!(received.iter().all(|request| !request.head.contains("accept-encoding")), "{received:#?}");
}

#[tokio::test]
async fn a_reply_before_the_request_was_read_is_not_believed() {
    let mut bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.simulator).await;
    bench.set("api.endpoint", &proxy.endpoint());
    bench.set("pause.after", "1000");
    let page = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";
    proxy.greet(Greeting::Send(page.into()));
    bench.enqueue(&["abcb1234"]).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("in_doubt").await;
    proxy.greet(Greeting::Serve);
    daemon.until_event("submitted").await;
    daemon.signal("TERM");
    let (_, lines) = daemon.end().await;
    let line = message_of(&lines, "in_doubt", "abcb1234");
    assert!(line.contains("HTTP 503, but the API always sends 200"), "{line}");
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    bench.assert_nothing_resent_blindly().await;
    assert_eq!(bench.row("abcb1234").await.tries, 2);
}

/// The peak memory of a process.
fn peak_memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}
