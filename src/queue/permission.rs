//! Why this user may not use a file, and what would be right: the files of a queue are for its owner and for a group.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access as Mode, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::file_identity::{beside, directory_of};
use super::shared_file::{FILE_MODE, group_by_directory};

/// The mode of a directory for a queue: the group makes files in it, and they are the group's.
const DIRECTORY_MODE: u32 = 0o2770;

/// Why a file is denied.
#[derive(Debug, PartialEq, Eq)]
pub enum Denial {
    /// The user is none of those who may.
    Outsider {
        /// The group that may.
        group: String,
    },
    /// The file is not as it has to be.
    Wrong {
        /// Its mode and owner.
        is: String,
        /// What mends it.
        command: String,
    },
    /// It can't be made in its directory.
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Its mode and owner.
        is: String,
        /// What mends it.
        command: String,
    },
    /// By its mode and owner, the user may.
    Elsewhere {
        /// Its mode and owner.
        is: String,
    },
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outsider { group } => write!(f, "; be root, or a member of the group {group}"),
            Self::Wrong { is, command } => write!(f, ": it is {is}. As root: {command}"),
            Self::Directory { directory, is, command } => {
                write!(f, ": its directory {} is {is}. As root: {command}", directory.display())
            }
            Self::Elsewhere { is } => write!(
                f,
                ": it is {is}, which this user may use, so something else denies it: a directory above it, an ACL, or the \
                 system's rules (SELinux, AppArmor)"
            ),
        }
    }
}

impl Denial {
    /// Why this user may not read and write the file at this path, or not make it.
    pub(super) fn of(path: &Path) -> Self {
        let directory = directory_of(path);
        match (fs::metadata(path), fs::metadata(directory)) {
            (Ok(file), Ok(above)) => Self::by_file(path, &file, &above),
            (Err(_), Ok(above)) => Self::by_directory(directory, &above),
            (_, Err(_)) => Self::Outsider { group: "that owns its directory".to_owned() },
        }
    }

    fn by_file(path: &Path, file: &Metadata, above: &Metadata) -> Self {
        let group = group_by_directory(above).unwrap_or(file.gid());
        if !is_ours(file) && !is_member(group) {
            if !is_ours(above) {
                return Self::Outsider { group: group_name(group) };
            }
            let command = format!("chown {} {}", user_name(above.uid()), shell(path));
            return Self::Wrong { is: described(file), command };
        }
        let change_group = (group != file.gid()).then(|| format!("chgrp {} {}", group_name(group), shell(path)));
        let change_mode =
            (file.mode() & FILE_MODE != FILE_MODE).then(|| format!("chmod {FILE_MODE:04o} {}", shell(path)));
        let commands: Vec<String> = change_group.into_iter().chain(change_mode).collect();
        if commands.is_empty() {
            return Self::Elsewhere { is: described(file) };
        }
        Self::Wrong { is: described(file), command: commands.join(" && ") }
    }

    fn by_directory(directory: &Path, above: &Metadata) -> Self {
        let group = above.gid();
        let writable = above.mode() & 0o070 == 0o070;
        if writable && !is_ours(above) && !is_member(group) {
            return Self::Outsider { group: group_name(group) };
        }
        if writable {
            return Self::Elsewhere { is: described(above) };
        }
        let command = format!("chmod {DIRECTORY_MODE:04o} {}", shell(directory));
        // Nobody but root is in root's group: the directory has yet to be given to those who use the queue.
        let command = if group == 0 { format!("chgrp GROUP {} && {command}", shell(directory)) } else { command };
        Self::Directory { directory: directory.to_owned(), is: described(above), command }
    }
}

/// Whether this user may read and write a file.
pub(super) fn is_usable(path: &Path) -> bool {
    allows(path, Mode::READ_OK | Mode::WRITE_OK)
}

/// Whether this user may read a file.
pub(super) fn is_readable(path: &Path) -> bool {
    allows(path, Mode::READ_OK)
}

/// A file is not opened to find that out: closing it would let go of SQLite's locks on it. Any other error is for
/// whoever opens it.
fn allows(path: &Path, mode: Mode) -> bool {
    accessat(CWD, path, mode, AtFlags::EACCESS) != Err(Errno::ACCESS)
}

/// Of the files of an open database, the first that this user may not use.
pub(super) fn denied(database: &Path) -> Option<PathBuf> {
    let files = ["", "-wal", "-shm"].map(|suffix| beside(database, suffix));
    let existing = files.iter().find(|file| file.exists() && !is_usable(file));
    let missing =
        files.iter().find(|file| !file.exists() && !allows(directory_of(file), Mode::WRITE_OK | Mode::EXEC_OK));
    existing.or(missing).cloned()
}

fn is_ours(file: &Metadata) -> bool {
    rustix::process::geteuid().as_raw() == file.uid()
}

fn is_member(group: u32) -> bool {
    let others = rustix::process::getgroups().unwrap_or_default();
    others.into_iter().chain([rustix::process::getegid()]).any(|own| own.as_raw() == group)
}

/// As in `0640 root:certcommit`.
fn described(file: &Metadata) -> String {
    format!("{:04o} {}:{}", file.mode() & 0o7777, user_name(file.uid()), group_name(file.gid()))
}

fn user_name(user: u32) -> String {
    name_in("/etc/passwd", user).unwrap_or_else(|| user.to_string())
}

fn group_name(group: u32) -> String {
    name_in("/etc/group", group).unwrap_or_else(|| group.to_string())
}

/// The name for a number, which both files have in their third field.
fn name_in(file: &str, number: u32) -> Option<String> {
    let (list, number) = (fs::read_to_string(file).ok()?, number.to_string());
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&number)).then(|| name.to_owned())
    })
}

/// A path as a shell takes it.
pub(super) fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%,".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    fn own_group() -> String {
        let output = Command::new("id").arg("-gn").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_with_a_wrong_mode_is_told_with_its_mode_its_owner_and_what_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("queue.db.mark");
        fs::write(&file, "").unwrap();
        set(&file, 0o640);
        let told = format!("permission denied{}", Denial::of(&file));
        assert!(told.contains(": it is 0640 ") && told.contains(&format!(":{}. As root: ", own_group())), "{told}");
        assert!(told.ends_with(&format!("chmod 0660 {}", file.display())), "{told}");
    }

    #[test]
    fn a_file_that_is_as_it_should_be_is_denied_by_something_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("queue.db");
        fs::write(&file, "").unwrap();
        set(&file, 0o660);
        let denial = Denial::of(&file);
        assert!(matches!(&denial, Denial::Elsewhere { is } if is.starts_with("0660 ")), "{denial:?}");
    }

    #[test]
    fn a_file_that_can_not_be_made_is_told_with_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        set(directory.path(), 0o755);
        let denial = Denial::of(&directory.path().join("missing.db"));
        let Denial::Directory { is, command, .. } = &denial else { panic!("{denial:?}") };
        assert!(is.starts_with("0755 ") && command.ends_with(&format!("chmod 2770 {}", directory.path().display())));
        let nowhere = Denial::of(Path::new("/nowhere/at/all.db"));
        assert_eq!(nowhere, Denial::Outsider { group: "that owns its directory".to_owned() });
    }

    #[test]
    fn a_path_is_written_as_a_shell_takes_it() {
        assert_eq!(shell(Path::new("/var/lib/queue.db-wal")), "/var/lib/queue.db-wal");
        assert_eq!(shell(Path::new("/a b/it's.db")), r"'/a b/it'\''s.db'");
    }
}
