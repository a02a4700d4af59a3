//! Only one daemon may run per database. It holds a lock on a file beside the database, which the kernel releases when the
//! process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::location::{Location, Target};
use super::permission::file_error;
use super::process::Process;
use super::shared_file;
use crate::queue::error::QueueError;
use crate::queue::paths::companion;

const SUFFIX: &str = ".lock";

/// `status` tests the lock by taking it briefly, so a start retries for this long.
const MAX_WAIT: Duration = Duration::from_millis(500);
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
    database: PathBuf,
}

impl DaemonLock {
    /// Takes the lock for the database at this path; links are followed.
    ///
    /// # Errors
    /// When no queue can be at this path, another process holds the lock, or its file can't be created.
    pub async fn acquire(target: impl Into<Target<'_>>) -> Result<Self, QueueError> {
        Self::beside(&Location::find(target.into())?.path).await
    }

    /// Takes the lock for the database at exactly this path.
    pub(crate) async fn beside(database: &Path) -> Result<Self, QueueError> {
        let mut waited = Duration::ZERO;
        loop {
            match Self::try_acquire(database) {
                Err(QueueError::Held { .. }) if waited < MAX_WAIT => {
                    tokio::time::sleep(RETRY_EVERY).await;
                    waited += RETRY_EVERY;
                }
                taken => return taken,
            }
        }
    }

    fn try_acquire(database: &Path) -> Result<Self, QueueError> {
        let path = companion(database, SUFFIX);
        let mut file = shared_file::open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(QueueError::Held { path: database.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(file_error(&path)(error)),
        }
        write_pid(&mut file).map_err(file_error(&path))?;
        Ok(Self { _file: file, database: database.to_owned() })
    }

    /// The database that it locks.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
    }
}

/// Whether a daemon runs on the database at this path. The lock is the authority, not the row `daemon`.
///
/// # Errors
/// When the lock file exists but can't be opened.
pub fn daemon_lives(database: &Path) -> Result<bool, QueueError> {
    let Some((path, file)) = shared_file::find(database, SUFFIX)? else { return Ok(false) };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(file_error(&path)(error)),
    }
}

/// The process of the daemon that runs on the database at this path, if one does and the lock file names it.
///
/// # Errors
/// When the lock file exists but can't be opened.
pub fn daemon_process(database: &Path) -> Result<Option<Process>, QueueError> {
    let Some((_, mut file)) = shared_file::find(database, SUFFIX)? else { return Ok(None) };
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return Ok(None);
    }
    Ok(pid_in(&mut file).map(Process::of))
}

fn pid_in(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    pid_in(file).map_or("an unknown process".to_owned(), |pid| format!("process {pid}"))
}
