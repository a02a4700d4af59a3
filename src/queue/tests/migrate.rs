//! Migrating an older queue, and returning to the older version.

use sqlx::migrate::Migrator;

use super::super::schema::migrations::MIGRATIONS;
use super::*;

/// A row in every state, as certcommit left them, and a pause.
const ROWS: &str = "
    INSERT INTO submissions (certificate_id) VALUES ('pending'), ('in_flight'), ('in_doubt'), ('submitted'), ('failed'),
      ('held'), ('canceled');
    INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at)
      SELECT certificate_id, 'commit', 'before', 0, 1000 FROM submissions WHERE certificate_id NOT IN ('pending', 'canceled');
    UPDATE submissions SET state = 'in_flight' WHERE certificate_id NOT IN ('pending', 'canceled');
    UPDATE requests SET finished_at = 2000, outcome = 'in_doubt' WHERE certificate_id IN ('in_doubt', 'held');
    UPDATE requests SET finished_at = 2000, outcome = certificate_id WHERE certificate_id IN ('submitted', 'failed');
    UPDATE submissions SET state = 'in_doubt', tries = 1, reason = 'cut' WHERE certificate_id IN ('in_doubt', 'held');
    UPDATE submissions SET state = 'held', reason = 'read back as no order' WHERE certificate_id = 'held';
    UPDATE submissions SET state = 'submitted', tries = 1, order_id = 'SO1', status = 8, resolved_by = 'reply'
     WHERE certificate_id = 'submitted';
    UPDATE submissions SET state = 'failed', tries = 1, error_code = 'Some.Code', error_message = 'words', reason = 'refused'
     WHERE certificate_id = 'failed';
    UPDATE submissions SET state = 'canceled', reason = 'not wanted' WHERE certificate_id = 'canceled';
    UPDATE control SET paused = 1, pause_reason = 'maintenance';
    UPDATE daemon SET run_id = 'before', started_at = 5, heartbeat_at = 5, mode = 'running', why = NULL";

/// The columns that each table has had since the first version.
const CONTENTS: &str = "SELECT json_array(
    (SELECT json_group_array(json_array(id, certificate_id, verify_type, priority, due_at, reference, state, tries, order_id,
              status, request_id, error_code, error_message, reason, resolved_by, created_at, updated_at, finished_at))
       FROM submissions),
    (SELECT json_group_array(json_array(number, certificate_id, kind, run_id, started_at, finished_at, outcome)) FROM requests),
    (SELECT json_group_array(json_array(state, count)) FROM state_counts),
    (SELECT json_array(run_id, started_at, heartbeat_at, mode, why) FROM daemon))";

/// The migrations of the version that had this many.
fn version(migrations: usize) -> Migrator {
    Migrator::with_migrations(MIGRATIONS.iter().take(migrations).cloned().collect::<Vec<_>>())
}

async fn contents(queue: &mut Queue) -> String {
    sqlx::query_scalar(CONTENTS).fetch_one(&mut queue.connection).await.unwrap()
}

/// A queue that this version created, with its contents.
async fn made_by(version: &Migrator) -> (tempfile::TempDir, PathBuf, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let mut queue = Queue::open_with(Target::from(&path), Opening::Create, version).await.unwrap();
    sqlx::raw_sql(ROWS).execute(&mut queue.connection).await.unwrap();
    let created = contents(&mut queue).await;
    queue.close().await.unwrap();
    (directory, path, created)
}

#[tokio::test]
async fn migrating_keeps_every_row_and_invents_no_cause() {
    for migrations in 1..MIGRATIONS.iter().count() {
        let (_directory, path, before) = made_by(&version(migrations)).await;
        let mut queue = Queue::open(&path, Opening::Existing).await.unwrap();
        assert_eq!(contents(&mut queue).await, before);
        assert_eq!((queue.flaws().await.unwrap(), queue.check_integrity().await.unwrap()), (vec![], vec![]));
        let codes = "SELECT (SELECT count(reason_code) FROM submissions) + count(pause_code) FROM control";
        assert_eq!(sqlx::query_scalar::<_, i64>(codes).fetch_one(&mut queue.connection).await.unwrap(), 0);
        let status = queue.status(BEGIN).await.unwrap();
        assert_eq!((status.control.cause(), status.daemon.cause()), (Some(by_operator("maintenance")), None));
        for state in State::ALL {
            assert_eq!(status.counts.of(state), 1, "{state}");
        }
    }
}

#[tokio::test]
async fn the_older_version_can_open_the_copy_beside_a_migrated_queue_which_is_paused() {
    let first = version(1);
    let (_directory, path, before) = made_by(&first).await;
    Queue::open(&path, Opening::Existing).await.unwrap().close().await.unwrap();
    let copy = path.with_file_name("queue.db.schema-1");
    let mut queue = Queue::open_with(Target::from(&copy), Opening::Existing, &first).await.unwrap();
    assert_eq!(contents(&mut queue).await, before);
    let pause = "SELECT pause_reason FROM control WHERE paused";
    let reason: String = sqlx::query_scalar(pause).fetch_one(&mut queue.connection).await.unwrap();
    assert!(reason.contains("backup") && reason.contains("certcommit verify --pending"), "{reason}");
    let columns = "SELECT count(*) FROM pragma_table_info('submissions') WHERE name = 'reason_code'";
    assert_eq!(sqlx::query_scalar::<_, i64>(columns).fetch_one(&mut queue.connection).await.unwrap(), 0);
}

#[tokio::test]
async fn an_older_version_refuses_a_migrated_queue_and_leaves_it_untouched() {
    let first = version(1);
    let (_directory, path, _) = made_by(&first).await;
    Queue::open(&path, Opening::Existing).await.unwrap().close().await.unwrap();
    let before = std::fs::read(&path).unwrap();
    let lock = DaemonLock::acquire(&path).await.unwrap();
    for opening in [Opening::Daemon(&lock), Opening::Existing, Opening::Looking] {
        let error = Queue::open_with(Target::from(&path), opening, &first).await.unwrap_err();
        assert!(matches!(error, QueueError::Newer(SchemaVersions { found: 7, known: 1, .. })), "{error:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
