//! One daemon a database: a lock on a file beside it. The kernel lets go of it when the process ends, however
//! it ends.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::QueueError;

/// `status` looks at the lock by taking it for a moment: a start tries again for this long.
const PATIENCE: Duration = Duration::from_millis(500);
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// The lock; held as long as this lives.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
    database: PathBuf,
}

impl DaemonLock {
    /// Takes the lock for the database at this path.
    ///
    /// # Errors
    /// When another process has it, or the lock file can't be made.
    pub async fn acquire(database: &Path) -> Result<Self, QueueError> {
        let mut waited = Duration::ZERO;
        loop {
            match Self::try_acquire(database) {
                Err(QueueError::Held { .. }) if waited < PATIENCE => {
                    tokio::time::sleep(RETRY_EVERY).await;
                    waited += RETRY_EVERY;
                }
                taken => return taken,
            }
        }
    }

    fn try_acquire(database: &Path) -> Result<Self, QueueError> {
        let path = lock_path(database);
        let mut file = open(&path, true).map_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                return QueueError::io(&path, error);
            }
            QueueError::Create { path: path.clone(), error }
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(QueueError::Held { path: database.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(QueueError::io(&path, error)),
        }
        write_pid(&mut file).map_err(|error| QueueError::io(&path, error))?;
        Ok(Self { _file: file, database: database.to_owned() })
    }

    /// The database that it locks.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }
}

/// Whether a daemon lives on the database at this path: the lock tells, not the row.
///
/// # Errors
/// When the lock file is there and can't be opened.
pub fn daemon_lives(database: &Path) -> Result<bool, QueueError> {
    let path = lock_path(database);
    let file = match open(&path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(QueueError::io(&path, error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(QueueError::io(&path, error)),
    }
}

fn lock_path(database: &Path) -> PathBuf {
    super::place::beside(database, ".lock")
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let fresh = create && !path.exists();
    let file = OpenOptions::new().read(true).write(create).create(create).truncate(false).mode(0o660).open(path)?;
    if fresh {
        file.set_permissions(Permissions::from_mode(0o660))?;
    }
    Ok(file)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    match file.read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
        _ => "an unknown process".to_owned(),
    }
}
