//! Backups: copies of the queue that are complete, checked and paused.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempPath;

use super::connection::Queue;
use super::error::{Fault, QueueError};
use super::files::permission::file_error;
use super::paths::{companion, directory_of};
use super::run::pause;
use crate::cause::PauseCause;
use crate::clock::UnixMillis;

/// A copy holds everything that the queue does, and may be anywhere: only its owner may read it.
const PRIVATE: u32 = 0o600;

/// The files that SQLite and certcommit keep beside a database: a copy of that name would be mistaken for one of them.
const COMPANIONS: [&str; 5] = ["-wal", "-shm", "-journal", ".lock", ".mark"];

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// Submissions, in whatever state.
    pub submissions: i64,
    /// Requests on record.
    pub requests: i64,
    /// The file's size.
    pub bytes: u64,
}

impl Queue {
    /// Writes a copy of the queue, as it is at this moment, to a new file that only its owner can read. Others can use the
    /// queue meanwhile. The copy is checked, and paused, because what is pending in it may be sent in the meantime.
    ///
    /// # Errors
    /// When the file exists or can't be written, or the copy isn't intact; then no copy is left.
    pub async fn back_up(&mut self, file: &Path, now: UnixMillis) -> Result<Backup, QueueError> {
        refuse_companions(self.path(), file)?;
        back_up(&mut self.connection, file, PRIVATE, now).await
    }
}

/// Copies a queue to a new file with this mode, and pauses the copy.
pub(super) async fn back_up(
    connection: &mut SqliteConnection,
    file: &Path,
    mode: u32,
    now: UnixMillis,
) -> Result<Backup, QueueError> {
    let (partial, mut copy) = checked_copy(connection, file).await?;
    let failed = |error| failed("pausing the copy", file, &error);
    let cause = PauseCause::RestoredBackup { written_at: now.seconds() };
    pause(&mut copy, &cause.into()).await.map_err(failed)?;
    let counts = sqlx::query_as("SELECT (SELECT count(*) FROM submissions), (SELECT count(*) FROM requests)");
    let (submissions, requests) = counts.fetch_one(&mut copy).await.map_err(failed)?;
    copy.close().await.map_err(failed)?;
    let bytes = fs::metadata(&partial.path).map_err(file_error(&partial.path))?.len();
    partial.publish(file, mode).map_err(refused(file))?;
    Ok(Backup { submissions, requests, bytes })
}

/// Copies a database to a new file with this mode. Its schema needn't be intact.
pub(super) async fn copy_as_it_is(connection: &mut SqliteConnection, file: &Path, mode: u32) -> Result<(), QueueError> {
    let (partial, copy) = checked_copy(connection, file).await?;
    copy.close().await.map_err(QueueError::of("closing the copy"))?;
    partial.publish(file, mode).map_err(refused(file))
}

/// Copies a database beside the file that is to be created, and checks the copy.
async fn checked_copy(
    connection: &mut SqliteConnection,
    file: &Path,
) -> Result<(Partial, SqliteConnection), QueueError> {
    if file.try_exists().map_err(refused(file))? {
        return Err(refused(file)(io::ErrorKind::AlreadyExists.into()));
    }
    let partial = Partial::begin(file).map_err(refused(file))?;
    let failed = |error| failed("copying the queue", file, &error);
    let copying = sqlx::query("VACUUM INTO ?").bind(partial.path.to_string_lossy().into_owned());
    copying.execute(connection).await.map_err(failed)?;
    // No other process uses the copy yet, and it is synced as a whole, so it needs no journal. A crash would leave one behind.
    let options = SqliteConnectOptions::new()
        .filename(&partial.path)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off);
    let mut copy = options.connect().await.map_err(failed)?;
    let verdict: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut copy).await.map_err(failed)?;
    if verdict != "ok" {
        return Err(QueueError::Damaged(Fault { what: Some("checking the copy"), detail: verdict }));
    }
    Ok((partial, copy))
}

fn refused(file: &Path) -> impl Fn(io::Error) -> QueueError {
    |error| QueueError::Create { path: file.to_owned(), error }
}

/// The error of a statement that writes the copy. If a disk is full, it is the copy's: the queue is only read.
fn failed(what: &'static str, file: &Path, error: &sqlx::Error) -> QueueError {
    let error = QueueError::about(what, error);
    if matches!(error, QueueError::Full(_)) { refused(file)(io::ErrorKind::StorageFull.into()) } else { error }
}

/// The copy while it is written, beside its final path. Deleted when dropped, unless it is published.
struct Partial {
    path: TempPath,
    /// Locked while it is written, so that two backups to the same file can't overwrite each other.
    file: File,
}

impl Partial {
    /// Creates an empty file that only its owner can read, and removes what an interrupted backup left.
    fn begin(destination: &Path) -> io::Result<Self> {
        let path = std::path::absolute(companion(destination, ".partial"))?;
        let create = || OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&path);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                clear(&path)?;
                create()?
            }
            created => created?,
        };
        lock(&file, &path)?;
        Ok(Self { path: TempPath::try_from_path(path)?, file })
    }

    /// Gives the copy its name, durably, unless a file of that name appeared in the meantime.
    fn publish(self, file: &Path, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))?;
        self.file.sync_all()?;
        self.path.persist_noclobber(file)?;
        File::open(directory_of(file))?.sync_all()
    }
}

/// Removes what an interrupted backup left, unless another one is writing it. A link is not followed.
fn clear(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other(format!("{} exists, and is not a file", path.display())));
    }
    lock(&File::open(path)?, path)?;
    fs::remove_file(path)
}

fn lock(file: &File, path: &Path) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::Error::other(format!("another backup is writing {}", path.display()))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn refuse_companions(database: &Path, file: &Path) -> Result<(), QueueError> {
    let refused = refused(file);
    let resolved = |path: &Path| -> io::Result<PathBuf> {
        Ok(fs::canonicalize(directory_of(path))?.join(path.file_name().unwrap_or_default()))
    };
    let (database, requested) = (resolved(database).map_err(&refused)?, resolved(file).map_err(&refused)?);
    if COMPANIONS.iter().any(|suffix| companion(&database, suffix) == requested) {
        return Err(refused(io::Error::other("that is the name of a file that belongs to the queue")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Opening;
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_551_113_065_000);

    async fn queue(directory: &Path) -> Queue {
        let mut queue = Queue::open(&directory.join("queue.db"), Opening::Create).await.unwrap();
        sqlx::query("INSERT INTO submissions (certificate_id) VALUES ('abcb1234'), ('abcb1235')")
            .execute(&mut queue.connection)
            .await
            .unwrap();
        queue
    }

    #[tokio::test]
    async fn a_backup_is_a_paused_queue_that_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        let file = directory.path().join("backup.db");
        let backup = queue.back_up(&file, NOW).await.unwrap();
        assert_eq!((backup.submissions, backup.requests), (2, 0));
        assert_eq!(backup.bytes, fs::metadata(&file).unwrap().len());
        let mut copy = Queue::open(&file, Opening::Existing).await.unwrap();
        let (paused, reason): (bool, String) =
            sqlx::query_as("SELECT paused, pause_reason FROM control").fetch_one(&mut copy.connection).await.unwrap();
        assert!(paused && reason.contains("a backup of 2019-02-25T16:44:25Z"), "{reason}");
        let paused: bool =
            sqlx::query_scalar("SELECT paused FROM control").fetch_one(&mut queue.connection).await.unwrap();
        assert!(!paused, "the queue itself isn't paused");
    }

    #[tokio::test]
    async fn a_file_that_exists_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        let file = directory.path().join("notes.txt");
        fs::write(&file, "mine").unwrap();
        let refused = queue.back_up(&file, NOW).await.unwrap_err().to_string();
        assert!(refused.contains("notes.txt can't be created"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_partial_copy_of_an_interrupted_backup_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        fs::write(directory.path().join("backup.db.partial"), "half").unwrap();
        queue.back_up(&directory.path().join("backup.db"), NOW).await.unwrap();
        assert!(!directory.path().join("backup.db.partial").exists());
    }

    #[tokio::test]
    async fn a_link_in_place_of_the_partial_copy_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        let victim = directory.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, directory.path().join("backup.db.partial")).unwrap();
        let refused = queue.back_up(&directory.path().join("backup.db"), NOW).await.unwrap_err().to_string();
        assert!(refused.contains("backup.db.partial exists"), "{refused}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    }

    #[tokio::test]
    async fn only_its_owner_can_read_a_backup_whatever_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        let file = directory.path().join("backup.db");
        fs::write(directory.path().join("backup.db.partial"), "half").unwrap();
        queue.back_up(&file, NOW).await.unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let partial = Partial::begin(&directory.path().join("other.db")).unwrap();
        assert_eq!(fs::metadata(&partial.path).unwrap().permissions().mode() & 0o777, 0o600, "while it is written");
    }

    #[tokio::test]
    async fn two_backups_to_the_same_file_do_not_overwrite_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        let file = directory.path().join("backup.db");
        let first = Partial::begin(&file).unwrap();
        let refused = queue.back_up(&file, NOW).await.unwrap_err().to_string();
        assert!(refused.contains("another backup is writing"), "{refused}");
        assert!(first.path.exists(), "it belongs to the other backup");
    }

    #[tokio::test]
    async fn a_file_that_appears_meanwhile_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("backup.db");
        let partial = Partial::begin(&file).unwrap();
        fs::write(&file, "mine").unwrap();
        assert!(partial.publish(&file, PRIVATE).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        assert!(!directory.path().join("backup.db.partial").exists());
    }

    #[tokio::test]
    async fn a_backup_cannot_have_the_name_of_a_file_of_the_queue() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        for suffix in COMPANIONS.into_iter().chain([""]) {
            let file = directory.path().join(".").join(format!("queue.db{suffix}"));
            let refused = queue.back_up(&file, NOW).await.unwrap_err();
            assert!(matches!(refused, QueueError::Create { .. }), "{suffix}: {refused}");
        }
        assert_eq!(queue.counts().await.unwrap().open(), 2, "and the queue is as it was");
        assert!(!directory.path().join("queue.db.mark").exists());
    }

    #[tokio::test]
    async fn a_backup_that_cannot_be_written_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        let files = || fs::read_dir(directory.path()).unwrap().count();
        let before = files();
        assert!(queue.back_up(&directory.path().join("missing/backup.db"), NOW).await.is_err());
        assert_eq!(files(), before);
    }
}
