//! Opening a database, and what becomes of its file: made, refused and left untouched, copied before it is migrated.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use sqlx::Connection as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::super::paths::companion;
use super::super::schema::migrations::MIGRATIONS;
use super::*;

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("queue.db")
    }
}

#[tokio::test]
async fn a_new_database_is_made_for_user_and_group() {
    let directory = Directory::new();
    let mut queue = Queue::open(&directory.database(), Opening::Create).await.unwrap();
    for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        let mode = fs::metadata(directory.0.path().join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o660, "{name}");
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut queue.connection).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut queue.connection).await.unwrap();
    assert_eq!((journal.as_str(), synchronous), ("wal", 2));
}

#[tokio::test]
async fn a_database_whose_making_was_cut_short_is_made_anew() {
    let directory = Directory::new();
    fs::write(directory.database(), [0; 4096]).unwrap();
    // What SQLite leaves when it dies as it makes a database: a journal that says that the file was empty before.
    let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let [records, nonce, pages_before, sector, page] = [0_u32, 7, 0, 512, 4096];
    let fields = [records, nonce, pages_before, sector, page].map(u32::to_be_bytes).concat();
    let mut journal = [&magic[..], &fields].concat();
    journal.resize(512, 0);
    fs::write(companion(&directory.database(), "-journal"), journal).unwrap();
    let queue = Queue::open(&directory.database(), Opening::Create).await.unwrap();
    queue.files().check().unwrap();
    assert!(!companion(&directory.database(), "-journal").exists());
}

#[tokio::test]
async fn the_linked_sqlite_has_the_fix_of_the_wal_reset_bug() {
    let directory = Directory::new();
    let mut queue = Queue::open(&directory.database(), Opening::Create).await.unwrap();
    let version = queue.sqlite_version().await.unwrap();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    assert!(numbers >= vec![3, 51, 3], "{version}");
}

#[tokio::test]
async fn a_command_that_only_looks_makes_no_database() {
    let directory = Directory::new();
    let missing = Queue::open(&directory.database(), Opening::Existing).await;
    assert!(matches!(missing, Err(QueueError::Missing(_))));
    assert!(!directory.database().exists());
}

#[tokio::test]
async fn foreign_files_are_refused_by_name_and_left_untouched() {
    let text = Directory::new();
    fs::write(text.database(), "these are my notes, not a database, and long enough to be looked at").unwrap();
    let other = Directory::new();
    sql(&other.database(), "CREATE TABLE mine (x); PRAGMA application_id = 7;").await;
    for directory in [text, other] {
        let before = fs::read(directory.database()).unwrap();
        let refused = Queue::open(&directory.database(), Opening::Create).await;
        assert!(matches!(refused, Err(QueueError::Foreign { .. })), "{refused:?}");
        assert_eq!(fs::read(directory.database()).unwrap(), before);
    }
}

#[tokio::test]
async fn a_corrupt_database_is_refused_by_name_and_left_untouched() {
    let directory = Directory::new();
    Queue::open(&directory.database(), Opening::Create).await.unwrap().close().await.unwrap();
    let mut bytes = fs::read(directory.database()).unwrap();
    // The first page after the header of the file: where the schema begins.
    bytes[100..4096].fill(0x5a);
    fs::write(directory.database(), &bytes).unwrap();
    let refused = Queue::open(&directory.database(), Opening::Create).await.unwrap_err();
    assert!(matches!(refused, QueueError::Corrupt { .. }), "{refused:?}");
    assert!(refused.to_string().contains("queue.db is corrupt"), "{refused}");
    assert_eq!(fs::read(directory.database()).unwrap(), bytes);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_untouched() {
    let directory = Directory::new();
    Queue::open(&directory.database(), Opening::Create).await.unwrap().close().await.unwrap();
    sql(&directory.database(), "INSERT INTO _sqlx_migrations VALUES (99, 'later', 0, 1, x'00', 0)").await;
    let before = fs::read(directory.database()).unwrap();
    let refused = Queue::open(&directory.database(), Opening::Create).await;
    assert!(matches!(refused, Err(QueueError::Newer { found: 99, .. })), "{refused:?}");
    assert_eq!(fs::read(directory.database()).unwrap(), before);
}

#[tokio::test]
async fn a_migration_first_writes_a_copy_beside_the_database() {
    let directory = Directory::new();
    Queue::open(&directory.database(), Opening::Create).await.unwrap().close().await.unwrap();
    sql(&directory.database(), "INSERT INTO submissions (certificate_id) VALUES ('abcb1234')").await;
    let later = Migration::new(
        99,
        Cow::Borrowed("later"),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str("ALTER TABLE daemon ADD COLUMN later INTEGER"),
        false,
    );
    let migrations: Vec<Migration> = MIGRATIONS.iter().cloned().chain([later]).collect();
    let migrator = Migrator::with_migrations(migrations);
    let mut queue = Queue::open_with(Target::from(&directory.database()), Opening::Create, &migrator).await.unwrap();
    sqlx::query("SELECT later FROM daemon").fetch_one(&mut queue.connection).await.unwrap();
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap();
    let copy = directory.0.path().join(format!("queue.db.schema-{newest}"));
    let mut copy = Queue::open(&copy, Opening::Existing).await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM submissions").fetch_one(&mut copy.connection).await.unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_connection_whose_transaction_ended_by_itself_refuses_others_until_it_is_renewed() {
    let directory = Directory::new();
    let mut queue = Queue::open(&directory.database(), Opening::Create).await.unwrap();
    let mut transaction = queue.connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // As SQLite does after an I/O error.
    sqlx::raw_sql("ROLLBACK").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    assert!(queue.connection.begin_with("BEGIN IMMEDIATE").await.is_err());
    queue.reconnect().await.unwrap();
    queue.connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    queue.files().check().unwrap();
}

#[tokio::test]
async fn a_second_daemon_is_told_who_holds_the_database() {
    let directory = Directory::new();
    let _lock = DaemonLock::acquire(&directory.database()).await.unwrap();
    let second = DaemonLock::acquire(&directory.database()).await.unwrap_err();
    assert!(second.to_string().contains(&format!("process {}", std::process::id())), "{second}");
    assert!(daemon_lives(&directory.database()).unwrap());
}
