//! The identity of the open files, by device and inode: of the database, and of the two that SQLite keeps beside it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::location::{Location, refuse_links};
use super::permission::file_error;
use crate::queue::error::QueueError;
use crate::queue::paths::companion;

/// SQLite doesn't replace these while a connection is open. If someone does, other processes write to other files than this
/// one.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// The files of an open database.
#[derive(Debug, Clone)]
pub struct FileIdentity {
    database: Identity,
    /// SQLite's files, and the link by which the database was opened, if any.
    others: Vec<Identity>,
}

#[derive(Debug, Clone)]
struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// The files of a database that is open.
    pub(crate) fn of(location: &Location) -> Result<Self, QueueError> {
        let companions = COMPANIONS.iter().map(|suffix| companion(&location.path, suffix));
        let link = (location.named != location.path).then(|| location.named.clone());
        let others = companions.chain(link).map(Identity::of);
        Ok(Self { database: Identity::of(location.path.clone())?, others: others.collect::<Result<_, _>>()? })
    }

    /// The database's own path.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database.path
    }

    /// The device and the inode of the database.
    pub(crate) fn device_and_inode(&self) -> (u64, u64) {
        (self.database.device, self.database.inode)
    }

    /// Checks that the paths still lead to the open files, and that the database has no other name. Files that were replaced
    /// or deleted still accept writes, which are lost.
    ///
    /// # Errors
    /// [`QueueError::Replaced`]; [`QueueError::Linked`], which may be temporary.
    pub fn check(&self) -> Result<(), QueueError> {
        let database = self.database.check()?;
        self.others.iter().try_for_each(|file| file.check().map(drop))?;
        refuse_links(&self.database.path, &database)
    }
}

impl Identity {
    fn of(path: PathBuf) -> Result<Self, QueueError> {
        let metadata = fs::metadata(&path).map_err(file_error(&path))?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), path })
    }

    fn check(&self) -> Result<Metadata, QueueError> {
        match fs::metadata(&self.path) {
            Ok(now) if (now.dev(), now.ino()) == (self.device, self.inode) => Ok(now),
            Ok(_) => Err(QueueError::Replaced(self.path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(QueueError::Replaced(self.path.clone())),
            Err(error) => Err(file_error(&self.path)(error)),
        }
    }
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
            queue.files().check().unwrap();
            let file = companion(&database, suffix);
            fs::rename(&file, directory.path().join("aside")).unwrap();
            assert!(matches!(queue.files().check(), Err(QueueError::Replaced(_))), "{suffix}");
            fs::write(&file, "").unwrap();
            let error = queue.files().check().unwrap_err();
            assert!(error.to_string().starts_with(file.to_str().unwrap()), "{error}");
        }
    }
}
