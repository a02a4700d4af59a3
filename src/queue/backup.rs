//! A copy of the queue that can be restored: whole, checked, and paused wherever it is put.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::error::QueueError;
use super::open::{FILE_MODE, Queue};
use super::place::{beside, directory_of};
use crate::clock::UnixMillis;

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
    /// Writes a copy of the queue, as it is at this moment, to a new file, while others go on working with the
    /// queue. The copy is checked, and says of itself that it is one: a daemon that is started on it is paused,
    /// since what is pending in it may have been sent in the meantime.
    ///
    /// # Errors
    /// When the file exists, can't be written, or isn't whole afterwards; then no file of that name is left.
    pub async fn back_up(&mut self, file: &Path, now: UnixMillis) -> Result<Backup, QueueError> {
        back_up(&mut self.connection, file, now).await
    }
}

pub(super) async fn back_up(
    connection: &mut SqliteConnection,
    file: &Path,
    now: UnixMillis,
) -> Result<Backup, QueueError> {
    let refused = |error| QueueError::Create { path: file.to_owned(), error };
    if file.try_exists().map_err(refused)? {
        return Err(refused(io::ErrorKind::AlreadyExists.into()));
    }
    let partial = beside(file, ".partial");
    remove(&partial).map_err(refused)?;
    let written = match write(connection, &partial).await {
        Ok(()) => finish(&partial, now).await,
        Err(error) => Err(error),
    };
    let published = written.and_then(|backup| publish(&partial, file).map(|()| backup).map_err(refused));
    if published.is_err() {
        remove(&partial).map_err(refused)?;
    }
    published
}

async fn write(connection: &mut SqliteConnection, partial: &Path) -> Result<(), QueueError> {
    sqlx::query("VACUUM INTO ?")
        .bind(partial.to_string_lossy().into_owned())
        .execute(connection)
        .await
        .map_err(QueueError::of("copying the queue"))?;
    Ok(())
}

/// Checks the copy, and marks it as one.
async fn finish(partial: &Path, now: UnixMillis) -> Result<Backup, QueueError> {
    let failed = QueueError::of("checking the copy");
    let mut copy = SqliteConnectOptions::new().filename(partial).connect().await.map_err(&failed)?;
    let verdict: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut copy).await.map_err(&failed)?;
    if verdict != "ok" {
        return Err(QueueError::Corrupt { path: partial.to_owned(), detail: verdict });
    }
    let reason = format!(
        "this is a backup of {now}: what is pending may have been sent since. Run `certcommit verify --pending` to \
         read it back first, then `certcommit resume`"
    );
    sqlx::query("UPDATE control SET paused = 1, pause_reason = ?")
        .bind(reason)
        .execute(&mut copy)
        .await
        .map_err(&failed)?;
    let (submissions, requests) =
        sqlx::query_as("SELECT (SELECT count(*) FROM submissions), (SELECT count(*) FROM requests)")
            .fetch_one(&mut copy)
            .await
            .map_err(&failed)?;
    copy.close().await.map_err(&failed)?;
    let metadata = fs::metadata(partial).map_err(|error| QueueError::io(partial, error))?;
    Ok(Backup { submissions, requests, bytes: metadata.len() })
}

/// Gives the copy its name, durably.
fn publish(partial: &Path, file: &Path) -> io::Result<()> {
    fs::set_permissions(partial, Permissions::from_mode(FILE_MODE))?;
    File::open(partial)?.sync_all()?;
    fs::rename(partial, file)?;
    File::open(directory_of(file))?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
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
    async fn a_backup_is_a_queue_of_its_own_that_is_paused_and_says_why() {
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
        assert!(!paused, "the queue itself is not");
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
    async fn what_an_interrupted_backup_left_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        fs::write(directory.path().join("backup.db.partial"), "half").unwrap();
        queue.back_up(&directory.path().join("backup.db"), NOW).await.unwrap();
        assert!(!directory.path().join("backup.db.partial").exists());
    }

    #[tokio::test]
    async fn a_backup_that_can_not_be_written_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = queue(directory.path()).await;
        let files = || fs::read_dir(directory.path()).unwrap().count();
        let before = files();
        assert!(queue.back_up(&directory.path().join("missing/backup.db"), NOW).await.is_err());
        assert_eq!(files(), before);
    }
}
