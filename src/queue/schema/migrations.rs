//! The migrations that this version knows, and those that were applied to a database.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnection;

use crate::queue::error::{QueueError, SchemaVersions};

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();
/// `PRAGMA application_id` of a certcommit queue: "CCMT".
pub(crate) const APPLICATION_ID: i64 = 1_128_484_180;
/// The table in which sqlx records the applied migrations.
pub(crate) const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// The versions of the migrations that were applied to a database.
pub(crate) async fn applied(connection: &mut SqliteConnection) -> Result<BTreeSet<i64>, sqlx::Error> {
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(connection).await?;
    Ok(versions.into_iter().collect())
}

/// The newest version of these migrations, if the database lacks any of them.
///
/// # Errors
/// [`QueueError::Newer`], if a migration that isn't among these was applied to it.
pub(crate) fn pending(path: &Path, applied: &BTreeSet<i64>, migrations: &Migrator) -> Result<Option<i64>, QueueError> {
    let known: BTreeSet<i64> = migrations.iter().map(|migration| migration.version).collect();
    let newest = known.last().copied().unwrap_or_default();
    match applied.difference(&known).last() {
        Some(found) => Err(QueueError::Newer(SchemaVersions { path: path.to_owned(), found: *found, known: newest })),
        None => Ok((!known.is_subset(applied)).then_some(newest)),
    }
}
