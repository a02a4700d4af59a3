//! Errors, classified by SQLite's result codes and the system's.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::super::connection::opening;
use super::super::files::permission::file_error;
use super::*;

const HERE: &str = "/nowhere/queue.db";

/// The error of this statement on a read-only connection.
async fn error_of(statement: &'static str) -> sqlx::Error {
    let site = Site::new().await;
    let mut connection = SqliteConnectOptions::new().filename(site.path()).read_only(true).connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap_err()
}

#[tokio::test]
async fn a_rejected_write_has_the_rules_sentence_and_a_failed_one_names_the_operation() {
    let mut site = Site::new().await;
    let refused = sqlx::query("INSERT INTO submissions (certificate_id) VALUES ('not an id')");
    let refused = QueueError::of("enqueueing")(refused.execute(&mut site.queue.connection).await.unwrap_err());
    assert!(matches!(&refused, QueueError::Refused(sentence) if sentence.starts_with("certificate_id must be text")));
    let failed = QueueError::of("counting")(error_of("SELECT some FROM nowhere").await);
    assert_eq!(failed.to_string(), "the database failed (counting): no such table: nowhere");
    let crashed = QueueError::of("counting")(sqlx::Error::WorkerCrashed);
    assert!(matches!(&crashed, QueueError::Failed(fault) if fault.detail.contains("worker")), "{crashed:?}");
}

#[tokio::test]
async fn a_file_that_this_user_may_only_read_is_a_permission_error() {
    let path = Path::new(HERE);
    let read_only = opening(path, &error_of("UPDATE control SET paused = 1").await);
    assert!(matches!(&read_only, QueueError::Permission { path: named, .. } if named == path), "{read_only:?}");
    let read_only = QueueError::of("enqueueing")(error_of("UPDATE control SET paused = 1").await);
    assert!(matches!(read_only, QueueError::ReadOnly("enqueueing")), "{read_only:?}");
    let other = opening(path, &error_of("SELECT some FROM nowhere").await);
    assert_eq!(other.to_string(), format!("the database failed (opening): {HERE}: no such table: nowhere"));
}

#[tokio::test]
async fn a_database_that_reached_its_largest_size_is_full() {
    let mut site = Site::new().await;
    site.sql("PRAGMA max_page_count = 1").await;
    let grow = "CREATE TABLE large AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 99)
                  SELECT zeroblob(65536) FROM n";
    let error = sqlx::query(grow).execute(&mut site.queue.connection).await.unwrap_err();
    assert_eq!(QueueError::of("growing")(error).code(), "disk_full");
}

#[test]
fn an_error_of_the_system_names_the_file_and_has_the_code_of_its_cause() {
    let path = Path::new(HERE);
    let cases = [
        (Errno::ACCESS, "permission_denied"),
        (Errno::NOSPC, "disk_full"),
        (Errno::DQUOT, "disk_full"),
        (Errno::IO, "io_error"),
        (Errno::ROFS, "read_only_filesystem"),
        (Errno::NOTDIR, "cannot_open"),
        (Errno::MFILE, "cannot_open"),
    ];
    for (errno, code) in cases {
        let error = file_error(path)(errno.into());
        assert!(error.code() == code && error.to_string().contains(HERE), "{errno}: {error:?}");
    }
    let denied = file_error(path)(io::ErrorKind::PermissionDenied.into());
    assert!(denied.with_remedy().contains("that owns its directory"), "{denied:?}");
}

/// The variant after this one. This doesn't compile until a new variant is added to it.
fn next(error: &QueueError) -> Option<QueueError> {
    let path = || HERE.into();
    let versions = |found| SchemaVersions { path: path(), found, known: 2 };
    let text = || "a message".to_owned();
    let fault = || Fault { what: Some("counting"), detail: text() };
    let process = || Process { pid: 7, program: Some(text()), started: Some(UnixMillis(0)), is_stopped: true };
    Some(match error {
        QueueError::Missing(_) => QueueError::Empty(path()),
        QueueError::Empty(_) => QueueError::Emptied { path: path(), made: 7 },
        QueueError::Emptied { .. } => QueueError::Foreign { path: path(), why: text() },
        QueueError::Foreign { .. } => QueueError::Newer(versions(2)),
        QueueError::Newer(_) => QueueError::Older(versions(1)),
        QueueError::Older(_) => QueueError::Outdated(versions(1)),
        QueueError::Outdated(_) => QueueError::Unmarked(path()),
        QueueError::Unmarked(_) => QueueError::Altered { path: path(), flaws: text() },
        QueueError::Altered { .. } => QueueError::Uncompared,
        QueueError::Uncompared => QueueError::Corrupt { path: path(), detail: text() },
        QueueError::Corrupt { .. } => QueueError::Create { path: path(), error: io::ErrorKind::StorageFull.into() },
        QueueError::Create { .. } => QueueError::Network { path: path(), kind: text() },
        QueueError::Network { .. } => QueueError::Served { path: path(), kind: text() },
        QueueError::Served { .. } => QueueError::Linked { path: path(), names: 2, root: path() },
        QueueError::Linked { .. } => QueueError::MountPoint(path()),
        QueueError::MountPoint(_) => QueueError::Permission { path: path(), why: text(), remedy: text() },
        QueueError::Permission { .. } => QueueError::ReadOnly("counting"),
        QueueError::ReadOnly(_) => QueueError::ReadOnlyFilesystem { path: path(), only_here: true },
        QueueError::ReadOnlyFilesystem { .. } => QueueError::Held { path: path(), holder: text() },
        QueueError::Held { .. } => QueueError::Replaced(path()),
        QueueError::Replaced(_) => QueueError::Rewound { path: path(), newest: 1, made: 2 },
        QueueError::Rewound { .. } => {
            QueueError::DepartureMarker { path: path(), error: std::io::Error::other("it failed") }
        }
        QueueError::DepartureMarker { .. } => QueueError::DaemonFrozen(process()),
        QueueError::DaemonFrozen(_) => {
            QueueError::Locked { path: path(), holder: Some(process()), last_write: Some(UnixMillis(0)) }
        }
        QueueError::Locked { .. } => QueueError::Busy(fault()),
        QueueError::Busy(_) => QueueError::Damaged(fault()),
        QueueError::Damaged(_) => QueueError::NoSpace { directory: path(), free: 0 },
        QueueError::NoSpace { .. } => QueueError::Full(fault()),
        QueueError::Full(_) => QueueError::Io(fault()),
        QueueError::Io(_) => QueueError::CannotOpen(fault()),
        QueueError::CannotOpen(_) => QueueError::Failed(fault()),
        QueueError::Failed(_) => QueueError::Refused(text()),
        QueueError::Refused(_) => QueueError::RolledBack { sentence: text(), refused: None },
        QueueError::RolledBack { .. } => return None,
    })
}

#[test]
fn every_cause_has_a_code_of_its_own_a_sentence_and_a_remedy_unless_the_sentence_is_one() {
    let all: Vec<QueueError> = std::iter::successors(Some(QueueError::Missing(HERE.into())), next).collect();
    let mut codes: Vec<&str> = all.iter().map(QueueError::code).collect();
    // The same trouble, as the daemon meets it and as another process sees it, has one code.
    codes.dedup();
    assert_eq!((codes.len(), codes.iter().collect::<HashSet<_>>().len()), (all.len() - 2, all.len() - 2));
    let snake_case = |code: &&str| code.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    assert!(codes.iter().all(snake_case), "{codes:?}");
    let without: Vec<&str> = all.iter().filter(|error| error.remedy().is_none()).map(QueueError::code).collect();
    assert_eq!(without, ["schema_changed", "rejected_by_rule"]);
    for error in &all {
        let (sentence, whole) = (error.to_string(), error.with_remedy());
        assert!(!sentence.is_empty() && whole.starts_with(&sentence), "{whole}");
        assert!(!whole.contains(['\n', '\t']) && !whole.contains("  ") && !whole.ends_with('.'), "{whole}");
    }
}
