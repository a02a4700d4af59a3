//! Which files are open: the database, and the two that SQLite keeps beside it while it is.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::QueueError;

/// While a connection is open, SQLite leaves these where they are. Without them, other processes would write
/// somewhere else.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// The files of an open database.
#[derive(Debug, Clone)]
pub struct Place {
    files: Vec<Identity>,
}

#[derive(Debug, Clone)]
struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    /// The place of a database that is open.
    pub(super) fn of(database: &Path) -> Result<Self, QueueError> {
        let companions = COMPANIONS.iter().map(|suffix| beside(database, suffix));
        let files = std::iter::once(database.to_owned()).chain(companions).map(Identity::of);
        Ok(Self { files: files.collect::<Result<_, _>>()? })
    }

    /// Checks that the paths still lead to the files that are open. Files that were replaced or deleted go on
    /// taking writes, into nowhere.
    ///
    /// # Errors
    /// [`QueueError::Replaced`].
    pub fn check(&self) -> Result<(), QueueError> {
        self.files.iter().try_for_each(Identity::check)
    }
}

impl Identity {
    fn of(path: PathBuf) -> Result<Self, QueueError> {
        let metadata = fs::metadata(&path).map_err(|error| QueueError::io(&path, error))?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), path })
    }

    fn check(&self) -> Result<(), QueueError> {
        match fs::metadata(&self.path) {
            Ok(now) if (now.dev(), now.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(QueueError::Replaced(self.path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(QueueError::Replaced(self.path.clone())),
            Err(error) => Err(QueueError::io(&self.path, error)),
        }
    }
}

/// A path beside the database: its name with a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Opening, Queue};

    #[tokio::test]
    async fn each_file_that_was_replaced_or_deleted_is_noticed() {
        for suffix in ["", "-wal", "-shm"] {
            let directory = tempfile::tempdir().unwrap();
            let database = directory.path().join("queue.db");
            let queue = Queue::open(&database, Opening::Create).await.unwrap();
            queue.place().check().unwrap();
            let file = beside(&database, suffix);
            fs::rename(&file, directory.path().join("aside")).unwrap();
            assert!(matches!(queue.place().check(), Err(QueueError::Replaced(_))), "{suffix}");
            fs::write(&file, "").unwrap();
            let error = queue.place().check().unwrap_err();
            assert!(error.to_string().starts_with(file.to_str().unwrap()), "{error}");
        }
    }
}
