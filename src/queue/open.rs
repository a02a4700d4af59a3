//! Opening the database: is it ours, of a version that we know, where locks hold; making and migrating it.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::backup::back_up;
use super::error::{QueueError, is_rollback_needed};
use super::location::{Location, Target};
use super::lock::DaemonLock;
use super::permission;
use super::place::{Place, beside, directory_of};
use super::shared_file::{self, FILE_MODE, hand_over};
use crate::clock;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!();
/// `PRAGMA application_id` of a certcommit queue: "CCMT".
const APPLICATION_ID: i64 = 1_128_484_180;
/// Well under 1,000 pages: what writers of older SQLite versions checkpoint at has a bug there.
const CHECKPOINT_PAGES: &str = "400";
const WAL_BYTES: &str = "4194304";
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Who opens a queue.
#[derive(Debug, Clone, Copy)]
pub enum Opening<'a> {
    /// The daemon, which holds the lock: makes and migrates the database.
    Daemon(&'a DaemonLock),
    /// A command that writes, and makes the database if there is none.
    Create,
    /// A command that needs the database to be there.
    Existing,
}

/// An open queue.
#[derive(Debug)]
pub struct Queue {
    pub(super) connection: SqliteConnection,
    asks_often: bool,
    place: Place,
    unsafe_filesystem: Option<String>,
}

/// What a file is, by what it says of itself.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Empty,
    Schema(i64),
}

impl Queue {
    /// Opens the queue at this path; links are followed.
    ///
    /// # Errors
    /// See [`QueueError`]; a database that isn't ours, or not of this version, is left as it is.
    pub async fn open(target: impl Into<Target<'_>>, opening: Opening<'_>) -> Result<Self, QueueError> {
        Self::open_with(target.into(), opening, &MIGRATIONS).await
    }

    pub(super) async fn open_with(
        target: Target<'_>,
        opening: Opening<'_>,
        migrations: &Migrator,
    ) -> Result<Self, QueueError> {
        let location = Location::find(target)?;
        let path = location.path.as_path();
        let existed = path.try_exists().map_err(|error| QueueError::io(path, error))?;
        if !existed {
            if matches!(opening, Opening::Existing) {
                return Err(QueueError::Missing(path.to_owned()));
            }
            shared_file::create(path)?;
        }
        if !matches!(opening, Opening::Existing) && !permission::is_usable(path) {
            return Err(QueueError::permission(path));
        }
        let newest = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
        let identity = identify(path).await?;
        let found = match identity {
            Identity::Empty => 0,
            Identity::Schema(found) if found > newest => {
                return Err(QueueError::Newer { path: path.to_owned(), found, known: newest });
            }
            Identity::Schema(found) => found,
        };
        if found < newest {
            migrate(path, found, newest, opening, migrations).await?;
        }
        let connection = connect(path).await?;
        let place = Place::of(&location)?;
        Ok(Self { connection, asks_often: false, place, unsafe_filesystem: location.unsafe_filesystem })
    }

    /// Takes a fresh connection to the same file in place of this one, which an error may have left in a
    /// transaction that has ended already, and which would refuse every further one.
    ///
    /// # Errors
    /// When the database fails still, or its file was replaced; then this connection stays.
    pub async fn reconnect(&mut self) -> Result<(), QueueError> {
        self.place.check()?;
        let mut fresh = connect(self.path()).await?;
        if self.asks_often {
            ask_often(&mut fresh).await?;
        }
        // On a full disk, what is checkpointed makes room in the write-ahead log.
        let failed = QueueError::of("checkpointing after an error");
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut fresh).await.map_err(failed)?;
        // Between the check and the opening, another file may have come to lie there.
        self.place.check()?;
        let stale = std::mem::replace(&mut self.connection, fresh);
        stale.close().await.map_err(QueueError::of("closing the connection that failed"))
    }

    /// From now on, a lock that somebody else holds is waited for some milliseconds only, and then it is an error: SQLite
    /// asks ever more seldom for it, so that beside somebody who takes it again as soon as it is free, whoever asks often
    /// gets it sooner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask_often(&mut self) -> Result<(), QueueError> {
        self.asks_often = true;
        ask_often(&mut self.connection).await
    }

    /// The version of SQLite that is linked in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sqlite_version(&mut self) -> Result<String, QueueError> {
        sqlx::query_scalar("SELECT sqlite_version()")
            .fetch_one(&mut self.connection)
            .await
            .map_err(QueueError::of("asking for the version"))
    }

    /// The path of the file itself, however it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.database()
    }

    /// The type of the filesystem that it lies on, if locks may not hold there and somebody allowed it.
    #[must_use]
    pub fn unsafe_filesystem(&self) -> Option<&str> {
        self.unsafe_filesystem.as_deref()
    }

    /// The files that are open.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Changes whenever another connection commits, and only then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn data_version(&mut self) -> Result<i64, QueueError> {
        sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut self.connection)
            .await
            .map_err(QueueError::of("looking for changes"))
    }

    /// Closes the connection, with a last checkpoint.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close(self) -> Result<(), QueueError> {
        self.connection.close().await.map_err(QueueError::of("closing"))
    }
}

/// Looks at the file without writing to it, unless a crash left a journal that has to be rolled back first, as
/// everyone who opens it would.
async fn identify(path: &Path) -> Result<Identity, QueueError> {
    let metadata = fs::metadata(path).map_err(|error| QueueError::io(path, error))?;
    if !metadata.is_file() {
        return Err(QueueError::Foreign { path: path.to_owned(), why: "it is not a file".to_owned() });
    }
    if !permission::is_readable(path) {
        return Err(QueueError::permission(path));
    }
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
    let identified = match read_identity(options.clone().read_only(true)).await {
        Err(error) if is_rollback_needed(&error) => read_identity(options).await,
        identified => identified,
    };
    let (identity, application_id, objects) = identified.map_err(|error| QueueError::opening(path, &error))?;
    identity.ok_or_else(|| QueueError::Foreign {
        path: path.to_owned(),
        why: format!("an SQLite database of another program: application_id {application_id}, {objects} objects"),
    })
}

/// What the file is, none if it is another program's; its application id; how many objects its schema has.
async fn read_identity(options: SqliteConnectOptions) -> Result<(Option<Identity>, i64, i64), sqlx::Error> {
    let mut connection = options.connect().await?;
    let application_id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await?;
    let objects: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master").fetch_one(&mut connection).await?;
    let identity = match (application_id, objects) {
        (0, 0) => Some(Identity::Empty),
        (APPLICATION_ID, _) => {
            let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(&mut connection)
                .await?;
            Some(Identity::Schema(version.unwrap_or_default()))
        }
        (0, _) if only_migrations(&mut connection).await? => Some(Identity::Empty),
        (_, _) => None,
    };
    connection.close().await?;
    Ok((identity, application_id, objects))
}

/// Whether a process died after it made the table of migrations and before it made the queue.
async fn only_migrations(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let others: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE tbl_name <> '_sqlx_migrations'")
        .fetch_one(connection)
        .await?;
    Ok(others == 0)
}

/// Brings the schema up to date, under the daemon's lock, with a copy beside the database first.
async fn migrate(
    path: &Path,
    found: i64,
    newest: i64,
    opening: Opening<'_>,
    migrations: &Migrator,
) -> Result<(), QueueError> {
    let _lock = match opening {
        Opening::Daemon(lock) if lock.database() == path => None,
        Opening::Daemon(_) | Opening::Create | Opening::Existing => match DaemonLock::beside(path).await {
            Ok(lock) => Some(lock),
            Err(QueueError::Held { .. }) if found > 0 => {
                return Err(QueueError::Older { path: path.to_owned(), found, known: newest });
            }
            Err(error) => return Err(error),
        },
    };
    let mut connection = connect(path).await?;
    if found > 0 {
        keep_copy(&mut connection, &beside(path, &format!(".schema-{found}"))).await?;
    }
    migrations
        .run(&mut connection)
        .await
        .map_err(|error| QueueError::Failed { what: "migrating", detail: error.to_string() })?;
    connection.close().await.map_err(QueueError::of("migrating"))
}

/// The copy that an earlier attempt to migrate may have left is older, or the same.
async fn keep_copy(connection: &mut SqliteConnection, copy: &Path) -> Result<(), QueueError> {
    match fs::remove_file(copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(QueueError::io(copy, error)),
        Ok(()) | Err(_) => {}
    }
    back_up(connection, copy, FILE_MODE, clock::now().unix).await?;
    let handed_over = File::open(copy).and_then(|file| hand_over(&file, directory_of(copy)));
    handed_over.map_err(|error| QueueError::io(copy, error))
}

async fn ask_often(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let asked = sqlx::query("PRAGMA busy_timeout = 3").execute(connection).await;
    asked.map(drop).map_err(QueueError::of("opening"))
}

async fn connect(path: &Path) -> Result<SqliteConnection, QueueError> {
    let opening = |error: sqlx::Error| QueueError::opening(path, &error);
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
        .map_err(opening)?;
    // The first look into the database makes the -wal and -shm files, if they are not there yet.
    sqlx::query("SELECT count(*) FROM sqlite_master").execute(&mut connection).await.map_err(opening)?;
    Ok(connection)
}
