//! Batches: what they check before they claim, and what they write.

use super::*;

#[tokio::test]
async fn a_paused_queue_claims_readbacks_but_no_commits() {
    let mut site = Site::with(&["a", "b"]).await;
    site.commit(0, lost()).await;
    site.queue.set_paused(Some(&by_operator("maintenance at the CA"))).await.unwrap();
    let report = site.write_and_claim(60, &[], 9, 9).await;
    assert_eq!((names(&report.commits()), names(&report.readbacks())), (vec![], vec!["a"]));
    assert!(report.control.paused && !report.control.probe_requested);
    assert_eq!(report.control.pause_reason.as_deref(), Some("maintenance at the CA"));
}

#[tokio::test]
async fn resuming_asks_for_one_probe_and_clears_the_reason() {
    let mut site = Site::with(&["a"]).await;
    site.queue.set_paused(Some(&by_operator("maintenance"))).await.unwrap();
    site.queue.set_paused(None).await.unwrap();
    let report = site.write_and_claim(0, &[], 9, 9).await;
    assert_eq!(report.control, Control { probe_requested: true, ..Control::default() });
    assert_eq!(names(&report.commits()), ["a"]);
    assert!(!site.write_and_claim(0, &[], 0, 0).await.control.probe_requested, "the first batch cleared it");
}

#[tokio::test]
async fn a_pause_by_certcommit_is_reported_as_its_cause_and_as_its_text_if_the_cause_is_unknown() {
    let mut site = Site::new().await;
    let cause = PauseCause::RestoredBehind { newest: 3, made: 7 }.into();
    for _ in ["once", "and once more"] {
        site.queue.pause_restored(&cause, 7).await.unwrap();
        assert_eq!(site.write_and_claim(0, &[], 0, 0).await.control.cause().as_ref(), Some(&cause));
    }
    let text = site.text("SELECT pause_reason FROM control").await.unwrap();
    assert!(text.starts_with(&cause.to_string()) && text.ends_with(&cause.remedy()), "{text}");
    for set in [
        "UPDATE control SET pause_parameters = 'no JSON'",
        "UPDATE control SET pause_parameters = x'ff00'",
        "UPDATE control SET pause_code = x'1b5b324a', pause_parameters = NULL",
        "UPDATE control SET pause_code = 'something_newer'",
    ] {
        site.sql(set).await;
        assert_eq!(site.write_and_claim(0, &[], 0, 0).await.control.cause(), Some(by_operator(&text)), "{set}");
    }
}

#[tokio::test]
async fn a_superseded_run_claims_nothing_and_names_the_process_that_took_over() {
    let mut site = Site::with(&["a"]).await;
    let superseded = site.run.clone();
    site.restart().await;
    let request = claiming(1, 1);
    let error = site.queue.batch(&superseded, site.at(0), 0, &request).await.unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!(site.state("a").await, "pending");
}

/// A pause that two probes did not end.
fn incident(reason: &str) -> Incident {
    let at = |seconds| Some(UnixMillis::of_seconds(BEGIN + seconds));
    let probes = Probes { failed: 2, last: at(7), next: at(90) };
    Incident { probes, ..Incident::new(by_operator(reason), at(3)) }
}

#[tokio::test]
async fn the_daemon_row_shows_the_run_and_its_mode() {
    let mut site = Site::new().await;
    let row = site.queue.status(BEGIN).await.unwrap().daemon;
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
        let heartbeat = Heartbeat { mode, incidents: vec![incident(name)], pace: 12.5 };
        let request = BatchRequest { heartbeat: Some(heartbeat.clone()), ..claiming(0, 0) };
        site.batch(10, &request).await.unwrap();
        let status = site.queue.status(BEGIN).await.unwrap();
        let (row, incidents) = (status.daemon, status.incidents);
        let why = format!("an operator paused the queue: {name}");
        assert_eq!((row.mode.as_str(), row.why.as_deref()), (name, Some(why.as_str())));
        assert_eq!(row.cause(), Some(by_operator(name)));
        assert_eq!(incidents.iter().filter_map(IncidentRow::incident).collect::<Vec<_>>(), heartbeat.incidents);
        assert_eq!((row.heartbeat_at, row.pace), (Some(BEGIN + 10), Some(12.5)));
    }
}

#[tokio::test]
async fn a_row_whose_claim_a_rule_rejects_stays_as_it_is_and_the_rest_of_the_batch_is_written() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    let claim = site.commits(0, 1).await.remove(0);
    site.sql(
        "CREATE TRIGGER mine BEFORE UPDATE ON submissions WHEN OLD.certificate_id = 'b' AND NEW.state = 'in_flight' BEGIN
           SELECT RAISE(ABORT, 'never b');
         END",
    )
    .await;
    let result = site.ended(1, &claim, receipt());
    let report = site.write_and_claim(1, &[result], 9, 0).await;
    assert_eq!((site.state("a").await.as_str(), names(&report.commits())), ("submitted", vec!["c"]));
    assert_eq!(report.rejected_claims, [rejected_write(2, "b", None, "never b")]);
    assert_eq!((site.state("b").await.as_str(), site.outcomes("b").await), ("pending", vec![]));
}

#[tokio::test]
async fn a_skipped_row_hides_none_behind_it() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    site.commit(0, lost()).await;
    let request = BatchRequest {
        limits: ClaimLimits { commits: 1, readbacks: 1, skip: vec![1, 2], ..ClaimLimits::default() },
        ..claiming(1, 1)
    };
    let report = site.batch(60, &request).await.unwrap();
    assert_eq!((names(&report.commits()), names(&report.readbacks())), (vec!["c"], vec![]));
}

#[tokio::test]
async fn a_row_that_a_rule_freezes_stays_as_it_is_and_the_rest_of_the_batch_is_written() {
    let mut site = Site::with(&["a", "b"]).await;
    site.sql(
        "CREATE TRIGGER mine BEFORE UPDATE ON submissions WHEN OLD.certificate_id = 'a' BEGIN
           SELECT RAISE(ABORT, 'never a');
         END",
    )
    .await;
    let report = site.write_and_claim(0, &[], 1, 0).await;
    assert_eq!(names(&report.commits()), ["b"]);
    assert_eq!(report.rejected_claims, [rejected_write(1, "a", None, "never a")]);
    assert_eq!((site.state("a").await.as_str(), site.outcomes("a").await), ("pending", vec![]));
}

#[tokio::test]
async fn a_batch_counts_the_rows_of_each_state() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    site.commit(0, lost()).await;
    let counts = site.write_and_claim(0, &[], 1, 0).await.counts;
    let expected = [(State::Pending, 1), (State::InFlight, 1), (State::InDoubt, 1), (State::Submitted, 0)];
    for (state, count) in expected {
        assert_eq!(counts.of(state), count, "{state}");
    }
}

#[tokio::test]
async fn a_batch_on_a_replaced_file_does_nothing() {
    let mut site = Site::with(&["a"]).await;
    std::fs::rename(site.path(), site.directory.path().join("moved.db")).unwrap();
    let request = claiming(1, 1);
    let error = site.batch(0, &request).await.unwrap_err();
    assert!(matches!(error, QueueError::Replaced(_)), "{error:?}");
    assert_eq!(site.state("a").await, "pending");
}

#[tokio::test]
async fn the_clock_of_a_run_counts_milliseconds_from_its_start() {
    let site = Site::new().await;
    assert_eq!(site.run.millis_at(site.at(0)), 0);
    assert_eq!(site.run.millis_at(site.at(7)), 7000);
}

/// Creates a trigger that rejects changes of the certificate `a` in this table with this RAISE.
async fn reject_changes_of_a(site: &mut Site, table: &str, event: &str, raise: &str) {
    let row = if event == "INSERT" { "NEW" } else { "OLD" };
    let trigger = format!(
        "CREATE TRIGGER mine BEFORE {event} ON {table} WHEN {row}.certificate_id = 'a' BEGIN SELECT RAISE({raise}); END"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(&mut site.queue.connection).await.unwrap();
}

#[tokio::test]
async fn a_claim_that_a_trigger_aborts_fails_or_ignores_affects_only_its_row() {
    for raise in ["ABORT, 'no'", "FAIL, 'no'", "IGNORE"] {
        for (table, event) in [("requests", "INSERT"), ("submissions", "UPDATE")] {
            let mut site = Site::with(&["a", "b"]).await;
            reject_changes_of_a(&mut site, table, event, raise).await;
            let report = site.write_and_claim(0, &[], 2, 0).await;
            assert_eq!((names(&report.claims), report.rejected_claims.len()), (vec!["b"], 1), "{raise} on {table}");
            assert_eq!((site.state("a").await.as_str(), site.outcomes("a").await), ("pending", vec![]));
        }
    }
}

#[tokio::test]
async fn a_result_that_a_trigger_aborts_fails_or_ignores_affects_only_its_row() {
    for raise in ["ABORT, 'no'", "FAIL, 'no'", "IGNORE"] {
        for table in ["requests", "submissions"] {
            let mut site = Site::with(&["a", "b"]).await;
            let claims = site.commits(0, 2).await;
            let results = [site.ended(1, &claims[0], receipt()), site.ended(1, &claims[1], receipt())];
            reject_changes_of_a(&mut site, table, "UPDATE", raise).await;
            let report = site.write_and_claim(1, &results, 0, 0).await;
            let rejected: Vec<Option<i64>> = report.rejected_results.iter().map(|one| one.request).collect();
            assert_eq!(rejected, [Some(claims[0].request)], "{raise} on {table}");
            assert_eq!(site.state("b").await, "submitted");
            assert_eq!((site.state("a").await.as_str(), site.outcomes("a").await), ("in_flight", vec![None]));
        }
    }
}

#[tokio::test]
async fn a_trigger_that_rolls_the_transaction_back_fails_the_batch_and_names_the_write() {
    let mut site = Site::with(&["a", "b"]).await;
    let claims = site.commits(0, 2).await;
    reject_changes_of_a(&mut site, "submissions", "UPDATE", "ROLLBACK, 'no'").await;
    let results = [site.ended(1, &claims[1], receipt()), site.ended(1, &claims[0], receipt())];
    let request = BatchRequest { results: results.to_vec(), ..claiming(0, 0) };
    let error = site.batch(1, &request).await.unwrap_err();
    let QueueError::RolledBack { refused: Some(write), .. } = &error else { panic!("{error:?}") };
    assert_eq!(**write, rejected_write(1, "a", Some(claims[0].request), "no"));
    assert_eq!(site.state("b").await, "in_flight", "nothing of the batch is written");
}
