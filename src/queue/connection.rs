//! An open queue: its connection, and the identity of the files behind it.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};

use super::error::QueueError;
use super::files::file_identity::FileIdentity;
use super::files::filesystem::read_only;
use super::files::location::Location;
use super::files::permission::{denied, first_denied};
use super::paths::directory_of;
use super::result_code::{CANTOPEN, CORRUPT, NOTADB, READONLY, message, primary_code};

/// Well below 1,000 pages, at which other connections checkpoint by default: older SQLite versions have a bug there.
const CHECKPOINT_PAGES: &str = "400";
const WAL_BYTES: &str = "4194304";
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// An open queue.
#[derive(Debug)]
pub struct Queue {
    pub(super) connection: SqliteConnection,
    /// The `schema_version` that was compared, if the schema has to be intact.
    pub(super) compared: Option<i64>,
    /// `PRAGMA data_version` when it was last read. Each connection counts other connections' commits on its own.
    data_version: Option<i64>,
    has_short_busy_timeout: bool,
    files: FileIdentity,
    unsafe_filesystem: Option<String>,
}

impl Queue {
    /// Connects to the queue at a location.
    pub(super) async fn connect(location: Location) -> Result<Self, QueueError> {
        let connection = connect(&location.path).await?;
        let files = FileIdentity::of(&location)?;
        let unsafe_filesystem = location.unsafe_filesystem;
        Ok(Self {
            connection,
            compared: None,
            data_version: None,
            has_short_busy_timeout: false,
            files,
            unsafe_filesystem,
        })
    }

    /// Another connection to a queue that this process has opened, and so has checked.
    ///
    /// # Errors
    /// When the database fails, or its file was replaced.
    pub async fn connect_again(files: &FileIdentity) -> Result<Self, QueueError> {
        files.check()?;
        let connection = connect(files.database()).await?;
        Ok(Self {
            connection,
            compared: None,
            data_version: None,
            has_short_busy_timeout: false,
            files: files.clone(),
            unsafe_filesystem: None,
        })
    }

    /// Replaces the connection with a new one to the same file. An error may have left the old one in a transaction that has
    /// already ended, and then it can't begin another.
    ///
    /// # Errors
    /// When the database still fails, or its file was replaced; then the old connection stays.
    pub async fn reconnect(&mut self) -> Result<(), QueueError> {
        self.files.check()?;
        let mut fresh = connect(self.path()).await?;
        if self.has_short_busy_timeout {
            shorten_busy_timeout(&mut fresh).await?;
        }
        // On a full disk, a checkpoint makes room in the write-ahead log.
        let failed = QueueError::of("checkpointing after an error");
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut fresh).await.map_err(failed)?;
        // The file may have been replaced between the check and the opening.
        self.files.check()?;
        let stale = std::mem::replace(&mut self.connection, fresh);
        self.data_version = None;
        stale.close().await.map_err(QueueError::of("closing the connection that failed"))
    }

    /// From now on, waits only a few milliseconds for another process's lock. SQLite polls for a lock at growing intervals;
    /// frequent attempts get it sooner from a writer that holds it most of the time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shorten_busy_timeout(&mut self) -> Result<(), QueueError> {
        self.has_short_busy_timeout = true;
        shorten_busy_timeout(&mut self.connection).await
    }

    /// Writes in a transaction: all of it or nothing.
    pub(super) async fn write<T>(
        &mut self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let mut transaction = self.begin_writing(what).await?;
        let written = work(&mut transaction).await?;
        transaction.commit().await.map_err(QueueError::of(what))?;
        Ok(written)
    }

    /// A transaction that holds the write lock.
    pub(super) async fn begin_writing(&mut self, what: &'static str) -> Result<Transaction<'_, Sqlite>, QueueError> {
        self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(QueueError::of(what))
    }

    /// The version of SQLite that is linked in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sqlite_version(&mut self) -> Result<String, QueueError> {
        sqlx::query_scalar("SELECT sqlite_version()")
            .fetch_one(&mut self.connection)
            .await
            .map_err(QueueError::of("reading SQLite's version"))
    }

    /// The path of the file itself, with links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.database()
    }

    /// The type of the filesystem, if locks are unreliable there and the configuration allows it.
    #[must_use]
    pub fn unsafe_filesystem(&self) -> Option<&str> {
        self.unsafe_filesystem.as_deref()
    }

    /// The error of a write, if the filesystem is read-only now.
    pub(super) fn refused_by_filesystem(&self) -> Option<QueueError> {
        read_only(directory_of(self.path())).map(|how| QueueError::read_only(self.path(), how))
    }

    /// The files that are open.
    #[must_use]
    pub fn files(&self) -> &FileIdentity {
        &self.files
    }

    /// Whether another connection has committed since this was last called; true on a new connection.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_changed(&mut self) -> Result<bool, QueueError> {
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await;
        let version = version.map_err(QueueError::of("looking for changes"))?;
        Ok(self.data_version.replace(version) != Some(version))
    }

    /// Closes the connection, with a last checkpoint.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close(self) -> Result<(), QueueError> {
        self.connection.close().await.map_err(QueueError::of("closing"))
    }
}

async fn shorten_busy_timeout(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let shortened = sqlx::query("PRAGMA busy_timeout = 3").execute(connection).await;
    shortened.map(drop).map_err(QueueError::of("opening"))
}

/// Connects to the database at a path for reading and writing.
pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, QueueError> {
    let failed = |error: sqlx::Error| opening(path, &error);
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("trusted_schema", "OFF")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_BYTES)
        .connect()
        .await
        .map_err(failed)?;
    // The first statement creates the -wal and -shm files if they don't exist yet.
    sqlx::query("SELECT count(*) FROM sqlite_master").execute(&mut connection).await.map_err(failed)?;
    Ok(connection)
}

/// The error of opening the database at a path.
pub(super) fn opening(path: &Path, error: &sqlx::Error) -> QueueError {
    let code = primary_code(error);
    // SQLite doesn't say which of its files was denied.
    let denied_file = || first_denied(path);
    let how = read_only(directory_of(path)).filter(|_| matches!(code, Some(READONLY | CANTOPEN)));
    if let Some(how) = how {
        return QueueError::read_only(path, how);
    }
    match code {
        Some(READONLY) => denied(&denied_file().unwrap_or_else(|| path.to_owned())),
        Some(NOTADB) => QueueError::Foreign { path: path.to_owned(), why: "it is not an SQLite database".to_owned() },
        Some(CORRUPT) => QueueError::Corrupt { path: path.to_owned(), detail: message(error) },
        _ => {
            let failed = || QueueError::classified("opening", code, format!("{}: {}", path.display(), message(error)));
            denied_file().filter(|_| code == Some(CANTOPEN)).map_or_else(failed, |file| denied(&file))
        }
    }
}
