//! A fault that isn't specific to one row pauses the queue, spends no tries, and ends by itself.

use certcommit::cause::PauseCause;
use certcommit::daemon::Stop;
use certcommit::simulator::{Fault, worst_second};
use certcommit::submission::State;

use crate::support::{Bench, event_of, got, ids, in_time};

const OUTAGE: &str = "AuthFailure.SecretIdNotFound";
const DENIED: &str = "FailedOperation.AuthError";

/// The most commits in any second while the queue pauses and probes. Without a pause, it would be 20.
const MAX_PROBES: usize = 8;

#[tokio::test]
async fn an_account_outage_costs_a_few_probes_and_no_try() {
    let bench = Bench::new().await;
    bench.simulator.outage(Some(OUTAGE));
    let ids = ids(15);
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    let cause = daemon.until_paused().await;
    assert!(cause.code() == "credentials_rejected" && cause.to_string().contains(OUTAGE), "{cause}");
    in_time("some probes", bench.simulator.until_commits(12)).await;
    bench.simulator.outage(None);
    let rows = bench.rows().await;
    assert!(
        rows.iter().all(|row| row.tries == 0 && ["pending", "in_flight"].contains(&row.state.as_str())),
        "{rows:?}"
    );
    daemon.until_count(State::Submitted, 15).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert!(bench.rows().await.iter().all(|row| row.tries == 1));
    let refused = bench.simulator.commits();
    let probes: Vec<_> = refused.iter().filter(|commit| got(OUTAGE)(commit)).map(|commit| commit.at).collect();
    assert!(worst_second(&probes) <= MAX_PROBES, "{} in one second", worst_second(&probes));
    let probed: std::collections::BTreeSet<_> =
        refused.iter().filter(|commit| got(OUTAGE)(commit)).map(|commit| &commit.certificate_id).collect();
    assert!(probed.len() > 1, "each probe takes another row: {probed:?}");
}

#[tokio::test]
async fn an_unreachable_api_costs_no_try() {
    let bench = Bench::new().await;
    bench.simulator.pause_listening().await;
    let ids = ids(15);
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    assert_eq!(daemon.until_paused().await.code(), "api_unreachable");
    let rows = bench.rows().await;
    assert!(
        rows.iter().all(|row| row.tries == 0 && ["pending", "in_flight"].contains(&row.state.as_str())),
        "{rows:?}"
    );
    bench.simulator.resume_listening().await.unwrap();
    daemon.until_count(State::Submitted, 15).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 15);
    assert!(bench.rows().await.iter().all(|row| row.tries == 1));
}

#[tokio::test]
async fn an_operator_pauses_and_resumes_with_sql() {
    let bench = Bench::new().await;
    let ids = ids(30);
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    in_time("some commits", bench.simulator.until_commits(5)).await;
    bench.sql("UPDATE control SET paused = 1, pause_reason = 'maintenance at the CA'").await;
    let cause = PauseCause::ByOperator { reason: Some("maintenance at the CA".into()) };
    assert_eq!(daemon.until_paused().await, cause.into());
    daemon.until_count(State::InFlight, 0).await;
    let sent = bench.simulator.commits().len();
    assert!(sent < 30, "it paused midway");
    bench.enqueue(&["one-more"]).await;
    let pending = i64::try_from(31 - sent).unwrap();
    daemon.until_count(State::Pending, pending).await;
    bench.enqueue(&["and-another"]).await;
    daemon.until_count(State::Pending, pending + 1).await;
    assert_eq!(bench.simulator.commits().len(), sent, "nothing is sent while it is paused");
    bench.sql("UPDATE control SET paused = 0").await;
    daemon.until_count(State::Submitted, 32).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn a_missing_permission_pauses_after_five_rows() {
    let mut bench = Bench::new().await;
    bench.set("pause.probe_initial", "15m");
    bench.set("pause.probe_max", "15m");
    let ids = ids(30);
    for id in &ids {
        bench.simulator.script_commits_forever(id, Fault::Error(DENIED.to_owned()));
    }
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    let cause = daemon.until_paused().await;
    assert!(cause.code() == "commit_denied" && cause.to_string().contains(DENIED), "{cause}");
    daemon.until_count(State::InFlight, 0).await;
    let failed = bench.count("failed").await;
    assert!((5..=8).contains(&failed), "{failed} failed");
    ids.iter().for_each(|id| bench.simulator.clear_scripts(id));
    bench.sql("UPDATE control SET probe_requested = 1").await;
    daemon.until_count(State::Submitted, i64::try_from(30 - failed).unwrap()).await;
    bench.sql(&format!("UPDATE submissions SET state = 'pending' WHERE error_code = '{DENIED}'")).await;
    daemon.until_count(State::Submitted, 30).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn denied_rows_with_a_high_priority_do_not_block_rows_with_a_low_one() {
    let bench = Bench::new().await;
    let denied = ids(20);
    for id in &denied {
        bench.simulator.script_commits_forever(id, Fault::Error(DENIED.to_owned()));
    }
    bench.enqueue(&denied).await;
    bench.sql("UPDATE submissions SET priority = 3").await;
    bench.enqueue(&["allowed"]).await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Submitted, 1).await;
    daemon.stop(Stop::Soon).await;
    let commits = bench.simulator.commits();
    let refused: Vec<_> =
        commits.iter().filter(|commit| got(DENIED)(commit)).map(|commit| &commit.certificate_id).collect();
    let distinct: std::collections::BTreeSet<_> = refused.iter().collect();
    assert_eq!(distinct.len(), refused.len(), "each probe takes another row: {refused:?}");
    bench.assert_each_submitted_once(&["allowed"]).await;
}

#[tokio::test]
async fn one_denied_row_with_a_high_priority_does_not_get_every_probe() {
    let bench = Bench::new().await;
    let denied = ids(9);
    for id in &denied {
        bench.simulator.script_commits_forever(id, Fault::Error(DENIED.to_owned()));
    }
    // The last one has a higher priority, and is enqueued once the others have paused the queue.
    bench.enqueue(&denied[..8]).await;
    let mut daemon = bench.start().await;
    daemon.until_paused().await;
    bench.enqueue(&denied[8..]).await;
    bench.sql("UPDATE submissions SET priority = 3 WHERE certificate_id = 'cert-0009'").await;
    bench.enqueue(&["allowed"]).await;
    daemon.until_count(State::Submitted, 1).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&["allowed"]).await;
}

#[tokio::test]
async fn five_rows_in_succession_refused_by_a_busy_ca_pause_the_queue_until_it_recovers() {
    let bench = Bench::new().await;
    let ids = ids(12);
    for id in &ids {
        bench.simulator.script_commits_forever(id, Fault::Error("FailedOperation.NetworkError".to_owned()));
    }
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    assert_eq!(daemon.until_paused().await.code(), "ca_busy");
    ids.iter().for_each(|id| bench.simulator.clear_scripts(id));
    daemon.until_count(State::Submitted, 12).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn one_row_that_always_fails_pauses_nothing() {
    let mut bench = Bench::new().await;
    bench.set("retry.max_tries", "6");
    bench.simulator.script_commits_forever("poison", Fault::Error("FailedOperation.NetworkError".to_owned()));
    let good = ids(20);
    bench.enqueue(&["poison"]).await;
    bench.enqueue(&good).await;
    let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(1), "one row failed");
    bench.assert_each_submitted_once(&good).await;
    let row = bench.row("poison").await;
    assert_eq!((row.state.as_str(), row.tries), ("failed", 6));
    assert!(!lines.iter().any(|line| event_of(line) == "paused"), "{lines:#?}");
}

#[tokio::test]
async fn a_run_until_empty_exits_with_69_when_the_account_is_refused() {
    let bench = Bench::new().await;
    bench.simulator.outage(Some(OUTAGE));
    let ids = ids(10);
    bench.enqueue(&ids).await;
    let (code, _) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(69));
    assert!(bench.rows().await.iter().all(|row| row.tries == 0 && row.state == "pending"));
    assert!(bench.simulator.commits().len() <= MAX_PROBES);
}
