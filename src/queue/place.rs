//! Where the database lies: which files are open, the two that SQLite keeps beside it among them, and whether locks hold
//! there.

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
    match network_filesystem(found.f_type) {
        Some(kind) => Err(QueueError::Network { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

/// The name of the network filesystem with this magic number. Some machines give the number with its sign extended.
pub(super) fn network_filesystem(magic: i64) -> Option<&'static str> {
    let magic = magic & 0xffff_ffff;
    NETWORK_FILESYSTEMS.iter().find(|(number, _)| *number == magic).map(|(_, kind)| *kind)
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
