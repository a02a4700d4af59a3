//! Opening a database: who creates it, who migrates it, and what is refused and left untouched.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::super::paths::companion;
use super::super::schema::migrations::MIGRATIONS;
use super::*;

/// The path of a database that doesn't exist yet.
fn new_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    (directory, path)
}

#[tokio::test]
async fn an_existing_queue_is_opened_with_all_its_rows() {
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
async fn only_commits_of_other_connections_and_a_new_connection_count_as_changes() {
    let mut site = Site::with(&["a"]).await;
    assert!(site.queue.has_changed().await.unwrap(), "a new connection");
    site.enqueue(new("b")).await;
    assert!(!site.queue.has_changed().await.unwrap());
    sql(&site.path(), "INSERT INTO submissions (certificate_id) VALUES ('c')").await;
    assert!(site.queue.has_changed().await.unwrap());
    assert!(!site.queue.has_changed().await.unwrap());
    site.queue.reconnect().await.unwrap();
    assert!(site.queue.has_changed().await.unwrap());
}

#[tokio::test]
async fn a_new_database_is_for_its_owner_and_the_group() {
    let (_directory, path) = new_path();
    let mut queue = Queue::open(&path, Opening::Create).await.unwrap();
    for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        let mode = fs::metadata(path.with_file_name(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o660, "{name}");
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut queue.connection).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut queue.connection).await.unwrap();
    assert_eq!((journal.as_str(), synchronous), ("wal", 2));
}

#[tokio::test]
async fn a_database_whose_creation_was_interrupted_is_recreated() {
    let (_directory, path) = new_path();
    fs::write(&path, [0; 4096]).unwrap();
    // What SQLite leaves when it is killed while it creates a database: a journal which says that the file was empty.
    let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let [records, nonce, pages_before, sector, page] = [0_u32, 7, 0, 512, 4096];
    let fields = [records, nonce, pages_before, sector, page].map(u32::to_be_bytes).concat();
    let mut journal = [&magic[..], &fields].concat();
    journal.resize(512, 0);
    fs::write(companion(&path, "-journal"), journal).unwrap();
    let queue = Queue::open(&path, Opening::Create).await.unwrap();
    queue.files().check().unwrap();
    assert!(!companion(&path, "-journal").exists());
}

#[tokio::test]
async fn the_linked_sqlite_has_the_fix_of_the_wal_reset_bug() {
    let (_directory, path) = new_path();
    let mut queue = Queue::open(&path, Opening::Create).await.unwrap();
    let version = queue.sqlite_version().await.unwrap();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    assert!(numbers >= vec![3, 51, 3], "{version}");
}

#[tokio::test]
async fn a_connection_whose_transaction_was_rolled_back_cannot_begin_another_until_it_is_replaced() {
    let (_directory, path) = new_path();
    let mut queue = Queue::open(&path, Opening::Create).await.unwrap();
    let mut transaction = queue.connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // As SQLite does after an I/O error.
    sqlx::raw_sql("ROLLBACK").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    assert!(queue.connection.begin_with("BEGIN IMMEDIATE").await.is_err());
    queue.reconnect().await.unwrap();
    queue.connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    queue.files().check().unwrap();
}

/// An empty file, and one with only the table of migrations.
async fn begun_files(directory: &Path) -> [PathBuf; 2] {
    let (empty, begun) = (directory.join("empty.db"), directory.join("begun.db"));
    fs::write(&empty, "").unwrap();
    // A process died after it created this table and before it created the queue.
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
async fn a_command_that_needs_a_queue_or_only_reads_leaves_an_empty_file_as_it_is() {
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
async fn a_missing_or_empty_queue_from_which_requests_were_made_was_emptied_or_deleted() {
    let (_directory, path) = new_path();
    RestoreMarker::open(&path).unwrap().reset(7).unwrap();
    for _ in ["missing", "empty"] {
        let error = Queue::open(&path, Opening::Looking).await.unwrap_err();
        assert!(matches!(error, QueueError::Emptied { made: 7, .. }), "{error:?}");
        fs::write(&path, "").unwrap();
    }
}

#[tokio::test]
async fn a_command_that_only_reads_does_not_migrate_an_older_queue() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let error = Queue::open_with(Target::from(&path), Opening::Looking, &later()).await.unwrap_err();
    assert!(matches!(error, QueueError::Outdated(SchemaVersions { known: 99, .. })), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_queue_with_an_altered_schema_is_not_migrated() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    sql(&path, "DROP TRIGGER submissions_moved").await;
    let error = Queue::open_with(Target::from(&path), Opening::Existing, &later()).await.unwrap_err();
    assert!(error.to_string().contains("trigger submissions_moved is missing"), "{error}");
}

#[tokio::test]
async fn a_queue_that_lost_the_table_of_its_migrations_is_corrupt() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    sql(&path, "DROP TABLE _sqlx_migrations").await;
    let error = Queue::open(&path, Opening::Existing).await.unwrap_err();
    assert!(matches!(&error, QueueError::Corrupt { detail, .. } if detail.contains("_sqlx_migrations")), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_not_a_queue_is_described_and_left_untouched() {
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
        let before = fs::read(&path).ok();
        let error = Queue::open(&path, Opening::Create).await.unwrap_err();
        assert!(matches!(&error, QueueError::Foreign { why, .. } if why == what), "{error:?}");
        assert_eq!(fs::read(&path).ok(), before);
    }
}

#[tokio::test]
async fn a_corrupt_database_is_refused_by_name_and_left_untouched() {
    let (_directory, path) = new_path();
    Queue::open(&path, Opening::Create).await.unwrap().close().await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // The first page after the header of the file: where the schema begins.
    bytes[100..4096].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let refused = Queue::open(&path, Opening::Create).await.unwrap_err();
    assert!(matches!(refused, QueueError::Corrupt { .. }), "{refused:?}");
    assert!(refused.to_string().contains("queue.db is corrupt"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_untouched() {
    let (_directory, path) = new_path();
    Queue::open(&path, Opening::Create).await.unwrap().close().await.unwrap();
    sql(&path, "INSERT INTO _sqlx_migrations VALUES (99, 'later', 0, 1, x'00', 0)").await;
    let before = fs::read(&path).unwrap();
    let refused = Queue::open(&path, Opening::Create).await;
    assert!(matches!(refused, Err(QueueError::Newer(SchemaVersions { found: 99, .. }))), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_queue_cannot_be_created_in_a_directory_that_is_missing_or_a_file() {
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
async fn a_new_queue_is_created_by_the_daemon_under_its_lock() {
    let (_directory, path) = new_path();
    let lock = DaemonLock::acquire(&path).await.unwrap();
    Queue::open(&path, Opening::Daemon(&lock)).await.unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn while_a_daemon_holds_the_lock_no_command_creates_the_queue() {
    let (_directory, path) = new_path();
    let lock = DaemonLock::acquire(&path).await.unwrap();
    let error = Queue::open(&path, Opening::Create).await.unwrap_err();
    assert!(matches!(error, QueueError::Held { .. }), "{error:?}");
    // The lock of another database says nothing about this one.
    let elsewhere = path.with_file_name("other.db");
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

/// The migrations of a later version.
fn later() -> Migrator {
    let statement = sqlx::SqlSafeStr::into_sql_str("ALTER TABLE daemon ADD COLUMN later INTEGER");
    let later = Migration::new(99, Cow::Borrowed("later"), MigrationType::Simple, statement, false);
    Migrator::with_migrations(MIGRATIONS.iter().cloned().chain([later]).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_older_queue_that_a_daemon_holds_is_migrated_only_by_that_daemon() {
    let site = Site::new().await;
    let path = site.path();
    let lock = DaemonLock::acquire(&path).await.unwrap();
    let error = Queue::open_with(Target::from(&path), Opening::Existing, &later()).await.unwrap_err();
    assert!(
        matches!(error, QueueError::Older(SchemaVersions { found, known: 99, .. }) if found == newest()),
        "{error:?}"
    );
    site.queue.close().await.unwrap();
    Queue::open_with(Target::from(&path), Opening::Daemon(&lock), &later()).await.unwrap();
}

#[tokio::test]
async fn a_migration_first_writes_a_copy_beside_the_database() {
    let site = Site::with(&["abcb1234"]).await;
    let path = site.path();
    site.queue.close().await.unwrap();
    let mut queue = Queue::open_with(Target::from(&path), Opening::Create, &later()).await.unwrap();
    sqlx::query("SELECT later FROM daemon").fetch_one(&mut queue.connection).await.unwrap();
    let copy = path.with_file_name(format!("queue.db.schema-{}", newest()));
    let mut copy = Queue::open(&copy, Opening::Existing).await.unwrap();
    assert_eq!(copy.counts().await.unwrap().of(State::Pending), 1);
}

#[tokio::test]
async fn a_migration_does_not_begin_if_its_copy_cannot_be_written() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    let copy = path.with_file_name(format!("queue.db.schema-{}", newest()));
    fs::create_dir(&copy).unwrap();
    let error = Queue::open_with(Target::from(&path), Opening::Existing, &later()).await.unwrap_err();
    assert!(matches!(&error, QueueError::CannotOpen(fault) if fault.detail.contains(".schema-")), "{error:?}");
    fs::remove_dir(&copy).unwrap();
    // A copy of an earlier attempt is replaced.
    fs::write(&copy, "half a copy").unwrap();
    Queue::open_with(Target::from(&path), Opening::Existing, &later()).await.unwrap();
    Queue::open(&copy, Opening::Existing).await.unwrap();
}

#[tokio::test]
async fn a_new_queue_is_created_without_a_copy() {
    let site = Site::new().await;
    let names = fs::read_dir(site.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let copies = names.filter(|name| name.to_string_lossy().contains("schema")).count();
    assert_eq!(copies, 0);
}

#[tokio::test]
async fn a_command_that_needs_a_queue_or_only_reads_does_not_create_one() {
    let path = Path::new("no-queue-is-here.db");
    for opening in [Opening::Existing, Opening::Looking] {
        let error = Queue::open(path, opening).await.unwrap_err();
        assert!(matches!(error, QueueError::Missing(_)), "{error:?}");
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn a_path_that_cannot_be_accessed_is_an_error_but_does_not_count_as_replaced() {
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
