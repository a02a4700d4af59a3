//! Orders that are placed late: when a commit in doubt may be repeated, and what happens to an even later order.

use std::time::Duration;

use certcommit::simulator::{Fault, ReadFault};

use super::message_of;
use crate::support::Bench;

const STATUS_REFUSED: &str = "FailedOperation.InvalidCertificateStatusCode";

async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.set("pause.after", "1000");
    bench
}

/// A commit is repeated only once the server no longer accepts its signature: the second negative read comes at least
/// `verify.resend_after` after signing, so it sees an order placed up to then.
#[tokio::test]
async fn an_order_placed_before_the_read_that_allows_another_commit_is_found() {
    let mut bench = bench().await;
    bench.set("verify.resend_after", "5s");
    let delays = [100, 800, 1600, 2400, 3200, 4000];
    let ids: Vec<String> = delays.iter().map(|delay| format!("lands-after-{delay}-ms")).collect();
    for (id, delay) in ids.iter().zip(delays) {
        bench.simulator.script_commits(id, vec![Fault::LateAfter(Duration::from_millis(delay))]);
    }
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    for id in &ids {
        assert_eq!(bench.simulator.commits_of(id).len(), 1, "{id}");
        assert_eq!(bench.row(id).await.resolved_by.as_deref(), Some("readback"), "{id}");
    }
    assert!(bench.simulator.reads().len() > ids.len(), "some were read before their order landed");
}

#[tokio::test]
async fn no_commit_is_repeated_before_its_signature_has_expired() {
    let mut bench = bench().await;
    bench.set("verify.resend_after", "3s");
    let ids = crate::support::ids(10);
    for id in &ids {
        bench.simulator.script_commits(id, vec![Fault::CutBefore]);
    }
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    for id in &ids {
        assert_eq!(bench.simulator.commits_of(id).len(), 2, "{id}");
    }
    let youngest: i64 = bench
        .value(
            "SELECT min(read_ms - signed_ms) FROM (
                SELECT min(run_ms) FILTER (WHERE kind = 'commit') AS signed_ms,
                       max(run_ms) FILTER (WHERE kind = 'read') AS read_ms
                  FROM requests GROUP BY certificate_id)",
        )
        .await;
    assert!(youngest >= 3000, "sent again after a read {youngest} ms after the signing");
}

/// This shouldn't happen, since a signature is valid for 300 s and `verify.resend_after` is ten minutes. If the service shows
/// orders late, it refuses the second commit for the certificate's status, and that is read back too.
#[tokio::test]
async fn an_order_placed_even_later_is_found_when_the_second_commit_is_refused() {
    let bench = bench().await;
    let not_yet = ReadFault::Shows { order_id: None, status: Some(13) };
    bench.simulator.script_commits("abcb1234", vec![Fault::CutAfter]);
    bench.simulator.script_reads("abcb1234", vec![not_yet; 3]);
    bench.enqueue(&["abcb1234"]).await;
    let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    bench.assert_nothing_resent_blindly().await;
    let answers: Vec<String> = bench.simulator.commits().into_iter().map(|commit| commit.answer).collect();
    assert_eq!(answers[1..], [STATUS_REFUSED]);
    assert_eq!(bench.row("abcb1234").await.resolved_by.as_deref(), Some("readback"));
    assert!(message_of(&lines, "submitted", "abcb1234").contains("by readback"));
}
