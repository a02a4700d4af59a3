//! The filesystem of a path, from the kernel's list of mounts: whether locks work there, and whether a file is a mount point.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, openat, statvfs};
use rustix::io::Errno;

use super::permission::file_error;
use crate::queue::error::QueueError;

/// The kernel's list of mounts. <https://docs.kernel.org/filesystems/proc.html>, section 3.5.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The types of network filesystems.
const NETWORK: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "ceph", "afs", "coda", "lustre", "beegfs"];

/// The types of filesystems that another program or the machine's host serves, besides `fuse…`.
const SERVED: [&str; 4] = ["9p", "virtiofs", "vboxsf", "prl_fs"];

/// A kind of filesystem, with its type where that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filesystem {
    /// Locks and shared memory work.
    Local,
    /// They work only if the server supports them.
    Served(String),
    /// They don't work.
    Network(String),
}

/// The mounts that this process sees.
#[derive(Debug)]
pub(crate) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    device: u64,
    point: PathBuf,
    kind: String,
    /// Whether the filesystem as a whole is writable, whatever this mount allows.
    is_writable: bool,
}

impl Mounts {
    pub(crate) fn read() -> Result<Self, QueueError> {
        fs::read(MOUNTINFO).map(|list| Self::parse(&list)).map_err(file_error(Path::new(MOUNTINFO)))
    }

    fn parse(list: &[u8]) -> Self {
        Self(list.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// Whether something is mounted exactly at this path.
    pub(crate) fn is_point(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == path)
    }

    /// The filesystem of this directory. A device that isn't in the list is local: each subvolume has its own device.
    pub(crate) fn of(&self, directory: &Path) -> io::Result<Filesystem> {
        let device = fs::metadata(directory)?.dev();
        let mount = self.0.iter().find(|mount| mount.device == device);
        Ok(mount.map_or(Filesystem::Local, |mount| by_type(&mount.kind)))
    }
}

/// How a directory is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOnly {
    /// Its filesystem is, for every process. An error can make it so, which the flags of its mounts needn't show.
    Everywhere,
    /// This mount of it is. Other processes may have another mount of it.
    Here,
}

/// Whether this directory is read-only.
pub(crate) fn read_only(directory: &Path) -> Option<ReadOnly> {
    let is_flagged = statvfs(directory).is_ok_and(|status| status.f_flag.contains(StatVfsMountFlags::RDONLY));
    if !is_flagged {
        return matches!(unnamed_file(directory), Err(Errno::ROFS)).then_some(ReadOnly::Everywhere);
    }
    let device = fs::metadata(directory).ok().map(|status| status.dev());
    let mounts = Mounts::read().ok();
    let is_writable =
        mounts.is_some_and(|mounts| mounts.0.iter().any(|mount| Some(mount.device) == device && mount.is_writable));
    Some(if is_writable { ReadOnly::Here } else { ReadOnly::Everywhere })
}

/// A file without a name in this directory, which is gone as soon as it is closed.
pub(crate) fn unnamed_file(directory: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, directory, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
}

impl Mount {
    /// A line: number, parent, device, root, mount point, options, further fields up to a dash, type, source, and the options of
    /// the filesystem.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = std::str::from_utf8(fields.nth(2)?).ok()?;
        let (major, minor) = device.split_once(':')?;
        let point = unescaped(fields.nth(1)?);
        let mut of_filesystem = fields.skip_while(|field| *field != b"-").skip(1);
        let kind = of_filesystem.next()?;
        let options = of_filesystem.nth(1).unwrap_or_default();
        Some(Self {
            device: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
            point: PathBuf::from(OsString::from_vec(point)),
            kind: String::from_utf8_lossy(kind).into_owned(),
            is_writable: options.split(|byte| *byte == b',').any(|option| option == b"rw"),
        })
    }
}

/// In the list, spaces, tabs, newlines and backslashes are escaped as a backslash and three octal digits.
fn unescaped(mut field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    while let Some((&byte, rest)) = field.split_first() {
        let code = rest.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let (byte, rest) = match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => (escaped, &rest[3..]),
            None => (byte, rest),
        };
        plain.push(byte);
        field = rest;
    }
    plain
}

fn by_type(kind: &str) -> Filesystem {
    if NETWORK.contains(&kind) {
        return Filesystem::Network(kind.to_owned());
    }
    let is_fuse = matches!(kind, "fuse" | "fuseblk") || kind.starts_with("fuse.") || kind.starts_with("fuseblk.");
    if is_fuse || SERVED.contains(&kind) { Filesystem::Served(kind.to_owned()) } else { Filesystem::Local }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = br"22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
41 27 0:41 / /mnt/a\040b\134c rw,nosuid - fuse.bindfs /srv rw,user_id=0
42 27 254:0 /srv/queue.db /data/queue.db rw,relatime - ext4 /dev/vda rw
43 27 0:43 / /mnt/nfs rw - nfs4 host:/ ro,vers=4
nonsense
44 27 0:44";

    #[test]
    fn types_and_mount_points_with_any_name_are_read_from_the_list_of_mounts() {
        let mounts = Mounts::parse(LIST);
        let parsed: Vec<_> =
            mounts.0.iter().map(|mount| (mount.point.to_str().unwrap(), mount.kind.as_str())).collect();
        let expected = [
            ("/proc", "proc"),
            ("/", "ext4"),
            (r"/mnt/a b\c", "fuse.bindfs"),
            ("/data/queue.db", "ext4"),
            ("/mnt/nfs", "nfs4"),
        ];
        assert_eq!(parsed, expected);
        assert!(mounts.0[1].is_writable && !mounts.0[4].is_writable);
        assert_eq!(mounts.0[1].device, rustix::fs::makedev(254, 0));
        assert!(mounts.is_point(Path::new("/data/queue.db")) && !mounts.is_point(Path::new("/data")));
    }

    #[test]
    fn this_machines_own_list_can_be_read() {
        let mounts = Mounts::read().unwrap();
        assert!(mounts.is_point(Path::new("/")) && mounts.is_point(Path::new("/proc")), "{mounts:?}");
        assert_eq!(mounts.of(Path::new("/proc")).unwrap(), Filesystem::Local);
        assert!(mounts.of(Path::new("/proc/nowhere")).is_err());
    }

    #[test]
    fn a_directory_that_can_be_written_is_not_read_only() {
        assert_eq!(read_only(tempfile::tempdir().unwrap().path()), None);
    }

    #[test]
    fn the_type_of_a_filesystem_decides_whether_locks_work() {
        for kind in ["nfs", "nfs4", "cifs", "smb3", "ceph", "lustre"] {
            assert_eq!(by_type(kind), Filesystem::Network(kind.to_owned()));
        }
        for kind in ["fuse", "fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuseblk", "virtiofs", "9p", "vboxsf"] {
            assert_eq!(by_type(kind), Filesystem::Served(kind.to_owned()));
        }
        for kind in ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "fusectl", "zfs"] {
            assert_eq!(by_type(kind), Filesystem::Local, "{kind}");
        }
    }
}
