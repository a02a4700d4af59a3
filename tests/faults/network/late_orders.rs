//! Orders that land late: when a commit in doubt may be sent again, and what becomes of an order that lands even later.

use std::time::Duration;

use certcommit::simulator::{Fault, ReadFault};

use super::told;
use crate::support::Bench;

const STATUS_REFUSED: &str = "FailedOperation.InvalidCertificateStatusCode";

async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.set("pause.after", "1000");
    bench
}

/// A commit is sent again only once its signature is dead for the server: the second negative read lies at least
/// `verify.resend_after` after its signing. So an order that lands up to then is seen by that read.
#[tokio::test]
async fn an_order_that_lands_any_time_before_the_read_that_allows_another_commit_is_found_by_it() {
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
async fn no_commit_is_sent_again_before_its_signature_is_old_enough() {
    let mut bench = bench().await;
    bench.set("verify.resend_after", "3s");
    let ids = crate::support::ids(10);
    for id in &ids {
        bench.simulator.script_commits(id, vec![Fault::CutBefore]);
    }
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_blind().await;
    for id in &ids {
        assert_eq!((bench.simulator.commits_of(id).len(), bench.simulator.reads_of(id).len()), (2, 2), "{id}");
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

/// By the contract this can't be, since a signature lives 300 s and `verify.resend_after` is ten minutes. Should it
/// happen all the same, say since the service shows its orders late, then the service refuses the second commit for its
/// status, and that is read back, too.
#[tokio::test]
async fn an_order_that_shows_only_after_two_negative_reads_is_found_when_the_second_commit_is_refused() {
    let bench = bench().await;
    let not_yet = ReadFault::Shows { order_id: None, status: Some(13) };
    bench.simulator.script_commits("abcb1234", vec![Fault::CutAfter]);
    bench.simulator.script_reads("abcb1234", vec![not_yet.clone(), not_yet]);
    bench.enqueue(&["abcb1234"]).await;
    let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    bench.assert_nothing_blind().await;
    let answers: Vec<String> = bench.simulator.commits().into_iter().map(|commit| commit.answer).collect();
    assert_eq!(answers[1..], [STATUS_REFUSED]);
    assert_eq!(bench.row("abcb1234").await.resolved_by.as_deref(), Some("readback"));
    assert!(told(&lines, "submitted", "abcb1234").contains("by reading it back"));
}
