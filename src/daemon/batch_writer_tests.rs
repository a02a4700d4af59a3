//! The batch writer: no result is lost or overtaken, however a batch ends.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::batch_schedule::Reported;
use super::batch_writer::{BatchWriter, Ran};
use super::fixtures::{completed, session, settings};
use super::rejected_writes::RejectedWrites;
use crate::clock::{self, Now};
use crate::queue::{BatchReport, BatchRequest, Fault, Heartbeat, Mode, PruneStep, QueueError, RejectedWrite};

const SECOND: Duration = Duration::from_secs(1);
const RUNNING: Reported = Reported { mode: Mode::Running, incidents: Vec::new() };

async fn writer() -> (BatchWriter, TempDir, Now) {
    let (directory, now) = (tempfile::tempdir().unwrap(), clock::now());
    let session = session(directory.path()).await;
    (BatchWriter::new(session, RejectedWrites::new(5), now.instant), directory, now)
}

fn request() -> BatchRequest {
    BatchRequest::new(settings().policy())
}

fn full() -> QueueError {
    QueueError::Full(Fault { what: None, detail: "full".to_owned() })
}

fn rolled_back(request: i64) -> QueueError {
    let sentence = "no".to_owned();
    let refused = RejectedWrite {
        submission: None,
        certificate_id: None,
        request: Some(request),
        is_malformed: false,
        sentence: sentence.clone(),
    };
    QueueError::RolledBack { sentence, refused: Some(Box::new(refused)) }
}

fn held(writer: &BatchWriter) -> Vec<i64> {
    writer.held().collect()
}

impl BatchWriter {
    /// Ends a batch of all results like this, while these new ones come in.
    fn batch(&mut self, result: Result<Option<BatchReport>, QueueError>, meanwhile: &[i64], now: Now) {
        let session = self.session.take().unwrap();
        let request = BatchRequest { results: std::mem::take(&mut self.results), ..request() };
        self.push(meanwhile.iter().copied().map(completed));
        let end = self.absorb(Ran { session, request, asked: false, result, took: Duration::ZERO }, now);
        assert!(end.fatal.is_none());
    }
}

/// Locks a database for writing.
async fn lock(directory: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.path().join("queue.db"));
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    connection
}

#[tokio::test]
async fn an_outage_keeps_results_in_order_until_they_are_written() {
    let (mut writer, _directory, now) = writer().await;
    writer.push([1, 2].map(completed));
    writer.batch(Err(full()), &[3], now);
    assert_eq!(held(&writer), [1, 2, 3]);
    assert_eq!(writer.outage(now).map(|incident| incident.cause.code()), Some("disk_full"));
    assert!(writer.due(&RUNNING, false, false, now.instant).is_none(), "the database gets a second");
    let due = writer.due(&RUNNING, false, false, now.instant + SECOND).unwrap();
    assert!(due.heartbeat && !due.only_looks, "a batch that only reads would work on a full disk, too");
    writer.batch(Ok(Some(BatchReport::default())), &[4], now);
    assert_eq!((held(&writer), writer.is_out()), (vec![4], false));
}

#[tokio::test]
async fn a_rolled_back_batch_keeps_the_result_that_was_rejected_apart_from_the_rest() {
    let (mut writer, _directory, now) = writer().await;
    writer.push([1, 2, 3].map(completed));
    writer.batch(Err(rolled_back(2)), &[4], now);
    assert!(!writer.is_out());
    assert_eq!(writer.results.iter().map(|result| result.claim.request).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(writer.rejected().held().collect::<Vec<_>>(), [2]);
    assert!(writer.due(&RUNNING, false, false, now.instant).is_some_and(|due| !due.only_looks));
}

#[tokio::test]
async fn a_batch_only_looks_unless_it_has_something_to_write_or_to_claim() {
    // Results; whether claims are due, requests in flight, the clock set back; milliseconds; whether the batch only looks.
    for (results, hungry, others, went_back, later, expected) in [
        (0, false, false, false, 99, None),
        (0, false, false, false, 100, Some(true)),
        (0, true, false, false, 0, Some(false)),
        (0, false, false, true, 0, Some(false)),
        (1, false, false, false, 0, Some(false)),
        (15, false, true, false, 479, None),
        (15, false, true, false, 480, Some(false)),
        (16, false, true, false, 0, Some(false)),
        (0, false, false, false, 10_000, Some(false)),
    ] {
        let (mut writer, _directory, now) = writer().await;
        writer.schedule.begin(Some(RUNNING), now.instant);
        writer.push((1..=results).map(completed));
        if went_back {
            writer.follow_clock();
        }
        let due = writer.due(&RUNNING, hungry, others, now.instant + Duration::from_millis(later));
        assert_eq!(due.map(|due| due.only_looks), expected, "{results} {hungry} {others} {went_back} {later}");
    }
}

#[tokio::test]
async fn a_batch_that_only_looks_reports_changes_alone_and_one_that_prunes_reports_always() {
    let (mut writer, _directory, now) = writer().await;
    let prune = Some(PruneStep { before: now.unix, after: 0 });
    let mut at = now.instant;
    // The first batch writes the heartbeat, and the first look has nothing to compare with.
    for (prune, find_oldest, reports) in
        [(None, false, true), (None, false, true), (None, false, false), (prune, false, true), (None, true, true)]
    {
        let due = writer.due(&RUNNING, false, false, at).unwrap();
        let heartbeat = due.heartbeat.then_some(Heartbeat { mode: Mode::Running, incidents: Vec::new(), pace: 20.0 });
        writer.begin(due, BatchRequest { heartbeat, prune, find_oldest, ..request() }, [], at);
        let end = writer.ended().await;
        assert_eq!(end.report.is_some(), reports, "{prune:?} {find_oldest}");
        assert_eq!(end.report.and_then(|report| report.pruned).is_some(), prune.is_some());
        at += SECOND;
    }
}

#[tokio::test]
async fn a_clock_step_is_followed_even_if_a_batch_was_under_way_or_fails() {
    let (mut writer, _directory, now) = writer().await;
    writer.follow_clock();
    let due = writer.due(&RUNNING, false, false, now.instant).unwrap();
    writer.begin(due, request(), [], now.instant);
    writer.follow_clock();
    assert!(writer.ended().await.report.is_some());
    assert!(writer.clock_went_back, "it was set back once more after that batch had begun");
    writer.batch(Err(full()), &[], now);
    assert!(writer.clock_went_back);
}

#[tokio::test]
async fn the_last_batch_reconciles_after_an_outage_only() {
    for outage in [false, true] {
        let (mut writer, _directory, now) = writer().await;
        if outage {
            assert!(writer.database_failed(full(), now.instant).is_none());
        }
        let heartbeat = Some(Heartbeat { mode: Mode::Stopped, incidents: Vec::new(), pace: 20.0 });
        let finished = writer.finish(BatchRequest { heartbeat, ..request() }, Vec::new()).await.unwrap();
        assert_eq!(finished.report.recovered.is_some(), outage);
    }
}

#[tokio::test]
async fn the_last_batch_waits_for_a_lock_that_another_process_holds() {
    let (writer, directory, _now) = writer().await;
    let holder = lock(&directory).await;
    let heartbeat = Some(Heartbeat { mode: Mode::Stopped, incidents: Vec::new(), pace: 20.0 });
    let finished = writer.finish(BatchRequest { heartbeat, ..request() }, Vec::new());
    let released = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        holder.close().await.unwrap();
    };
    let (finished, ()) = tokio::join!(finished, released);
    assert!(finished.is_ok(), "{finished:?}");
}

#[tokio::test]
async fn results_that_a_lost_database_does_not_take_are_counted() {
    let (mut writer, _directory, now) = writer().await;
    writer.push([1, 2, 3].map(completed));
    writer.batch(Err(rolled_back(2)), &[], now);
    assert_eq!(writer.give_up(false, settings().policy()).await, 3);
}
