//! Reads files that hold secrets.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::error::CredentialsError;
use super::source::Source;

/// The permissions of users who are neither the owner nor in the group. Those of the group are the owner's decision:
/// systemd itself makes credentials 0400, or 0440 with an access control list that names the service's user.
const OTHERS: u32 = 0o007;
/// The longest file accepted. One with several profiles has a few hundred bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The text of a file, without a byte order mark; `None` if there is no file. Refuses files that other users can read,
/// and anything that may have no end, such as a pipe.
///
/// # Errors
/// When the file exists, but can't or must not be read.
pub(in crate::tencent) fn read(path: &Path) -> Result<Option<String>, CredentialsError> {
    read_unless(path, |file_mode| file_mode & OTHERS != 0)
}

/// The same, but the file's own mode doesn't matter if other users can't enter its directory. Some tools restrict their
/// directory, and leave the modes of their files to the umask.
///
/// # Errors
/// As [`read`].
pub(super) fn read_in_private_directory(path: &Path) -> Result<Option<String>, CredentialsError> {
    let directory = fs::canonicalize(path).ok().and_then(|path| fs::metadata(path.parent()?).ok());
    let open_to_others = directory.is_none_or(|directory| directory.permissions().mode() & OTHERS != 0);
    read_unless(path, |file_mode| open_to_others && file_mode & OTHERS != 0)
}

/// The text of a file's bytes, without a byte order mark.
///
/// # Errors
/// When they aren't UTF-8.
pub(super) fn text<'a>(bytes: &'a [u8], source: &Source) -> Result<&'a str, CredentialsError> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| CredentialsError::unusable(source, "the file is not UTF-8 text"))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn read_unless(path: &Path, is_exposed: impl FnOnce(u32) -> bool) -> Result<Option<String>, CredentialsError> {
    let source = Source::File(path.to_owned());
    let unreadable = |error| CredentialsError::Unreadable { path: path.to_owned(), error };
    // Without NONBLOCK, opening a pipe waits for a writer.
    let file = match open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(unreadable(error.into())),
    };
    // Check the open file: the path may lead elsewhere by now.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(CredentialsError::unusable(&source, "it is not a regular file"));
    }
    if is_exposed(metadata.permissions().mode()) {
        return Err(CredentialsError::Exposed(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_BYTES) {
        return Err(CredentialsError::unusable(&source, "it is longer than 64 KiB; is it the right file?"));
    }
    Ok(Some(text(&bytes, &source)?.to_owned()))
}
