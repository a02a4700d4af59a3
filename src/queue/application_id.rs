//! Whether a file is a queue, judged by its `application_id` and its tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::connection::{BUSY_TIMEOUT, opening};
use super::error::QueueError;
use super::files::permission::{denied, file_error, is_readable};
use super::result_code::{READONLY_ROLLBACK, extended_code};
use super::schema::migrations::{APPLICATION_ID, MIGRATIONS_TABLE, applied};

/// A database that has all of these is a queue, or was loaded from a dump of one.
const OWN_TABLES: [&str; 5] = [MIGRATIONS_TABLE, "submissions", "requests", "control", "state_counts"];

/// What a file of certcommit's holds.
#[derive(Debug)]
pub(super) enum Contents {
    /// No queue yet.
    Empty,
    /// A queue with these migrations applied.
    Queue(BTreeSet<i64>),
    /// The same without the `application_id`, which dumps lack.
    Unmarked(BTreeSet<i64>),
}

/// Examines a file. Doesn't write to it, unless a crash left a journal, which any program that opens the file rolls back
/// first.
///
/// # Errors
/// When the file belongs to another program, or can't be read.
pub(super) async fn contents(path: &Path) -> Result<Contents, QueueError> {
    let metadata = fs::metadata(path).map_err(file_error(path))?;
    if !metadata.is_file() {
        return Err(foreign(path, "it is not a file".to_owned()));
    }
    if !is_readable(path) {
        return Err(denied(path));
    }
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
    let read = match read(path, options.clone().read_only(true)).await {
        Err(error) if extended_code(&error) == Some(READONLY_ROLLBACK) => read(path, options).await,
        read => read,
    };
    read.unwrap_or_else(|error| Err(opening(path, &error)))
}

async fn read(path: &Path, options: SqliteConnectOptions) -> Result<Result<Contents, QueueError>, sqlx::Error> {
    let mut connection = options.connect().await?;
    let application_id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await?;
    let objects: Vec<(String, String)> =
        sqlx::query_as("SELECT type, name FROM sqlite_master").fetch_all(&mut connection).await?;
    let tables: Vec<&str> = objects.iter().filter(|(kind, _)| kind == "table").map(|(_, name)| name.as_str()).collect();
    let has_migrations = tables.contains(&MIGRATIONS_TABLE);
    // A process may have died after it created the table of migrations and before it created the queue.
    let is_empty = objects.is_empty() || has_migrations && tables.len() == 1;
    let contents = match application_id {
        0 | APPLICATION_ID if is_empty => Ok(Contents::Empty),
        APPLICATION_ID if has_migrations => Ok(Contents::Queue(applied(&mut connection).await?)),
        APPLICATION_ID => {
            let detail = format!("the table {MIGRATIONS_TABLE}, which has the version of its schema, is missing");
            Err(QueueError::Corrupt { path: path.to_owned(), detail })
        }
        0 if OWN_TABLES.iter().all(|table| tables.contains(table)) => {
            Ok(Contents::Unmarked(applied(&mut connection).await?))
        }
        _ => Err(foreign(
            path,
            format!(
                "an SQLite database of another program: application_id {application_id}, {} objects",
                objects.len()
            ),
        )),
    };
    connection.close().await?;
    Ok(contents)
}

fn foreign(path: &Path, why: String) -> QueueError {
    QueueError::Foreign { path: path.to_owned(), why }
}
