//! Files that the queue's group may use, whichever user creates them, with whatever umask.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::location::resolve;
use super::permission::{FILE_MODE, denied, file_error, group_by_directory};
use crate::queue::error::QueueError;
use crate::queue::paths::{companion, directory_of};

/// Creates an empty file, which appears with the right mode or not at all. SQLite gives the -wal and -shm files the mode of
/// the database.
pub(crate) fn create(path: &Path) -> Result<(), QueueError> {
    let failed = |error: io::Error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return denied(path);
        }
        QueueError::Create { path: path.to_owned(), error }
    };
    let directory = directory_of(path);
    let file = tempfile::Builder::new().prefix(".new-queue-").tempfile_in(directory).map_err(failed)?;
    hand_over(file.as_file(), directory).map_err(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(FILE_MODE)).map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(kept) if kept.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(kept) => Err(failed(kept.error)),
    }
}

/// Opens a file for reading and writing, and creates it if it doesn't exist.
pub(crate) fn open(path: &Path) -> Result<File, QueueError> {
    if !path.exists() {
        create(path)?;
    }
    OpenOptions::new().read(true).write(true).open(path).map_err(file_error(path))
}

/// Opens the file with this suffix beside the database at this path for reading; links are followed. None if the file or
/// its directory doesn't exist.
pub(crate) fn find(database: &Path, suffix: &str) -> Result<Option<(PathBuf, File)>, QueueError> {
    let path = match resolve(database) {
        Ok(database) => companion(&database, suffix),
        Err(QueueError::Create { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    match File::open(&path) {
        Ok(file) => Ok(Some((path, file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(&path)(error)),
    }
}

/// Gives a file to the group of its directory, as a setgid directory does by itself. Gives a file that root created to the
/// directory's owner, who is usually the daemon's user. Where that isn't permitted, leaves the file as it is.
pub(crate) fn hand_over(file: &File, directory: &Path) -> io::Result<()> {
    let (directory, created) = (fs::metadata(directory)?, file.metadata()?);
    let is_root = rustix::process::geteuid().is_root();
    let owner = is_root.then(|| directory.uid()).filter(|owner| *owner != created.uid());
    let group = group_by_directory(&directory).filter(|group| *group != created.gid());
    if owner.is_none() && group.is_none() {
        return Ok(());
    }
    match fchown(file, owner, group) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Metadata;
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn a_file_that_another_process_created_in_the_meantime_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        create(&path).unwrap();
        fs::write(&path, "the first one's").unwrap();
        create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "the first one's");
        let error = create(&directory.path().join("missing/queue.db")).unwrap_err();
        assert!(matches!(error, QueueError::Create { .. }), "{error:?}");
    }

    #[test]
    fn files_are_for_the_group_of_a_directory_that_the_group_may_write_to() {
        let directory = tempfile::tempdir().unwrap();
        let group_for = |mode| {
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
            group_by_directory(&fs::metadata(directory.path()).unwrap())
        };
        let own = fs::metadata(directory.path()).unwrap().gid();
        assert_eq!([0o2770, 0o770, 0o775].map(group_for), [Some(own); 3]);
        assert_eq!([0o700, 0o2755, 0o1777].map(group_for), [None; 3]);
    }

    /// Root's files change hands; those of any other user belong to it and its group from the start.
    #[test]
    fn a_file_is_given_to_the_owner_and_the_group_of_such_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        fs::set_permissions(directory, Permissions::from_mode(0o770)).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(directory, Some(4711), Some(4712)).unwrap();
        }
        let owners = |file: &Metadata| (file.uid(), file.gid());
        for name in ["queue.db", "queue.db.mark"] {
            let file = open(&directory.join(name)).unwrap().metadata().unwrap();
            assert_eq!(owners(&file), owners(&fs::metadata(directory).unwrap()), "{name}");
            assert_eq!(file.mode() & 0o777, FILE_MODE, "{name}");
        }
    }
}
