//! Opening the database: is it ours, of a version that we know, where locks hold; making and migrating it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::backup::back_up;
use super::daemon_lock::DaemonLock;
use super::error::{QueueError, is_rollback_needed};
use super::file_identity::{FileIdentity, beside, directory_of};
use super::filesystem::is_read_only;
use super::location::{Location, Target};
use super::permission;
use super::restore_marker::RestoreMarker;
use super::schema;
use super::shared_file::{self, FILE_MODE, hand_over};
use crate::clock;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!();
/// `PRAGMA application_id` of a certcommit queue: "CCMT".
pub(super) const APPLICATION_ID: i64 = 1_128_484_180;
/// Well under 1,000 pages: what writers of older SQLite versions checkpoint at has a bug there.
const CHECKPOINT_PAGES: &str = "400";
const WAL_BYTES: &str = "4194304";
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// What the migrations are written down in.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";
/// A database that has all of these is a queue, or was made of one.
const OWN_TABLES: [&str; 5] = [MIGRATIONS_TABLE, "submissions", "requests", "control", "state_counts"];

/// Who opens a queue.
#[derive(Debug, Clone, Copy)]
pub enum Opening<'a> {
    /// The daemon, which holds the lock: makes and migrates the database.
    Daemon(&'a DaemonLock),
    /// A command that writes, and makes the database if there is none.
    Create,
    /// A command that needs the queue to be there, and brings its schema up to date.
    Existing,
    /// A command that only looks: nothing is made, and nothing brought up to date.
    Looking,
}

impl Opening<'_> {
    fn makes(self) -> bool {
        matches!(self, Self::Daemon(_) | Self::Create)
    }
}

/// What was seen in a file.
enum Seen {
    Known(Identity),
    /// A queue that doesn't say which migrations it went through.
    Nameless,
    /// Another program's.
    Foreign {
        application_id: i64,
        objects: i64,
    },
}

/// An open queue.
#[derive(Debug)]
pub struct Queue {
    pub(super) connection: SqliteConnection,
    /// The version of the schema that was compared, and whose rules are insisted on.
    pub(super) compared: Option<i64>,
    asks_often: bool,
    place: FileIdentity,
    unsafe_filesystem: Option<String>,
}

/// What a file is, by what it says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// No queue yet.
    Empty,
    /// A queue that went through these migrations.
    Queue(BTreeSet<i64>),
    /// What a dump of a queue makes: all of it but the application id.
    Unmarked(BTreeSet<i64>),
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
            if !opening.makes() {
                return Err(none_there(path, QueueError::Missing));
            }
            shared_file::create(path)?;
        }
        if !matches!(opening, Opening::Looking) && is_read_only(directory_of(path)) {
            return Err(QueueError::ReadOnlyFilesystem { path: path.to_owned() });
        }
        if !matches!(opening, Opening::Existing) && !permission::is_usable(path) {
            return Err(QueueError::permission(path));
        }
        let applied = match identify(path).await? {
            Identity::Empty if !opening.makes() => return Err(none_there(path, QueueError::Empty)),
            Identity::Empty => BTreeSet::new(),
            Identity::Unmarked(_) => return Err(QueueError::Unmarked(path.to_owned())),
            Identity::Queue(applied) => applied,
        };
        if let Some(known) = pending(path, &applied, migrations)? {
            if let (Opening::Looking, Some(found)) = (opening, applied.last()) {
                return Err(QueueError::Outdated { path: path.to_owned(), found: *found, known });
            }
            migrate(path, &applied, opening, migrations).await?;
        }
        let connection = connect(path).await?;
        let place = FileIdentity::of(&location)?;
        let unsafe_filesystem = location.unsafe_filesystem;
        let mut queue = Self { connection, compared: None, asks_often: false, place, unsafe_filesystem };
        if matches!(opening, Opening::Daemon(_)) {
            queue.insist_on_rules().await?;
        }
        Ok(queue)
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

    /// Whether it lies on a filesystem that is mounted read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        is_read_only(directory_of(self.path()))
    }

    /// The files that are open.
    #[must_use]
    pub fn place(&self) -> &FileIdentity {
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

/// Why there is no queue: none was made yet, or the mark beside it says otherwise.
pub(super) fn none_there(path: &Path, not_yet: fn(PathBuf) -> QueueError) -> QueueError {
    match RestoreMarker::look(path) {
        Ok(Some(made)) if made > 0 => QueueError::Emptied { path: path.to_owned(), made },
        Ok(_) => not_yet(path.to_owned()),
        Err(error) => error,
    }
}

/// The newest version that is known here, if the database lacks any that is.
pub(super) fn pending(path: &Path, applied: &BTreeSet<i64>, migrations: &Migrator) -> Result<Option<i64>, QueueError> {
    let known: BTreeSet<i64> = migrations.iter().map(|migration| migration.version).collect();
    let newest = known.last().copied().unwrap_or_default();
    match applied.difference(&known).last() {
        Some(found) => Err(QueueError::Newer { path: path.to_owned(), found: *found, known: newest }),
        None => Ok((!known.is_subset(applied)).then_some(newest)),
    }
}

/// Looks at the file without writing to it, unless a crash left a journal that has to be rolled back first, as
/// everyone who opens it would.
pub(super) async fn identify(path: &Path) -> Result<Identity, QueueError> {
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
    let path = path.to_owned();
    match identified.map_err(|error| QueueError::opening(&path, &error))? {
        Seen::Known(identity) => Ok(identity),
        Seen::Nameless => {
            let detail = format!("the table {MIGRATIONS_TABLE}, which says of what version it is, is missing");
            Err(QueueError::Corrupt { path, detail })
        }
        Seen::Foreign { application_id, objects } => {
            let why =
                format!("an SQLite database of another program: application_id {application_id}, {objects} objects");
            Err(QueueError::Foreign { path, why })
        }
    }
}

async fn read_identity(options: SqliteConnectOptions) -> Result<Seen, sqlx::Error> {
    let mut connection = options.connect().await?;
    let application_id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await?;
    let objects: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master").fetch_one(&mut connection).await?;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(&mut connection).await?;
    let has = |names: &[&str]| names.iter().all(|name| tables.iter().any(|table| table == name));
    // A process may have died after it made the table of migrations and before it made the queue.
    let only_migrations = objects == 0 || has(&[MIGRATIONS_TABLE]) && tables.len() == 1;
    let seen = match application_id {
        0 | APPLICATION_ID if only_migrations => Seen::Known(Identity::Empty),
        APPLICATION_ID if !has(&[MIGRATIONS_TABLE]) => Seen::Nameless,
        APPLICATION_ID => Seen::Known(Identity::Queue(schema::applied(&mut connection).await?)),
        0 if has(&OWN_TABLES) => Seen::Known(Identity::Unmarked(schema::applied(&mut connection).await?)),
        _ => Seen::Foreign { application_id, objects },
    };
    connection.close().await?;
    Ok(seen)
}

/// Brings the schema up to date, under the daemon's lock, with a copy beside the database first.
async fn migrate(
    path: &Path,
    applied: &BTreeSet<i64>,
    opening: Opening<'_>,
    migrations: &Migrator,
) -> Result<(), QueueError> {
    let found = applied.last().copied();
    let _lock = match opening {
        Opening::Daemon(lock) if lock.database() == path => None,
        Opening::Daemon(_) | Opening::Create | Opening::Existing | Opening::Looking => {
            match (DaemonLock::beside(path).await, found) {
                (Ok(lock), _) => Some(lock),
                (Err(QueueError::Held { .. }), Some(found)) => {
                    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
                    return Err(QueueError::Older { path: path.to_owned(), found, known });
                }
                (Err(error), _) => return Err(error),
            }
        }
    };
    let mut connection = connect(path).await?;
    if let Some(found) = found {
        // What is migrated has to be what the migrations were written for.
        let flaws = schema::flaws(&mut connection, migrations).await?;
        if !flaws.is_empty() {
            return Err(QueueError::Altered { path: path.to_owned(), flaws: schema::list(&flaws) });
        }
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

pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, QueueError> {
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
