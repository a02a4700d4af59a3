//! A commit with an unknown outcome is read back, and never repeated blindly.

use std::time::Duration;

use certcommit::cause::Cause;
use certcommit::daemon::Stop;
use certcommit::queue::RestoreMarker;
use certcommit::simulator::{Fault, ReadFault};
use certcommit::submission::State;

use crate::support::{Bench, ids, in_time, output};

const STATUS_REFUSED: &str = "FailedOperation.InvalidCertificateStatusCode";
const UNAUTHORIZED: &str = "UnauthorizedOperation";

/// A bench where many rows in doubt don't pause the queue.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.set("pause.after", "1000");
    bench
}

fn shows(order_id: Option<&str>, status: i64) -> ReadFault {
    ReadFault::Shows { order_id: order_id.map(str::to_owned), status: Some(status) }
}

#[tokio::test]
async fn a_reply_lost_after_the_order_is_read_back_and_placed_once() {
    let mut bench = bench().await;
    bench.set("api.request_timeout", "500ms");
    let faults = [
        ("cut", Fault::CutAfter),
        ("hang", Fault::HangAfter),
        ("half", Fault::HalfBody),
        ("html", Fault::Html),
        ("null", Fault::NullResponse),
        ("latin", Fault::NotUtf8),
        ("type", Fault::WrongTypeStatus),
        ("huge", Fault::HugeBody),
        ("orderless", Fault::NoOrderId),
        ("slow", Fault::Delay(Duration::from_secs(3))),
        ("system", Fault::ErrorAfter("FailedOperation.SystemError".to_owned())),
        ("unknown", Fault::ErrorAfter("SomethingNew.Altogether".to_owned())),
    ];
    let ids: Vec<&str> = faults.iter().map(|(id, _)| *id).collect();
    for (id, fault) in faults {
        bench.simulator.script_commits(id, vec![fault]);
    }
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    for id in ids {
        assert_eq!(bench.row(id).await.resolved_by.as_deref(), Some("readback"), "{id}");
        assert_eq!(bench.simulator.commits_of(id).len(), 1, "{id}");
    }
}

#[tokio::test]
async fn an_order_whose_reply_was_lost_is_found_without_waiting_for_it_to_settle() {
    let mut bench = bench().await;
    bench.set("verify.settle", "1h");
    bench.set("verify.resend_after", "2h");
    let ids = ids(3);
    for id in &ids {
        bench.simulator.script_commits(id, vec![Fault::CutAfter]);
    }
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    for id in &ids {
        assert_eq!((bench.simulator.commits_of(id).len(), bench.simulator.reads_of(id).len()), (1, 1), "{id}");
    }
}

#[tokio::test]
async fn before_settling_a_readback_that_shows_no_order_decides_nothing() {
    let mut bench = bench().await;
    bench.set("verify.settle", "1h");
    bench.set("verify.resend_after", "2h");
    let not_found = ReadFault::Error("FailedOperation.CertificateNotFound".to_owned());
    for (id, reading) in [("dead-end", shows(None, 7)), ("unclear", shows(None, 99)), ("not-found", not_found)] {
        bench.simulator.script_commits(id, vec![Fault::CutBefore]);
        bench.simulator.script_reads_forever(id, reading);
    }
    bench.simulator.script_commits("nothing", vec![Fault::CutBefore]);
    let ids = ["dead-end", "unclear", "not-found", "nothing"];
    bench.enqueue(&ids).await;
    let daemon = bench.start().await;
    in_time(
        "a readback of each",
        bench.simulator.until(|simulator| ids.iter().all(|id| !simulator.reads_of(id).is_empty())),
    )
    .await;
    daemon.stop(Stop::Soon).await;
    for id in ids {
        assert_eq!((bench.row(id).await.state.as_str(), bench.simulator.reads_of(id).len()), ("in_doubt", 1), "{id}");
    }
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM requests WHERE outcome = 'early'").await, 4);
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM submissions WHERE due_at < unixepoch() + 3000").await, 0);
}

#[tokio::test]
async fn an_outage_in_which_nothing_lands_is_met_with_few_early_readbacks() {
    let mut bench = bench().await;
    bench.set("verify.settle", "1h");
    bench.set("verify.resend_after", "2h");
    let ids = ids(40);
    for id in &ids {
        bench.simulator.script_commits(id, vec![Fault::CutBefore]);
    }
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::InDoubt, 40).await;
    daemon.stop(Stop::Soon).await;
    let early: i64 = bench.value("SELECT count(*) FROM requests WHERE outcome = 'early'").await;
    assert!((5..=10).contains(&early), "{early} early readbacks");
}

#[tokio::test]
async fn a_request_lost_before_the_order_is_sent_again_after_two_negative_reads() {
    let mut bench = bench().await;
    bench.set("api.request_timeout", "500ms");
    bench.simulator.script_commits("cut", vec![Fault::CutBefore]);
    bench.simulator.script_commits("hang", vec![Fault::HangBefore]);
    let target = bench.simulator.endpoint();
    bench.simulator.script_commits("redirected", vec![Fault::Redirect(target)]);
    bench.enqueue(&["cut", "hang", "redirected"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["cut", "hang", "redirected"]).await;
    for id in ["cut", "hang", "redirected"] {
        let commits = bench.simulator.commits_of(id);
        assert_eq!((commits.len(), bench.row(id).await.tries), (2, 2), "{id}");
        let reads = bench.simulator.reads_of(id);
        let between = reads.iter().filter(|read| commits[0].at < read.at && read.at < commits[1].at).count();
        assert_eq!(between, reads.len(), "{id}: it isn't read any more");
    }
    bench.assert_nothing_resent_blindly().await;
}

#[tokio::test]
async fn the_read_that_allows_another_commit_comes_late_enough_to_see_an_order_placed_late() {
    let mut bench = bench().await;
    bench.set("verify.resend_after", "3s");
    bench.simulator.script_commits("late", vec![Fault::LateAfter(Duration::from_millis(2500))]);
    bench.enqueue(&["late"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["late"]).await;
    assert_eq!(bench.row("late").await.resolved_by.as_deref(), Some("readback"));
    assert_eq!(bench.simulator.commits_of("late").len(), 1);
}

#[tokio::test]
async fn an_undecidable_readback_holds_the_row_with_the_reason() {
    let bench = bench().await;
    let readings = [
        ("canceled", shows(None, 7)),
        ("revoked", shows(Some("SO1"), 10)),
        ("unknown", shows(Some("SO1"), 99)),
        ("contradiction", shows(None, 8)),
        ("statusless", ReadFault::Shows { order_id: Some("SO1".to_owned()), status: None }),
    ];
    let ids: Vec<&str> = readings.iter().map(|(id, _)| *id).collect();
    for (id, reading) in readings {
        bench.simulator.script_commits(id, vec![Fault::CutBefore]);
        bench.simulator.script_reads_forever(id, reading);
    }
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    for id in ids {
        let row = bench.row(id).await;
        assert_eq!(row.state, "held", "{row:?}");
        assert!(row.reason.is_some_and(|reason| reason.starts_with("a readback shows")));
        assert_eq!(bench.simulator.commits_of(id).len(), 1, "{id}");
    }
}

#[tokio::test]
async fn a_refusal_for_the_status_is_read_back_at_once() {
    let bench = bench().await;
    bench.simulator.set_certificate("placed", 8, Some("SO9"));
    bench.simulator.set_certificate("canceled", 7, None);
    bench.enqueue(&["placed", "canceled"]).await;
    bench.run_until_empty().await;
    let row = bench.row("placed").await;
    let result = (row.state.as_str(), row.order_id.as_deref(), row.status, row.resolved_by.as_deref());
    assert_eq!(result, ("submitted", Some("SO9"), Some(8), Some("readback")));
    let row = bench.row("canceled").await;
    let result = (row.state.as_str(), row.status, row.error_code.as_deref());
    assert_eq!(result, ("failed", Some(7), Some(STATUS_REFUSED)), "{row:?}");
    assert_eq!((bench.simulator.commits().len(), bench.simulator.reads().len()), (2, 2));
}

#[tokio::test]
async fn a_readback_that_fails_temporarily_is_repeated() {
    let mut bench = bench().await;
    bench.set("api.request_timeout", "500ms");
    let busy = ReadFault::Error("InternalError.BackendResponseError".to_owned());
    bench.simulator.script_commits("abcb1234", vec![Fault::CutAfter]);
    bench.simulator.script_reads("abcb1234", vec![ReadFault::Cut, ReadFault::Html, busy, ReadFault::Hang]);
    bench.enqueue(&["abcb1234"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["abcb1234"]).await;
    assert_eq!((bench.simulator.commits().len(), bench.simulator.reads().len()), (1, 5));
}

#[tokio::test]
async fn without_permission_to_read_readbacks_pause_and_nothing_is_repeated() {
    let unreadable = 5;
    let mut bench = Bench::new().await;
    bench.set("pause.probe_initial", "15m");
    bench.set("pause.probe_max", "15m");
    let ids = ids(2 * unreadable);
    let in_doubt = ids.iter().step_by(2);
    for id in in_doubt.clone() {
        bench.simulator.script_commits(id, vec![Fault::CutAfter]);
        bench.simulator.script_reads_forever(id, ReadFault::Error(UNAUTHORIZED.to_owned()));
    }
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    daemon
        .until("readbacks to pause", |progress| {
            has_code(progress.paused.as_ref().map(|incident| &incident.cause), "readback_denied")
        })
        .await;
    daemon.until_count(State::Submitted, i64::try_from(unreadable).unwrap()).await;
    assert_eq!(bench.count("in_doubt").await, unreadable);
    in_doubt.for_each(|id| bench.simulator.clear_scripts(id));
    bench.sql("UPDATE control SET probe_requested = 1").await;
    daemon.until_count(State::Submitted, i64::try_from(ids.len()).unwrap()).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), ids.len());
}

#[tokio::test]
async fn one_certificate_that_may_not_be_read_waits_and_others_are_still_read_back() {
    let bench = Bench::new().await;
    bench.simulator.script_commits_forever("hidden", Fault::Error("InternalError.BackendResponseError".to_owned()));
    bench.simulator.script_reads_forever("hidden", ReadFault::Error(UNAUTHORIZED.to_owned()));
    bench.enqueue(&["hidden"]).await;
    let mut daemon = bench.start().await;
    // Of different certificates, five would already pause readbacks.
    in_time("the denied reads", bench.simulator.until_reads(6)).await;
    bench.simulator.script_commits("cut", vec![Fault::CutAfter]);
    bench.enqueue(&["cut"]).await;
    daemon.until_count(State::Submitted, 1).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&["cut"]).await;
    assert_eq!(bench.row("cut").await.resolved_by.as_deref(), Some("readback"));
    let row = bench.row("hidden").await;
    assert_eq!(
        (row.state.as_str(), bench.simulator.commits_of("hidden").len()),
        ("pending", 1),
        "nothing is sent again without a readback"
    );
    assert!(row.reason.is_some_and(|reason| reason.contains(UNAUTHORIZED)), "the row says why it waits");
}

#[tokio::test]
async fn while_readbacks_fail_rows_that_need_none_are_still_sent() {
    let bench = Bench::new().await;
    let (unread, new) = (ids(150), ["new-1", "new-2", "new-3"]);
    for id in &unread {
        bench.simulator.script_reads_forever(id, ReadFault::Error("InternalError".to_owned()));
    }
    bench.enqueue(&unread).await;
    // A daemon leaves rows in this state while the CA is busy.
    bench
        .sql(
            "INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at)
               SELECT certificate_id, 'commit', 'before', 0, 0 FROM submissions;
             UPDATE requests SET finished_at = 1, outcome = 'backend_error';
             UPDATE submissions SET due_at = due_at - 100",
        )
        .await;
    // The restore marker must match those requests, or the queue would count as restored.
    RestoreMarker::open(&bench.database()).unwrap().reset(150).unwrap();
    let mut daemon = bench.start().await;
    daemon
        .until("readbacks to pause", |progress| {
            has_code(progress.paused.as_ref().map(|incident| &incident.cause), "readback_failing")
        })
        .await;
    bench.enqueue(&new).await;
    daemon.until_count(State::Submitted, 3).await;
    assert_eq!(bench.simulator.commits().len(), new.len(), "nothing is sent again without a readback");
    unread.iter().for_each(|id| bench.simulator.clear_scripts(id));
    bench.sql("UPDATE control SET probe_requested = 1").await;
    daemon.until_count(State::Submitted, 153).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&unread).await;
    bench.assert_each_submitted_once(&new).await;
}

#[tokio::test]
async fn a_readback_that_lags_behind_a_refusal_for_the_status_decides_nothing_until_it_has_settled() {
    let mut bench = bench().await;
    bench.set("verify.resend_after", "2s");
    bench.set("verify.settle", "1s");
    let without_order = || shows(None, 13);
    for id in ["lags", "contradicts"] {
        bench.simulator.script_commits(id, vec![Fault::Error(STATUS_REFUSED.to_owned())]);
    }
    bench.simulator.set_certificate("lags", 8, Some("SO9"));
    bench.simulator.script_reads("lags", vec![without_order()]);
    bench.simulator.script_reads_forever("contradicts", without_order());
    bench.enqueue(&["lags", "contradicts"]).await;
    bench.run_until_empty().await;
    let row = bench.row("lags").await;
    let result = (row.state.as_str(), row.order_id.as_deref(), row.resolved_by.as_deref());
    assert_eq!(result, ("submitted", Some("SO9"), Some("readback")), "{row:?}");
    let row = bench.row("contradicts").await;
    assert_eq!((row.state.as_str(), row.status, row.error_code.as_deref()), ("held", Some(13), Some(STATUS_REFUSED)));
    assert_eq!((bench.simulator.commits().len(), bench.simulator.reads().len()), (2, 4));
}

fn has_code(cause: Option<&Cause>, code: &str) -> bool {
    cause.is_some_and(|cause| cause.code() == code)
}

#[tokio::test]
async fn a_held_row_that_is_retried_is_read_back_first() {
    let mut bench = bench().await;
    bench.set("verify.settle", "1s");
    bench.set("verify.resend_after", "2s");
    bench.simulator.script_commits("unclear", vec![Fault::CutAfter]);
    bench.simulator.script_reads_forever("unclear", shows(Some("SO1"), 99));
    bench.simulator.script_commits("refused", vec![Fault::Error(STATUS_REFUSED.to_owned())]);
    bench.enqueue(&["unclear", "refused"]).await;
    bench.run_until_empty().await;
    assert_eq!(bench.count("held").await, 2);
    bench.simulator.clear_scripts("unclear");
    let (held, reads) = (bench.simulator.arrivals().len(), bench.simulator.reads_of("refused").len());
    let retried = output(bench.command(&["retry", "unclear", "refused"])).await;
    assert_eq!(retried.status.code(), Some(0), "{retried:?}");
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["unclear", "refused"]).await;
    assert_eq!(bench.simulator.commits_of("unclear").len(), 1, "its order was found");
    assert_eq!(
        (bench.simulator.commits_of("refused").len(), bench.simulator.reads_of("refused").len()),
        (2, reads + 1)
    );
    assert!(!bench.simulator.arrivals()[held].is_commit(), "the first request is a read");
}

#[tokio::test]
async fn a_row_verified_before_it_is_due_is_still_sent_when_due() {
    let bench = bench().await;
    bench.enqueue(&["next-month"]).await;
    bench.sql("UPDATE submissions SET due_at = 9000000000").await;
    let verified = output(bench.command(&["verify", "--pending"])).await;
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert_eq!(bench.row("next-month").await.state, "in_doubt");
    let mut daemon = bench.start().await;
    daemon.until_count(State::Pending, 1).await;
    daemon.stop(Stop::Soon).await;
    assert_eq!(bench.value::<i64>("SELECT due_at FROM submissions").await, 9_000_000_000);
    assert_eq!(bench.simulator.commits().len(), 0);
}

#[tokio::test]
async fn a_row_in_doubt_that_was_deleted_and_enqueued_again_is_read_back_first() {
    let bench = bench().await;
    bench.simulator.script_commits("placed", vec![Fault::CutAfter]);
    bench.simulator.script_commits("lost", vec![Fault::CutBefore]);
    for id in ["placed", "lost"] {
        bench.simulator.script_reads_forever(id, shows(Some("SO1"), 99));
    }
    bench.enqueue(&["placed", "lost"]).await;
    bench.run_until_empty().await;
    assert_eq!(bench.count("held").await, 2);
    for id in ["placed", "lost"] {
        bench.simulator.clear_scripts(id);
    }
    bench.sql("DELETE FROM submissions").await;
    bench.enqueue(&["placed", "lost"]).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&["placed", "lost"]).await;
    assert_eq!((bench.simulator.commits_of("placed").len(), bench.simulator.commits_of("lost").len()), (1, 2));
    bench.assert_nothing_resent_blindly().await;
}
