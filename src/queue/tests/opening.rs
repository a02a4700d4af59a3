//! Opening a database: who makes it, what is refused, what is migrated by whom.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::super::schema::migrations::MIGRATIONS;
use super::*;

#[tokio::test]
async fn a_queue_that_is_there_is_opened_with_all_that_is_in_it() {
    let site = Site::with(&["a"]).await;
    let path = site.path();
    site.queue.close().await.unwrap();
    for opening in [Opening::Existing, Opening::Create] {
        let mut queue = Queue::open(&path, opening).await.unwrap();
        assert_eq!(queue.counts().await.unwrap().of(State::Pending), 1);
    }
    let copy = path.with_file_name(format!("queue.db.schema-{}", newest()));
    assert!(!copy.exists(), "nothing was migrated, so nothing was copied");
}

#[tokio::test]
async fn closing_leaves_the_whole_queue_in_one_file() {
    let site = Site::with(&["a"]).await;
    let wal = site.directory.path().join("queue.db-wal");
    assert!(wal.exists());
    site.queue.close().await.unwrap();
    assert!(!wal.exists());
}

#[tokio::test]
async fn the_data_version_changes_with_what_others_commit_and_only_then() {
    let mut site = Site::with(&["a"]).await;
    let before = site.queue.data_version().await.unwrap();
    site.enqueue(new("b")).await;
    assert_eq!(site.queue.data_version().await.unwrap(), before);
    sql(&site.path(), "INSERT INTO submissions (certificate_id) VALUES ('c')").await;
    assert_ne!(site.queue.data_version().await.unwrap(), before);
}

/// A file without a byte, and one with the table of migrations alone.
async fn begun_files(directory: &Path) -> [PathBuf; 2] {
    let (empty, begun) = (directory.join("empty.db"), directory.join("begun.db"));
    fs::write(&empty, "").unwrap();
    // A process died after it made this table and before it made the queue.
    sql(
        &begun,
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
           installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL,
           execution_time BIGINT NOT NULL)",
    )
    .await;
    [empty, begun]
}

#[tokio::test]
async fn an_empty_file_or_one_with_the_table_of_migrations_alone_becomes_a_queue() {
    let directory = tempfile::tempdir().unwrap();
    for path in begun_files(directory.path()).await {
        let mut queue = Queue::open(&path, Opening::Create).await.unwrap();
        assert_eq!(queue.counts().await.unwrap().open(), 0);
    }
}

#[tokio::test]
async fn whoever_needs_a_queue_or_looks_at_one_writes_nothing_into_a_file_without() {
    let directory = tempfile::tempdir().unwrap();
    for path in begun_files(directory.path()).await {
        let before = fs::read(&path).unwrap();
        for opening in [Opening::Existing, Opening::Looking] {
            let error = Queue::open(&path, opening).await.unwrap_err();
            assert!(matches!(error, QueueError::Empty(_)), "{error:?}");
            assert!(error.with_remedy().contains("holds no queue yet; create it with `certcommit run`"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn where_requests_were_made_a_queue_that_is_not_there_was_emptied_or_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    RestoreMarker::open(&path).unwrap().reset(7).unwrap();
    for _ in ["missing", "empty"] {
        let error = Queue::open(&path, Opening::Looking).await.unwrap_err();
        assert!(matches!(error, QueueError::Emptied { made: 7, .. }), "{error:?}");
        fs::write(&path, "").unwrap();
    }
}

#[tokio::test]
async fn whoever_only_looks_leaves_an_older_queue_as_it_is() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let error = Queue::open_with(Target::from(&path), Opening::Looking, &later()).await.unwrap_err();
    assert!(matches!(error, QueueError::Outdated { known: 99, .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_queue_whose_rules_are_gone_is_not_migrated() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    sql(&path, "DROP TRIGGER submissions_moved").await;
    let error = Queue::open_with(Target::from(&path), Opening::Existing, &later()).await.unwrap_err();
    assert!(error.to_string().contains("trigger submissions_moved is missing"), "{error}");
}

#[tokio::test]
async fn a_queue_that_lost_the_table_of_its_migrations_is_told_for_one() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    sql(&path, "DROP TABLE _sqlx_migrations").await;
    let error = Queue::open(&path, Opening::Existing).await.unwrap_err();
    assert!(matches!(&error, QueueError::Corrupt { detail, .. } if detail.contains("_sqlx_migrations")), "{error:?}");
}

#[tokio::test]
async fn what_is_no_queue_is_refused_and_told_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let [text, unmarked, marked] = ["text", "unmarked", "marked"].map(|name| directory.path().join(name));
    fs::write(&text, "these are my notes, not a database, and long enough to be looked at").unwrap();
    sql(&unmarked, "CREATE TABLE mine (x)").await;
    sql(&marked, "PRAGMA application_id = 7").await;
    let cases = [
        (directory.path().to_owned(), "it is not a file"),
        (text, "it is not an SQLite database"),
        (unmarked, "an SQLite database of another program: application_id 0, 1 objects"),
        (marked, "an SQLite database of another program: application_id 7, 0 objects"),
    ];
    for (path, what) in cases {
        let error = Queue::open(&path, Opening::Create).await.unwrap_err();
        assert!(matches!(&error, QueueError::Foreign { why, .. } if why == what), "{error:?}");
    }
}

#[tokio::test]
async fn a_queue_in_a_directory_that_is_missing_or_none_cannot_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let error = Queue::open(&directory.path().join("missing/queue.db"), Opening::Create).await.unwrap_err();
    assert!(matches!(error, QueueError::Create { .. }), "{error:?}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let too_long = directory.path().join("q".repeat(300));
    for path in [file.join("queue.db"), file.join("within/queue.db"), too_long] {
        let error = Queue::open(&path, Opening::Create).await.unwrap_err();
        assert!(matches!(error, QueueError::CannotOpen(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_new_queue_is_made_by_the_daemon_under_the_lock_that_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let lock = DaemonLock::acquire(&path).await.unwrap();
    Queue::open(&path, Opening::Daemon(&lock)).await.unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn while_a_daemon_holds_it_a_command_does_not_make_the_queue() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let lock = DaemonLock::acquire(&path).await.unwrap();
    let error = Queue::open(&path, Opening::Create).await.unwrap_err();
    assert!(matches!(error, QueueError::Held { .. }), "{error:?}");
    // The lock of another database says nothing about this one.
    let elsewhere = directory.path().join("other.db");
    let other = DaemonLock::acquire(&elsewhere).await.unwrap();
    let error = Queue::open(&path, Opening::Daemon(&other)).await.unwrap_err();
    assert!(matches!(error, QueueError::Held { .. }), "{error:?}");
    drop(lock);
    Queue::open(&path, Opening::Create).await.unwrap();
}

/// The newest version of the schema.
fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap()
}

/// The migrations of a version to come.
fn later() -> Migrator {
    let statement = sqlx::SqlSafeStr::into_sql_str("ALTER TABLE daemon ADD COLUMN later INTEGER");
    let later = Migration::new(99, Cow::Borrowed("later"), MigrationType::Simple, statement, false);
    Migrator::with_migrations(MIGRATIONS.iter().cloned().chain([later]).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_older_queue_that_a_daemon_holds_is_migrated_by_nobody_else() {
    let site = Site::new().await;
    let path = site.path();
    let lock = DaemonLock::acquire(&path).await.unwrap();
    let error = Queue::open_with(Target::from(&path), Opening::Existing, &later()).await.unwrap_err();
    assert!(matches!(error, QueueError::Older { found, known: 99, .. } if found == newest()), "{error:?}");
    site.queue.close().await.unwrap();
    Queue::open_with(Target::from(&path), Opening::Daemon(&lock), &later()).await.unwrap();
}

#[tokio::test]
async fn a_migration_whose_copy_cannot_be_written_is_not_begun() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    let copy = path.with_file_name(format!("queue.db.schema-{}", newest()));
    fs::create_dir(&copy).unwrap();
    let error = Queue::open_with(Target::from(&path), Opening::Existing, &later()).await.unwrap_err();
    assert!(matches!(&error, QueueError::CannotOpen(fault) if fault.detail.contains(".schema-")), "{error:?}");
    fs::remove_dir(&copy).unwrap();
    // A copy of an earlier attempt gives way.
    fs::write(&copy, "half a copy").unwrap();
    Queue::open_with(Target::from(&path), Opening::Existing, &later()).await.unwrap();
    Queue::open(&copy, Opening::Existing).await.unwrap();
}

#[tokio::test]
async fn a_new_queue_needs_no_copy_of_what_it_was() {
    let site = Site::new().await;
    let names = fs::read_dir(site.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let copies = names.filter(|name| name.to_string_lossy().contains("schema")).count();
    assert_eq!(copies, 0);
}

#[tokio::test]
async fn a_path_without_a_directory_lies_in_the_current_one() {
    let error = Queue::open(Path::new("no-queue-lies-here.db"), Opening::Existing).await.unwrap_err();
    assert!(matches!(error, QueueError::Missing(_)), "{error:?}");
}

#[tokio::test]
async fn a_path_that_cannot_be_looked_at_is_an_error_and_no_replacement() {
    let site = Site::new().await;
    let moved = site.directory.path().join("moved");
    fs::create_dir(&moved).unwrap();
    let inner = moved.join("queue.db");
    let queue = Queue::open(&inner, Opening::Create).await.unwrap();
    queue.files().check().unwrap();
    fs::remove_dir_all(&moved).unwrap();
    assert!(matches!(queue.files().check(), Err(QueueError::Replaced(_))), "it was deleted");
    fs::write(&moved, "").unwrap();
    let error = queue.files().check().unwrap_err();
    assert!(matches!(error, QueueError::CannotOpen(_)), "{error:?}");
}
