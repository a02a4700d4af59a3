//! Where the database lies: which files are open, and whether locks hold there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::QueueError;

/// What an open database in WAL mode consists of: the file itself, its log, and the index of the log, which is also
/// where its users lock each other out.
const FILES: [&str; 3] = ["", "-wal", "-shm"];

/// Which files are open.
#[derive(Debug, Clone)]
pub struct Place {
    path: PathBuf,
    files: [(PathBuf, Identity); 3],
}

/// What makes a file the same file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Place {
    /// The place of the database at this path, which a connection holds open.
    pub(super) fn of(path: &Path) -> Result<Self, QueueError> {
        let [database, log, index] = FILES.map(|suffix| {
            let file = beside(path, suffix);
            let identity = Identity::of(&file).map_err(|error| QueueError::io(&file, error))?;
            Ok((file, identity))
        });
        Ok(Self { path: path.to_owned(), files: [database?, log?, index?] })
    }

    /// Checks that the paths still lead to the files that are open. Those that were replaced or deleted go on taking
    /// writes, into nowhere, and locks on them keep nobody out.
    ///
    /// # Errors
    /// [`QueueError::Replaced`].
    pub fn check(&self) -> Result<(), QueueError> {
        for (file, identity) in &self.files {
            match Identity::of(file) {
                Ok(now) if now == *identity => {}
                Ok(_) => return Err(QueueError::Replaced(file.clone())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(QueueError::Replaced(file.clone()));
                }
                Err(error) => return Err(QueueError::io(&self.path, error)),
            }
        }
        Ok(())
    }
}

/// A path beside the database: its name with a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Magic numbers of network filesystems, from statfs(2).
const NETWORK_FILESYSTEMS: [(i64, &str); 8] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
];

/// The directory that a path lies in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a path on a network filesystem, where SQLite's locks don't hold.
pub(super) fn refuse_network_filesystem(path: &Path) -> Result<(), QueueError> {
    let found = rustix::fs::statfs(directory_of(path)).map_err(|error| match io::Error::from(error) {
        error if error.kind() == io::ErrorKind::NotFound => QueueError::Create { path: path.to_owned(), error },
        error => QueueError::io(path, error),
    })?;
    let magic = found.f_type & 0xffff_ffff;
    match NETWORK_FILESYSTEMS.iter().find(|(number, _)| *number == magic) {
        Some((_, kind)) => Err(QueueError::Network { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

/// The name of the group that owns the file, or its directory.
pub(super) fn group_of(path: &Path) -> String {
    let metadata = fs::metadata(path).or_else(|_| fs::metadata(path.parent().unwrap_or(path)));
    let Ok(gid) = metadata.map(|metadata| metadata.gid().to_string()) else {
        return "that owns its directory".to_owned();
    };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&gid)).then(|| name.to_owned())
    });
    name.unwrap_or(gid)
}

#[cfg(test)]
mod tests {
    use super::super::{Opening, Queue};
    use super::*;

    #[tokio::test]
    async fn a_file_that_was_replaced_or_deleted_is_noticed() {
        for suffix in FILES {
            let directory = tempfile::tempdir().unwrap();
            let database = directory.path().join("queue.db");
            let queue = Queue::open(&database, Opening::Create).await.unwrap();
            queue.place().check().unwrap();
            let file = beside(&database, suffix);
            fs::rename(&file, directory.path().join("aside")).unwrap();
            assert!(matches!(queue.place().check(), Err(QueueError::Replaced(path)) if path == file));
            fs::write(&file, "").unwrap();
            assert!(matches!(queue.place().check(), Err(QueueError::Replaced(path)) if path == file));
            fs::rename(directory.path().join("aside"), &file).unwrap();
            queue.place().check().unwrap();
        }
    }
}
