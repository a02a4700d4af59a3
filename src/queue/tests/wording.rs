//! What went wrong, told apart by what SQLite and the system say.

use std::io;
use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::*;

const HERE: &str = "/nowhere/queue.db";

/// What SQLite says to this statement on a connection that may only read.
async fn said(statement: &'static str) -> sqlx::Error {
    let site = Site::new().await;
    let mut connection = SqliteConnectOptions::new().filename(site.path()).read_only(true).connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap_err()
}

#[tokio::test]
async fn a_rule_speaks_for_itself_and_everything_else_says_what_was_being_done() {
    let mut site = Site::new().await;
    let refused = sqlx::query("INSERT INTO submissions (certificate_id) VALUES ('not an id')");
    let refused = QueueError::of("enqueueing")(refused.execute(&mut site.queue.connection).await.unwrap_err());
    assert!(matches!(&refused, QueueError::Refused(sentence) if sentence.starts_with("certificate_id must be text")));
    let failed = QueueError::of("counting")(said("SELECT some FROM nowhere").await);
    assert_eq!(failed.to_string(), "the database failed (counting): no such table: nowhere");
    let gone = QueueError::of("counting")(sqlx::Error::WorkerCrashed);
    assert!(matches!(&gone, QueueError::Failed { what: "counting", detail } if detail.contains("worker")), "{gone:?}");
}

#[tokio::test]
async fn a_file_that_may_only_be_read_needs_another_user() {
    let path = Path::new(HERE);
    let read_only = QueueError::opening(path, &said("UPDATE control SET paused = 1").await);
    assert!(matches!(&read_only, QueueError::Permission { path: named, .. } if named == path), "{read_only:?}");
    let read_only = QueueError::of("enqueueing")(said("UPDATE control SET paused = 1").await);
    assert!(matches!(read_only, QueueError::ReadOnly("enqueueing")), "{read_only:?}");
    let other = QueueError::opening(path, &said("SELECT some FROM nowhere").await);
    assert_eq!(other.to_string(), format!("the database failed (opening): {HERE}: no such table: nowhere"));
}

#[test]
fn what_the_system_denies_names_the_group_that_may_and_what_fails_names_the_file() {
    let path = Path::new(HERE);
    let denied = QueueError::io(path, io::ErrorKind::PermissionDenied.into());
    assert!(matches!(&denied, QueueError::Permission { path: named, .. } if named == path), "{denied:?}");
    assert!(denied.to_string().contains("that owns its directory"), "{denied}");
    let failed = QueueError::io(path, io::ErrorKind::StorageFull.into());
    assert!(matches!(&failed, QueueError::Failed { detail, .. } if detail.starts_with(HERE)), "{failed:?}");
}
