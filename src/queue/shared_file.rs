//! Files for the group that uses the queue, whoever makes them first and under whatever umask.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use super::error::QueueError;
use super::file_identity::directory_of;

pub(super) const FILE_MODE: u32 = 0o660;

/// Makes an empty file, which appears with the right mode or not at all. SQLite gives its -wal and -shm files that of
/// the database.
pub(super) fn create(path: &Path) -> Result<(), QueueError> {
    let failed = |error: io::Error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return QueueError::io(path, error);
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

/// Opens a file to read and write it, and makes it if it isn't there.
pub(super) fn open(path: &Path) -> Result<File, QueueError> {
    if !path.exists() {
        create(path)?;
    }
    OpenOptions::new().read(true).write(true).open(path).map_err(|error| QueueError::io(path, error))
}

/// Gives a file in this directory to the group that it is for, which a setgid directory has done already, and what root
/// makes to the directory's owner: the daemon's user, as a rule. Where that isn't permitted, the file stays as it is.
pub(super) fn hand_over(file: &File, directory: &Path) -> io::Result<()> {
    let (directory, made) = (fs::metadata(directory)?, file.metadata()?);
    let is_root = rustix::process::geteuid().is_root();
    let owner = is_root.then(|| directory.uid()).filter(|owner| *owner != made.uid());
    let group = group_by_directory(&directory).filter(|group| *group != made.gid());
    if owner.is_none() && group.is_none() {
        return Ok(());
    }
    match fchown(file, owner, group) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The group that files in a directory are for, if the directory says so: one that makes files in it can take the place
/// of those of others, too, and so is given nothing that it could not have.
pub(super) fn group_by_directory(directory: &Metadata) -> Option<u32> {
    (directory.mode() & 0o022 == 0o020).then(|| directory.gid())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn whoever_comes_second_to_make_the_file_finds_it_made() {
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
    fn a_directory_that_its_group_may_write_to_says_whose_its_files_are() {
        let directory = tempfile::tempdir().unwrap();
        let said = |mode| {
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
            group_by_directory(&fs::metadata(directory.path()).unwrap())
        };
        let own = fs::metadata(directory.path()).unwrap().gid();
        assert_eq!([0o2770, 0o770, 0o775].map(said), [Some(own); 3]);
        assert_eq!([0o700, 0o2755, 0o1777].map(said), [None; 3]);
    }

    /// Root's go to others; everybody else's are their own and their group's, all the same.
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
