//! What a session does around its batches.

use super::*;

impl Site {
    /// Moves the queue and the run into a session.
    fn session(self) -> (tempfile::TempDir, Session) {
        let marker = RestoreMarker::open(self.queue.path()).unwrap();
        (self.directory, Session::new(self.queue, marker, self.run))
    }
}

#[tokio::test]
async fn a_pruning_step_is_reported_even_if_nothing_else_changed() {
    let (_kept, mut session) = Site::with(&["a"]).await.session();
    let if_changed = BatchRequest { only_if_changed: true, ..claiming(0, 0) };
    assert!(session.execute(&if_changed).await.unwrap().is_some(), "the first batch");
    assert!(session.execute(&if_changed).await.unwrap().is_none());
    let pruning = BatchRequest { prune: Some(PruneStep { before: UnixMillis(1), after: 0 }), ..if_changed };
    let report = session.execute(&pruning).await.unwrap().unwrap();
    assert_eq!(report.pruned, Some(Pruned { deleted: 0, up_to: None }));
}

#[tokio::test]
async fn a_batch_whose_wrong_counts_cannot_be_corrected_reports_its_claims() {
    let mut site = Site::with(&["a", "b"]).await;
    site.sql("DROP TRIGGER state_counts_rules; UPDATE state_counts SET count = -5 WHERE state = 'pending'").await;
    site.sql(
        "CREATE TRIGGER mine BEFORE UPDATE ON state_counts WHEN NEW.count > 0 AND OLD.state = 'pending' BEGIN
                SELECT RAISE(ABORT, 'no');
              END",
    )
    .await;
    let (_kept, mut session) = site.session();
    let report = session.execute(&claiming(1, 0)).await.unwrap().unwrap();
    assert_eq!(names(&report.claims), ["a"], "they are durable, so they must not be lost");
    let error = session.execute(&claiming(1, 0)).await.unwrap_err();
    assert!(matches!(error, QueueError::Refused(_)), "before the next batch, which claims nothing: {error:?}");
}

#[tokio::test]
async fn wrong_counts_are_corrected_before_the_next_batch_even_if_nothing_else_changed() {
    let mut site = Site::with(&["a", "b"]).await;
    site.sql("DROP TRIGGER state_counts_rules; UPDATE state_counts SET count = -5 WHERE state = 'pending'").await;
    let (_kept, mut session) = site.session();
    let if_changed = BatchRequest { only_if_changed: true, ..claiming(0, 0) };
    let report = session.execute(&if_changed).await.unwrap().unwrap();
    assert_eq!((report.miscounted, report.counts.of(State::Pending)), (true, 1), "at least one");
    let report = session.execute(&if_changed).await.unwrap().unwrap();
    assert_eq!((report.miscounted, report.counts.of(State::Pending)), (false, 2));
}
