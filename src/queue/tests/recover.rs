//! Recovery: what becomes of orphaned requests.

use super::*;

/// A user's rule that rejects every change of one submission.
const AUDIT: &str = "CREATE TRIGGER audit BEFORE UPDATE ON submissions WHEN OLD.certificate_id = 'a'
  BEGIN SELECT RAISE(ABORT, 'not in the audit table'); END";

#[tokio::test]
async fn submissions_that_an_earlier_run_left_in_flight_become_in_doubt_and_never_pending() {
    let mut site = Site::with(&["a", "b"]).await;
    site.commits(0, 2).await;
    site.restart().await;
    let recovered = site.recover(5, &[]).await;
    assert_eq!(recovered, Recovered { in_doubt: 2, ..Recovered::default() });
    let line = site.line("a").await;
    assert_eq!((line.state.as_str(), line.tries), ("in_doubt", 1));
    assert!(line.reason.unwrap().contains("may have been placed"));
    assert_eq!(site.outcomes("a").await, [Some("in_doubt".to_owned())]);
    assert_eq!(site.number("SELECT due_at FROM submissions").await, Some(BEGIN + 5), "they are read back at once");
    assert_eq!(site.number("SELECT max(finished_at) FROM requests").await, Some((BEGIN + 5) * 1000));
}

#[tokio::test]
async fn submissions_that_an_earlier_run_claimed_and_never_sent_become_pending_again_and_spend_no_try() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    let claims = site.commits(0, 3).await;
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let runtime = RuntimeDirectories::of_process(|name| (name == "RUNTIME_DIRECTORY").then(|| memory.path().into()));
    let mut marker = runtime.create(site.queue.files(), &site.run.id).unwrap();
    marker.advance(claims[0].request).unwrap();
    drop(marker);
    site.restart().await;
    let departures = runtime.departures(site.queue.files());
    let recovered = site.queue.recover(&site.run, site.at(5), &[], &departures, &POLICY).await.unwrap();
    assert_eq!(recovered, Recovered { in_doubt: 1, never_sent: 2, ..Recovered::default() });
    let line = site.line("b").await;
    assert_eq!(
        (line.state.as_str(), line.tries, line.reason.as_deref()),
        ("pending", 0, Some("not sent: certcommit died first"))
    );
    assert_eq!(site.outcomes("c").await, [Some("not_sent".to_owned())]);
    assert_eq!(names(&site.commits(5, 9).await), ["b", "c"], "they are due at once");
    assert_eq!(site.state("a").await, "in_doubt");
}

#[tokio::test]
async fn submissions_claimed_by_a_batch_that_failed_and_landed_become_pending_again() {
    let mut site = Site::with(&["a", "b"]).await;
    site.commits(0, 2).await;
    let recovered = site.recover(5, &[]).await;
    assert_eq!(recovered, Recovered { returned: 2, ..Recovered::default() });
    let line = site.line("b").await;
    assert_eq!(
        (line.state.as_str(), line.tries, line.reason.as_deref()),
        ("pending", 0, Some("not sent: the claim was lost"))
    );
    assert_eq!(site.outcomes("b").await, [Some("not_sent".to_owned())]);
    assert_eq!(names(&site.commits(5, 9).await), ["a", "b"], "they are due at once");
}

#[tokio::test]
async fn requests_that_this_run_holds_are_left_alone() {
    let mut site = Site::with(&["a", "b"]).await;
    let claims = site.commits(0, 2).await;
    let recovered = site.recover(5, &[claims[0].request]).await;
    assert_eq!(recovered, Recovered { returned: 1, ..Recovered::default() });
    assert_eq!((site.state("a").await.as_str(), site.state("b").await.as_str()), ("in_flight", "pending"));
    assert_eq!(site.outcomes("a").await, [None]);
}

#[tokio::test]
async fn an_orphan_that_a_rule_keeps_from_being_settled_does_not_affect_the_others() {
    let mut site = Site::with(&["a", "b"]).await;
    let claims = site.commits(0, 2).await;
    site.sql(AUDIT).await;
    site.restart().await;
    let recovered = site.recover(5, &[]).await;
    assert_eq!(
        (recovered.in_doubt, recovered.rejected),
        (1, vec![rejected_write(1, "a", Some(claims[0].request), "not in the audit table")])
    );
    assert_eq!(site.outcomes("a").await, [None], "its request isn't completed either");
    site.sql("DROP TRIGGER audit").await;
    let recovered = site.recover(6, &[]).await;
    assert_eq!((recovered.in_doubt, site.state("a").await.as_str()), (1, "in_doubt"));
}

#[tokio::test]
async fn an_orphaned_readback_is_completed_and_proves_nothing() {
    for (restart, outcome) in [(true, "retry"), (false, "not_sent")] {
        let mut site = Site::with(&["a"]).await;
        site.commit(0, lost()).await;
        site.readbacks_at(60, 1).await;
        if restart {
            site.restart().await;
        }
        let recovered = site.recover(61, &[]).await;
        assert_eq!(recovered, Recovered::default());
        assert_eq!(site.state("a").await, "in_doubt");
        assert_eq!(site.outcomes("a").await[1].as_deref(), Some(outcome));
        let again = site.readbacks_at(61, 1).await.remove(0);
        assert_eq!((again.row.evidence.negative_readbacks, again.row.evidence.readbacks), (0, 1));
    }
}

#[tokio::test]
async fn a_commit_of_an_earlier_run_ages_from_the_start_of_this_one() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    assert_eq!(site.readbacks_at(60, 1).await[0].row.evidence.age, Duration::from_secs(60));
    site.restart().await;
    site.recover(100, &[]).await;
    assert_eq!(site.readbacks_at(100, 1).await[0].row.evidence.age, Duration::from_secs(100));
}

#[tokio::test]
async fn the_newest_request_has_a_number_that_never_restarts() {
    let mut site = Site::with(&["a", "b"]).await;
    assert_eq!(site.queue.newest_request().await.unwrap(), 0);
    site.commits(0, 2).await;
    assert_eq!(site.queue.newest_request().await.unwrap(), 2);
}

#[tokio::test]
async fn a_superseded_run_recovers_nothing() {
    let mut site = Site::with(&["a"]).await;
    site.commits(0, 1).await;
    let superseded = site.run.clone();
    site.restart().await;
    let error = site.queue.recover(&superseded, site.at(5), &[], &Departures::default(), &POLICY).await.unwrap_err();
    assert!(matches!(error, QueueError::Held { .. }), "{error:?}");
    assert_eq!(site.state("a").await, "in_flight");
}

/// Completes the request of the one submission in flight, but leaves the submission as it is.
async fn write_partial_result(site: &mut Site, outcome: &'static str) {
    site.commits(0, 1).await;
    let complete = "UPDATE requests SET finished_at = 1, outcome = ?, order_id = 'SO1', status = 8, request_id = 'r-1',
                           error_code = 'Some.Code'";
    sqlx::query(complete).bind(outcome).execute(&mut site.queue.connection).await.unwrap();
}

#[tokio::test]
async fn a_partial_result_is_completed_whatever_its_outcome() {
    let expected = [
        ("submitted", "submitted", 1),
        ("retry", "pending", 1),
        ("backend_error", "pending", 1),
        ("throttled", "pending", 0),
        ("account", "pending", 0),
        ("denied", "failed", 1),
        ("failed", "failed", 1),
        ("status_refused", "in_doubt", 1),
        ("not_sent", "pending", 0),
        ("in_doubt", "in_doubt", 1),
    ];
    for (outcome, state, tries) in expected {
        let mut site = Site::with(&["a"]).await;
        write_partial_result(&mut site, outcome).await;
        site.restart().await;
        let recovered = site.recover(5, &[]).await;
        assert_eq!(recovered, Recovered { completed: 1, ..Recovered::default() }, "{outcome}");
        let line = site.line("a").await;
        assert_eq!((line.state.to_string().as_str(), line.tries), (state, tries), "{outcome}");
        let order_id = (outcome == "submitted").then(|| "SO1".to_owned());
        assert_eq!(site.text("SELECT order_id FROM submissions").await, order_id, "{outcome}");
        assert_eq!(site.outcomes("a").await, [Some(outcome.to_owned())], "its request stays as it is");
        let again = site.recover(6, &[]).await;
        assert_eq!(again, Recovered::default(), "{outcome}");
    }
}

#[tokio::test]
async fn a_partial_result_that_a_rule_keeps_from_being_completed_is_reported_and_does_not_affect_the_others() {
    let mut site = Site::with(&["a"]).await;
    write_partial_result(&mut site, "submitted").await;
    site.enqueue(new("b")).await;
    site.commits(1, 1).await;
    site.sql(AUDIT).await;
    site.restart().await;
    let recovered = site.recover(5, &[]).await;
    assert_eq!(recovered.rejected, [rejected_write(1, "a", Some(1), "not in the audit table")]);
    assert_eq!((recovered.in_doubt, site.state("a").await.as_str()), (1, "in_flight"));
}
