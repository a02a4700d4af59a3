//! A turn: what it heeds before it claims, and what it writes besides.

use super::*;

#[tokio::test]
async fn a_paused_queue_claims_no_commits_and_goes_on_reading() {
    let mut site = Site::with(&["a", "b"]).await;
    site.commit(0, lost()).await;
    site.queue.set_paused(true, Some("maintenance at the CA")).await.unwrap();
    let done = site.turn(60, &[], 9, 9).await;
    assert_eq!((names(&done.claims.commits), names(&done.claims.reads)), (vec![], vec!["a"]));
    assert!(done.control.paused && !done.control.probe_requested);
    assert_eq!(done.control.pause_reason.as_deref(), Some("maintenance at the CA"));
}

#[tokio::test]
async fn resuming_asks_for_one_probe_and_takes_the_reason_off() {
    let mut site = Site::with(&["a"]).await;
    site.queue.set_paused(true, Some("maintenance")).await.unwrap();
    site.queue.set_paused(false, Some("no reason to resume")).await.unwrap();
    let done = site.turn(0, &[], 9, 9).await;
    assert_eq!(done.control, Control { paused: false, pause_reason: None, probe_requested: true });
    assert_eq!(names(&done.claims.commits), ["a"]);
    assert!(!site.turn(0, &[], 0, 0).await.control.probe_requested, "it was seen");
}

#[tokio::test]
async fn a_run_that_was_superseded_claims_nothing_and_says_who_took_over() {
    let mut site = Site::with(&["a"]).await;
    let superseded = site.run.clone();
    site.restart().await;
    let turn = asking(site.at(0), 1, 1);
    let error = site.queue.turn(&superseded, &turn).await.unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!(site.state("a").await, "pending");
}

#[tokio::test]
async fn the_daemon_row_says_what_runs_and_what_it_does() {
    let mut site = Site::new().await;
    let row = site.queue.overview(BEGIN).await.unwrap().daemon;
    assert_eq!((row.run_id.as_deref(), row.pid), (Some("this"), Some(i64::from(std::process::id()))));
    assert_eq!((row.version.as_deref(), row.started_at), (Some(env!("CARGO_PKG_VERSION")), Some(BEGIN)));
    assert_eq!((row.mode.as_str(), row.heartbeat_at), ("running", Some(BEGIN)));
    let modes = [
        (Mode::Running, "running"),
        (Mode::PausedByOperator, "paused_by_operator"),
        (Mode::PausedByFault, "paused_by_fault"),
        (Mode::Stopping, "stopping"),
        (Mode::Stopped, "stopped"),
    ];
    for (mode, name) in modes {
        let heartbeat = Heartbeat { mode, why: Some(format!("since {name}")), pace: 12.5 };
        let turn = Turn { heartbeat: Some(&heartbeat), ..asking(site.at(10), 0, 0) };
        site.queue.turn(&site.run, &turn).await.unwrap();
        let row = site.queue.overview(BEGIN).await.unwrap().daemon;
        assert_eq!((row.mode.as_str(), row.why.as_deref()), (name, heartbeat.why.as_deref()));
        assert_eq!((row.heartbeat_at, row.pace), (Some(BEGIN + 10), Some(12.5)));
    }
}

#[tokio::test]
async fn a_row_that_a_rule_refuses_to_send_stays_as_it_is_and_the_rest_of_the_turn_is_done() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    site.sql(
        "CREATE TRIGGER mine BEFORE UPDATE ON submissions WHEN OLD.certificate_id = 'b' AND NEW.state = 'in_flight' BEGIN
           SELECT RAISE(ABORT, 'never b');
         END",
    )
    .await;
    let record = site.committed(1, &claim, receipt());
    let done = site.turn(1, &[record], 9, 0).await;
    assert_eq!((site.state("a").await.as_str(), names(&done.claims.commits)), ("submitted", vec!["c"]));
    assert_eq!(done.claims.refused, [refused(2, "b", None, "never b")]);
    assert_eq!((site.state("b").await.as_str(), site.outcomes("b").await), ("pending", vec![]));
}

#[tokio::test]
async fn a_row_that_was_refused_a_moment_ago_is_passed_over_and_hides_none_behind_it() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    site.commit(0, lost()).await;
    let turn = Turn { skip: &[1, 2], ..asking(site.at(60), 1, 1) };
    let done = site.queue.turn(&site.run, &turn).await.unwrap();
    assert_eq!((names(&done.claims.commits), names(&done.claims.reads)), (vec!["c"], vec![]));
}

#[tokio::test]
async fn a_row_that_no_rule_lets_be_changed_at_all_stays_as_it_is_and_the_rest_of_the_turn_is_done() {
    let mut site = Site::with(&["a", "b"]).await;
    site.sql(
        "CREATE TRIGGER mine BEFORE UPDATE ON submissions WHEN OLD.certificate_id = 'a' BEGIN
           SELECT RAISE(ABORT, 'never a');
         END",
    )
    .await;
    let done = site.turn(0, &[], 1, 0).await;
    assert_eq!(names(&done.claims.commits), ["b"]);
    assert_eq!(done.claims.refused, [refused(1, "a", None, "never a")]);
    assert_eq!((site.state("a").await.as_str(), site.outcomes("a").await), ("pending", vec![]));
}

#[tokio::test]
async fn a_turn_counts_the_rows_of_each_state() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    site.commit(0, lost()).await;
    let counts = site.turn(0, &[], 1, 0).await.counts;
    let expected = [(State::Pending, 1), (State::InFlight, 1), (State::InDoubt, 1), (State::Submitted, 0)];
    for (state, count) in expected {
        assert_eq!(counts.of(state), count, "{state}");
    }
}

#[tokio::test]
async fn a_turn_on_a_file_that_was_replaced_does_nothing() {
    let mut site = Site::with(&["a"]).await;
    std::fs::rename(site.path(), site.directory.path().join("moved.db")).unwrap();
    let turn = asking(site.at(0), 1, 1);
    let error = site.queue.turn(&site.run, &turn).await.unwrap_err();
    assert!(matches!(error, QueueError::Replaced(_)), "{error:?}");
    assert_eq!(site.state("a").await, "pending");
}

#[tokio::test]
async fn the_clock_of_a_run_counts_milliseconds_from_its_start() {
    let site = Site::new().await;
    assert_eq!(site.run.millis_at(site.at(0)), 0);
    assert_eq!(site.run.millis_at(site.at(7)), 7000);
}
