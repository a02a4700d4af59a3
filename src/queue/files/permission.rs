//! Who may use the files of a queue: their owner and a group. If this user may not: why, and how to grant access.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::queue::error::QueueError;
use crate::queue::paths::{companion, directory_of, shell_quoted};

/// The mode of each file of a queue.
pub(crate) const FILE_MODE: u32 = 0o660;

/// The mode of its directory: the group may create files in it, and these belong to the group.
const DIRECTORY_MODE: u32 = 0o2770;

/// The error of an operation on the file at a path.
pub(crate) fn file_error(path: &Path) -> impl Fn(io::Error) -> QueueError {
    move |error| {
        if error.kind() == io::ErrorKind::PermissionDenied { denied(path) } else { QueueError::file(path, &error) }
    }
}

/// The error of a file that this user may not use, or not create.
pub(crate) fn denied(path: &Path) -> QueueError {
    let directory = directory_of(path);
    let (why, remedy) = match (fs::metadata(path), fs::metadata(directory)) {
        (Ok(file), Ok(above)) => by_file(path, &file, &above),
        (Err(_), Ok(above)) => by_directory(directory, &above),
        (_, Err(_)) => not_a_member("that owns its directory"),
    };
    QueueError::Permission { path: path.to_owned(), why, remedy }
}

/// Why, and what to do about it.
type Reason = (String, String);

fn by_file(path: &Path, file: &Metadata, above: &Metadata) -> Reason {
    let group = group_by_directory(above).unwrap_or(file.gid());
    let is = format!("it is {}", described(file));
    if !is_ours(file) && !is_member(group) {
        if !is_ours(above) {
            return not_a_member(&group_name(group));
        }
        return (is, format!("as root: chown {} {}", user_name(above.uid()), shell_quoted(path)));
    }
    let change_group = (group != file.gid()).then(|| format!("chgrp {} {}", group_name(group), shell_quoted(path)));
    let change_mode =
        (file.mode() & FILE_MODE != FILE_MODE).then(|| format!("chmod {FILE_MODE:04o} {}", shell_quoted(path)));
    let commands: Vec<String> = change_group.into_iter().chain(change_mode).collect();
    if commands.is_empty() { denied_otherwise(&is) } else { (is, format!("as root: {}", commands.join(" && "))) }
}

fn by_directory(directory: &Path, above: &Metadata) -> Reason {
    let group = above.gid();
    let is = format!("its directory {} is {}", directory.display(), described(above));
    let writable = above.mode() & 0o070 == 0o070;
    if writable && !is_ours(above) && !is_member(group) {
        return not_a_member(&group_name(group));
    }
    if writable {
        return denied_otherwise(&is);
    }
    let command = format!("chmod {DIRECTORY_MODE:04o} {}", shell_quoted(directory));
    // Normally, only root is in root's group: the directory must first be given to the queue's users.
    let command = if group == 0 { format!("chgrp GROUP {} && {command}", shell_quoted(directory)) } else { command };
    (is, format!("as root: {command}"))
}

fn not_a_member(group: &str) -> Reason {
    let remedy = format!("run this as root, or as a member of the group {group}");
    ("this user is neither its owner nor in its group".to_owned(), remedy)
}

/// Mode and owner allow this user access, so something else denies it.
fn denied_otherwise(is: &str) -> Reason {
    let remedy = "find out what denies access: a directory above it, an ACL, or the system's rules (SELinux, AppArmor)";
    (format!("{is}, which allows this user access"), remedy.to_owned())
}

/// The group that gets the files in a directory: the directory's, if the group but not everyone may write to it. Who can
/// create files there can also replace those of others, so this grants the group nothing new.
pub(crate) fn group_by_directory(directory: &Metadata) -> Option<u32> {
    (directory.mode() & 0o022 == 0o020).then(|| directory.gid())
}

/// Whether this user may read and write a file.
pub(crate) fn is_usable(path: &Path) -> bool {
    allows(path, Access::READ_OK | Access::WRITE_OK)
}

/// Whether this user may read a file.
pub(crate) fn is_readable(path: &Path) -> bool {
    allows(path, Access::READ_OK)
}

/// Doesn't open the file, because closing it would release SQLite's locks on it. Any other error is left to whoever opens
/// the file.
fn allows(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS) != Err(Errno::ACCESS)
}

/// Of the files of an open database, the first that this user may not use.
pub(crate) fn first_denied(database: &Path) -> Option<PathBuf> {
    let files = ["", "-wal", "-shm"].map(|suffix| companion(database, suffix));
    let existing = files.iter().find(|file| file.exists() && !is_usable(file));
    let missing =
        files.iter().find(|file| !file.exists() && !allows(directory_of(file), Access::WRITE_OK | Access::EXEC_OK));
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

    fn message(path: &Path) -> String {
        denied(path).with_remedy()
    }

    #[test]
    fn a_file_with_a_wrong_mode_is_named_with_its_mode_its_owner_and_the_command_that_fixes_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("queue.db.mark");
        fs::write(&file, "").unwrap();
        set(&file, 0o640);
        let message = message(&file);
        assert!(
            message.contains(": it is 0640 ") && message.contains(&format!(":{}; as root: ", own_group())),
            "{message}"
        );
        assert!(message.ends_with(&format!("chmod 0660 {}", file.display())), "{message}");
    }

    #[test]
    fn a_file_that_is_as_it_should_be_is_denied_by_denied_otherwise() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("queue.db");
        fs::write(&file, "").unwrap();
        set(&file, 0o660);
        let message = message(&file);
        assert!(message.contains(": it is 0660 ") && message.contains("SELinux"), "{message}");
    }

    #[test]
    fn a_file_that_cannot_be_created_is_named_with_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        set(directory.path(), 0o755);
        let missing = message(&directory.path().join("missing.db"));
        let is = format!("its directory {} is 0755 ", directory.path().display());
        let command = format!("chmod 2770 {}", directory.path().display());
        assert!(missing.contains(&is) && missing.ends_with(&command), "{missing}");
        let nowhere = message(Path::new("/nowhere/at/all.db"));
        assert!(nowhere.ends_with("a member of the group that owns its directory"), "{nowhere}");
    }
}
