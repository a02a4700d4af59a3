//! What a path lies on, by the kernel's list of mounts: whether locks hold there, and whether a file is a mount point.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

const MOUNTS: &str = "/proc/self/mountinfo";

/// The types, as the list of mounts has them, of filesystems on other machines.
const NETWORK: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "ceph", "afs", "coda", "lustre", "beegfs"];

/// The types of those that another program or the machine's host serves, besides `fuse…`: locks hold there if it makes
/// them hold.
const SERVED: [&str; 4] = ["9p", "virtiofs", "vboxsf", "prl_fs"];

/// Magic numbers from statfs(2), for where the list of mounts can't be read or doesn't have the device. What they miss:
/// a server of 9P decides itself which number is told.
const NETWORK_NUMBERS: [(i64, &str); 8] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
];
/// The number of FUSE is that of virtiofs, too.
const SERVED_NUMBERS: [(i64, &str); 3] = [(0x6573_5546, "FUSE"), (0x0102_1997, "9P"), (0x786f_4256, "vboxsf")];

/// Whether locks hold, and shared memory is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filesystem {
    /// They do.
    Local,
    /// They do if whoever serves it makes them hold.
    Served(String),
    /// They don't.
    Network(String),
}

/// The kernel's list of mounts, as this process sees them.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    device: u64,
    point: PathBuf,
    kind: String,
}

impl Mounts {
    /// The list; an empty one where there is none to read.
    pub(crate) fn read() -> Self {
        fs::read(MOUNTS).map(|list| Self::parse(&list)).unwrap_or_default()
    }

    /// Reads the list. <https://docs.kernel.org/filesystems/proc.html>, section 3.5.
    fn parse(list: &[u8]) -> Self {
        Self(list.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// Whether something is mounted right at this path.
    pub(crate) fn is_point(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == path)
    }

    /// What this directory lies on.
    pub(crate) fn of(&self, directory: &Path) -> io::Result<Filesystem> {
        let device = fs::metadata(directory)?.dev();
        let kind = self.0.iter().find(|mount| mount.device == device).map(|mount| mount.kind.as_str());
        let number = rustix::fs::statfs(directory)?.f_type;
        Ok(kind.and_then(by_type).unwrap_or_else(|| by_number(number)))
    }
}

/// Whether what lies in this directory can't be written because it is mounted read-only, whoever wants to.
pub(crate) fn is_read_only(directory: &Path) -> bool {
    rustix::fs::statvfs(directory).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::RDONLY))
}

impl Mount {
    /// A line: number, parent, device, root, mount point, options, further fields up to a dash, type, and so on.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = std::str::from_utf8(fields.nth(2)?).ok()?;
        let (major, minor) = device.split_once(':')?;
        let point = unescaped(fields.nth(1)?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Self {
            device: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
            point: PathBuf::from(OsString::from_vec(point)),
            kind: String::from_utf8_lossy(kind).into_owned(),
        })
    }
}

/// The list has spaces, tabs, newlines and backslashes as three octal digits after a backslash.
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

/// What the type says; none if it says nothing.
fn by_type(kind: &str) -> Option<Filesystem> {
    if NETWORK.contains(&kind) {
        return Some(Filesystem::Network(kind.to_owned()));
    }
    let of_fuse = matches!(kind, "fuse" | "fuseblk") || kind.starts_with("fuse.") || kind.starts_with("fuseblk.");
    (of_fuse || SERVED.contains(&kind)).then(|| Filesystem::Served(kind.to_owned()))
}

/// What the number says. Some machines give it with its sign extended.
fn by_number(number: i64) -> Filesystem {
    let known = |list: &[(i64, &str)]| {
        let found = list.iter().find(|(magic, _)| *magic == number & 0xffff_ffff);
        found.map(|(_, kind)| (*kind).to_owned())
    };
    let network = known(&NETWORK_NUMBERS).map(Filesystem::Network);
    network.or_else(|| known(&SERVED_NUMBERS).map(Filesystem::Served)).unwrap_or(Filesystem::Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = br"22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
41 27 0:41 / /mnt/a\040b\134c rw,nosuid - fuse.bindfs /srv rw,user_id=0
42 27 254:0 /srv/queue.db /data/queue.db rw,relatime - ext4 /dev/vda rw
43 27 0:43 / /mnt/nfs rw - nfs4 host:/ rw
nonsense
44 27 0:44";

    #[test]
    fn the_list_of_mounts_tells_types_and_mount_points_with_any_name() {
        let mounts = Mounts::parse(LIST);
        let told: Vec<_> = mounts.0.iter().map(|mount| (mount.point.to_str().unwrap(), mount.kind.as_str())).collect();
        let expected = [
            ("/proc", "proc"),
            ("/", "ext4"),
            (r"/mnt/a b\c", "fuse.bindfs"),
            ("/data/queue.db", "ext4"),
            ("/mnt/nfs", "nfs4"),
        ];
        assert_eq!(told, expected);
        assert_eq!(mounts.0[1].device, rustix::fs::makedev(254, 0));
        assert!(mounts.is_point(Path::new("/data/queue.db")) && !mounts.is_point(Path::new("/data")));
    }

    #[test]
    fn this_machines_own_list_can_be_read() {
        let mounts = Mounts::read();
        assert!(mounts.is_point(Path::new("/")) && mounts.is_point(Path::new("/proc")), "{mounts:?}");
        assert_eq!(mounts.of(Path::new("/proc")).unwrap(), Filesystem::Local);
        assert!(mounts.of(Path::new("/proc/nowhere")).is_err());
    }

    #[test]
    fn a_type_tells_whether_locks_hold() {
        for kind in ["nfs", "nfs4", "cifs", "smb3", "ceph", "lustre"] {
            assert_eq!(by_type(kind), Some(Filesystem::Network(kind.to_owned())));
        }
        for kind in ["fuse", "fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuseblk", "virtiofs", "9p", "vboxsf"] {
            assert_eq!(by_type(kind), Some(Filesystem::Served(kind.to_owned())));
        }
        for kind in ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "fusectl", "zfs"] {
            assert_eq!(by_type(kind), None, "{kind}");
        }
    }

    #[test]
    fn without_a_type_the_magic_number_tells() {
        let numbers = [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (-0x00ac_b2be, "CIFS")];
        for (number, kind) in numbers {
            assert_eq!(by_number(number), Filesystem::Network(kind.to_owned()), "{number:x}");
        }
        for (number, kind) in [(0x6573_5546, "FUSE"), (0x0102_1997, "9P")] {
            assert_eq!(by_number(number), Filesystem::Served(kind.to_owned()), "{number:x}");
        }
        for number in [0xef53, 0x5846_5342, 0x0102_1994] {
            assert_eq!(by_number(number), Filesystem::Local, "{number:x}");
        }
    }
}
