//! Opening the database: is it ours, of a version that we know, where locks hold; making and migrating it.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::backup::back_up;
use super::error::QueueError;
use super::lock::DaemonLock;
use super::place::{Place, beside, refuse_network_filesystem};
use crate::clock;

static MIGRATIONS: Migrator = sqlx::migrate!();
/// `PRAGMA application_id` of a certcommit queue: "CCMT".
const APPLICATION_ID: i64 = 1_128_484_180;
pub(super) const FILE_MODE: u32 = 0o660;
/// Well under 1,000 pages: what writers of older SQLite versions checkpoint at has a bug there.
const CHECKPOINT_PAGES: &str = "400";
const WAL_BYTES: &str = "4194304";
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

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
    place: Place,
}

/// What a file is, by what it says of itself.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Empty,
    Schema(i64),
}

impl Queue {
    /// Opens the queue at this path.
    ///
    /// # Errors
    /// See [`QueueError`]; a database that isn't ours, or not of this version, is left as it is.
    pub async fn open(path: &Path, opening: Opening<'_>) -> Result<Self, QueueError> {
        Self::open_with(path, opening, &MIGRATIONS).await
    }

    async fn open_with(path: &Path, opening: Opening<'_>, migrations: &Migrator) -> Result<Self, QueueError> {
        refuse_network_filesystem(path)?;
        let existed = path.try_exists().map_err(|error| QueueError::io(path, error))?;
        if !existed {
            if matches!(opening, Opening::Existing) {
                return Err(QueueError::Missing(path.to_owned()));
            }
            create(path)?;
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
        Ok(Self { connection, place: Place::of(path)? })
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

    /// The file that is open.
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

fn create(path: &Path) -> Result<(), QueueError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let file = match created {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(QueueError::io(path, error)),
        Err(error) => return Err(QueueError::Create { path: path.to_owned(), error }),
    };
    // Whatever the umask: the group enqueues. The -wal and -shm files inherit it.
    file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(|error| QueueError::io(path, error))
}

/// Looks at the file without writing to it.
async fn identify(path: &Path) -> Result<Identity, QueueError> {
    let opening = |error: sqlx::Error| QueueError::opening(path, &error);
    let foreign = |why: String| QueueError::Foreign { path: path.to_owned(), why };
    let metadata = fs::metadata(path).map_err(|error| QueueError::io(path, error))?;
    if !metadata.is_file() {
        return Err(foreign("it is not a file".to_owned()));
    }
    fs::File::open(path).map_err(|error| QueueError::io(path, error))?;
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await.map_err(opening)?;
    let application_id: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await.map_err(opening)?;
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master").fetch_one(&mut connection).await.map_err(opening)?;
    let identity = match (application_id, tables) {
        (0, 0) => Identity::Empty,
        (APPLICATION_ID, _) => {
            let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(&mut connection)
                .await
                .map_err(opening)?;
            Identity::Schema(version.unwrap_or_default())
        }
        (0, _) if only_migrations(&mut connection).await.map_err(opening)? => Identity::Empty,
        (other, tables) => {
            return Err(foreign(format!(
                "an SQLite database of another program: application_id {other}, {tables} objects"
            )));
        }
    };
    connection.close().await.map_err(opening)?;
    Ok(identity)
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
        Opening::Daemon(_) | Opening::Create | Opening::Existing => match DaemonLock::acquire(path).await {
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
    back_up(connection, copy, clock::now().unix).await?;
    Ok(())
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
    // The log and its index are there from the first read on.
    sqlx::query("SELECT count(*) FROM sqlite_master").fetch_one(&mut connection).await.map_err(opening)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::migrate::{Migration, MigrationType};
    use std::borrow::Cow;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    struct Directory(tempfile::TempDir);

    impl Directory {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn database(&self) -> PathBuf {
            self.0.path().join("queue.db")
        }
    }

    async fn sql(path: &Path, statement: &'static str) {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
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
        let mut queue = Queue::open_with(&directory.database(), Opening::Create, &migrator).await.unwrap();
        sqlx::query("SELECT later FROM daemon").fetch_one(&mut queue.connection).await.unwrap();
        let copy = directory.0.path().join("queue.db.schema-1");
        let mut copy = Queue::open(&copy, Opening::Existing).await.unwrap();
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM submissions").fetch_one(&mut copy.connection).await.unwrap();
        assert_eq!(rows, 1);
    }

    #[tokio::test]
    async fn a_second_daemon_is_told_who_holds_the_database() {
        let directory = Directory::new();
        let _lock = DaemonLock::acquire(&directory.database()).await.unwrap();
        let second = DaemonLock::acquire(&directory.database()).await.unwrap_err();
        assert!(second.to_string().contains(&format!("process {}", std::process::id())), "{second}");
        assert!(super::super::daemon_lives(&directory.database()).unwrap());
    }
}
