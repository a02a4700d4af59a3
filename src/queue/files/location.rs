//! Where a database really is, and whether a queue can be there. Symbolic links are followed. A file with two names is
//! refused, because two daemons could hold it, each with its own lock and write-ahead log.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::filesystem::{Filesystem, Mounts};
use super::permission::file_error;
use crate::config::{DatabaseSettings, UnsafeFilesystem};
use crate::queue::error::QueueError;
use crate::queue::paths::directory_of;

/// How many symbolic links the kernel follows.
const MAX_LINKS: usize = 40;

/// The path of a database, and the kinds of filesystem on which it may be.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    path: &'a Path,
    unsafe_filesystem: UnsafeFilesystem,
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Target<'a> {
    fn from(path: &'a P) -> Self {
        Self { path: path.as_ref(), unsafe_filesystem: UnsafeFilesystem::Refuse }
    }
}

impl<'a> From<&'a DatabaseSettings> for Target<'a> {
    fn from(settings: &'a DatabaseSettings) -> Self {
        Self { path: &settings.path, unsafe_filesystem: settings.unsafe_filesystem }
    }
}

/// Where a database is.
#[derive(Debug)]
pub(crate) struct Location {
    /// The path as it was given.
    pub(crate) named: PathBuf,
    /// The path of the file itself, or of the one to create. SQLite follows links too, and keeps its -wal and -shm files
    /// beside this one.
    pub(crate) path: PathBuf,
    /// The type of the filesystem, if it is one that the configuration had to allow.
    pub(crate) unsafe_filesystem: Option<String>,
}

impl Location {
    /// Finds the database at a path.
    ///
    /// # Errors
    /// When the path can't be accessed, or no queue can be there.
    pub(crate) fn find(target: Target<'_>) -> Result<Self, QueueError> {
        let path = resolve(target.path)?;
        let mounts = Mounts::read()?;
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && mounts.is_point(&path) => {
                return Err(QueueError::MountPoint(path));
            }
            Ok(metadata) if metadata.is_file() => refuse_links(&path, &metadata)?,
            // It isn't a regular file; opening it reports that.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error(&path)(error)),
        }
        let filesystem = mounts.of(directory_of(&path)).map_err(file_error(&path))?;
        let unsafe_filesystem = match (filesystem, target.unsafe_filesystem) {
            (Filesystem::Network(kind), _) => return Err(QueueError::Network { path, kind }),
            (Filesystem::Served(kind), UnsafeFilesystem::Refuse) => return Err(QueueError::Served { path, kind }),
            (Filesystem::Served(kind), UnsafeFilesystem::Allow) => Some(kind),
            (Filesystem::Local, _) => None,
        };
        Ok(Self { named: target.path.to_owned(), path, unsafe_filesystem })
    }
}

/// Refuses a file with more than one name.
pub(crate) fn refuse_links(path: &Path, metadata: &Metadata) -> Result<(), QueueError> {
    if metadata.nlink() <= 1 || current_names(path).is_some_and(|names| names <= 1) {
        return Ok(());
    }
    let root = root_of(path, metadata.dev());
    Err(QueueError::Linked { path: path.to_owned(), names: metadata.nlink(), root })
}

/// How many names a file has now. FUSE caches that for some seconds, and the cached number may include the temporary name of
/// a file that was just created.
fn current_names(path: &Path) -> Option<u32> {
    statx(CWD, path, AtFlags::STATX_FORCE_SYNC, StatxFlags::NLINK).ok().map(|answer| answer.stx_nlink)
}

/// The topmost directory above a path on the same filesystem: all names of a file are below it.
fn root_of(path: &Path, device: u64) -> PathBuf {
    let same = |directory: &&Path| fs::metadata(directory).is_ok_and(|metadata| metadata.dev() == device);
    path.ancestors().skip(1).take_while(same).last().unwrap_or(directory_of(path)).to_owned()
}

/// The path of the file itself. Follows links, even to a file that doesn't exist yet.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, QueueError> {
    let mut named = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::canonicalize(&named) {
            Ok(real) => return Ok(real),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error(path)(error)),
        }
        match fs::read_link(&named) {
            Ok(target) => named = directory_of(&named).join(target),
            Err(_) => return within_its_directory(&named),
        }
    }
    Err(file_error(path)(io::Error::other("too many symbolic links")))
}

fn within_its_directory(path: &Path) -> Result<PathBuf, QueueError> {
    let directory = fs::canonicalize(directory_of(path)).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return QueueError::Create { path: path.to_owned(), error };
        }
        file_error(path)(error)
    })?;
    Ok(directory.join(path.file_name().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(directory.path()).unwrap();
        (directory, real)
    }

    #[test]
    fn links_are_followed_to_the_file_or_to_where_it_will_be() {
        let (_kept, directory) = directory();
        fs::create_dir(directory.join("real")).unwrap();
        symlink("real", directory.join("folder")).unwrap();
        symlink("folder/queue.db", directory.join("one.db")).unwrap();
        symlink(directory.join("one.db"), directory.join("two.db")).unwrap();
        let real = directory.join("real/queue.db");
        for made in [false, true] {
            if made {
                fs::write(&real, "").unwrap();
            }
            for name in ["real/queue.db", "folder/queue.db", "one.db", "two.db", "folder/../two.db"] {
                assert_eq!(resolve(&directory.join(name)).unwrap(), real, "{name}");
            }
        }
        assert_eq!(resolve(Path::new("queue.db")).unwrap(), std::env::current_dir().unwrap().join("queue.db"));
    }

    #[test]
    fn a_link_into_a_missing_directory_or_in_a_circle_is_an_error() {
        let (_kept, directory) = directory();
        symlink("missing/queue.db", directory.join("nowhere.db")).unwrap();
        let error = resolve(&directory.join("nowhere.db")).unwrap_err();
        assert!(matches!(&error, QueueError::Create { path, .. } if path.ends_with("missing/queue.db")), "{error:?}");
        symlink("b.db", directory.join("a.db")).unwrap();
        symlink("a.db", directory.join("b.db")).unwrap();
        let error = resolve(&directory.join("a.db")).unwrap_err();
        assert!(matches!(&error, QueueError::CannotOpen(_)), "{error:?}");
    }

    #[test]
    fn a_file_with_two_names_is_refused_with_a_command_that_finds_the_other() {
        let (_kept, directory) = directory();
        let file = directory.join("it's a queue.db");
        fs::write(&file, "").unwrap();
        Location::find(Target::from(&file)).unwrap();
        fs::hard_link(&file, directory.join("other.db")).unwrap();
        let error = Location::find(Target::from(&file)).unwrap_err();
        let QueueError::Linked { names: 2, root, .. } = &error else { panic!("{error:?}") };
        assert!(directory.starts_with(root), "{root:?}");
        let find =
            format!("find {} -xdev -samefile '{}'", root.display(), file.display().to_string().replace('\'', r"'\''"));
        assert!(error.with_remedy().contains(&find), "{error}");
    }
}
