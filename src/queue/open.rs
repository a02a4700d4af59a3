//! Opening a queue, which creates or migrates it first where the [`Opening`] allows that.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteConnection;

use super::application_id::{Contents, contents};
use super::backup::back_up;
use super::connection::{Queue, connect};
use super::error::{Fault, QueueError, SchemaVersions};
use super::files::daemon_lock::DaemonLock;
use super::files::filesystem::read_only;
use super::files::location::{Location, Target};
use super::files::permission::{FILE_MODE, denied, file_error, is_usable};
use super::files::restore_marker::RestoreMarker;
use super::files::shared_file::{self, hand_over};
use super::paths::{companion, directory_of};
use super::schema::comparison;
use super::schema::migrations::{MIGRATIONS, pending};
use crate::clock;

/// Who opens a queue.
#[derive(Debug, Clone, Copy)]
pub enum Opening<'a> {
    /// The daemon, which holds the lock: creates and migrates the database.
    Daemon(&'a DaemonLock),
    /// A command that writes, and creates the database if there is none.
    Create,
    /// A command that needs an existing queue, and migrates it.
    Existing,
    /// A command that only reads, and neither creates nor migrates.
    Looking,
}

impl Opening<'_> {
    fn creates(self) -> bool {
        matches!(self, Self::Daemon(_) | Self::Create)
    }
}

impl Queue {
    /// Opens the queue at this path; links are followed.
    ///
    /// # Errors
    /// See [`QueueError`]. A database of another program, or with an unsuitable schema version, is left untouched.
    pub async fn open(target: impl Into<Target<'_>>, opening: Opening<'_>) -> Result<Self, QueueError> {
        Self::open_with(target.into(), opening, &MIGRATIONS).await
    }

    pub(super) async fn open_with(
        target: Target<'_>,
        opening: Opening<'_>,
        migrations: &Migrator,
    ) -> Result<Self, QueueError> {
        let location =
            Location::find(target).map_err(|error| if opening.creates() { error } else { missing(error) })?;
        let path = location.path.as_path();
        if !path.try_exists().map_err(file_error(path))? {
            if !opening.creates() {
                return Err(no_queue(path, QueueError::Missing));
            }
            shared_file::create(path)?;
        }
        if let Some(how) = read_only(directory_of(path)).filter(|_| !matches!(opening, Opening::Looking)) {
            return Err(QueueError::read_only(path, how));
        }
        if !matches!(opening, Opening::Existing) && !is_usable(path) {
            return Err(denied(path));
        }
        let applied = match contents(path).await? {
            Contents::Empty if !opening.creates() => return Err(no_queue(path, QueueError::Empty)),
            Contents::Empty => BTreeSet::new(),
            Contents::Unmarked(_) => return Err(QueueError::Unmarked(path.to_owned())),
            Contents::Queue(applied) => applied,
        };
        if let Some(known) = pending(path, &applied, migrations)? {
            migrate(path, applied.last().copied(), known, opening, migrations).await?;
        }
        let mut queue = Self::connect(location).await?;
        if matches!(opening, Opening::Daemon(_)) {
            queue.require_intact_schema().await?;
        }
        Ok(queue)
    }
}

/// For those who don't create a queue, a directory that doesn't exist means that there is none.
fn missing(error: QueueError) -> QueueError {
    if let QueueError::Create { path, error } = &error
        && error.kind() == io::ErrorKind::NotFound
    {
        return QueueError::Missing(path.clone());
    }
    error
}

/// The error if there is no queue: none was created yet or, by the marker beside it, one was emptied.
pub(super) fn no_queue(path: &Path, not_yet: fn(PathBuf) -> QueueError) -> QueueError {
    match RestoreMarker::look(path) {
        Ok(Some(made)) if made > 0 => QueueError::Emptied { path: path.to_owned(), made },
        Ok(_) => not_yet(path.to_owned()),
        Err(error) => error,
    }
}

/// Migrates a database under the daemon's lock, after writing a copy beside it.
async fn migrate(
    path: &Path,
    found: Option<i64>,
    known: i64,
    opening: Opening<'_>,
    migrations: &Migrator,
) -> Result<(), QueueError> {
    const WHAT: &str = "migrating";
    if let (Opening::Looking, Some(found)) = (opening, found) {
        return Err(QueueError::Outdated(SchemaVersions { path: path.to_owned(), found, known }));
    }
    let is_locked = matches!(opening, Opening::Daemon(lock) if lock.database() == path);
    let lock = if is_locked { None } else { Some(DaemonLock::beside(path).await) };
    let _lock = lock.transpose().map_err(|error| match (error, found) {
        (QueueError::Held { path, .. }, Some(found)) => QueueError::Older(SchemaVersions { path, found, known }),
        (error, _) => error,
    })?;
    let mut connection = connect(path).await?;
    if let Some(found) = found {
        // The migrations only work on an unaltered schema.
        let flaws = comparison::flaws(&mut connection, migrations).await?;
        if !flaws.is_empty() {
            return Err(comparison::altered(path, &flaws));
        }
        keep_copy(&mut connection, &companion(path, &format!(".schema-{found}"))).await?;
    }
    migrations.run(&mut connection).await.map_err(|error| {
        if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = &error {
            return QueueError::about(WHAT, error);
        }
        QueueError::Failed(Fault { what: Some(WHAT), detail: error.to_string() })
    })?;
    connection.close().await.map_err(QueueError::of(WHAT))
}

/// Copies the database. Replaces the copy of an earlier attempt, which has nothing newer.
async fn keep_copy(connection: &mut SqliteConnection, copy: &Path) -> Result<(), QueueError> {
    match fs::remove_file(copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file_error(copy)(error)),
        Ok(()) | Err(_) => {}
    }
    back_up(connection, copy, FILE_MODE, clock::now().unix).await?;
    let handed_over = File::open(copy).and_then(|file| hand_over(&file, directory_of(copy)));
    handed_over.map_err(file_error(copy))
}
