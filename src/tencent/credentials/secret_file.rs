//! Reading files that hold secrets.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::{CredentialsError, Source};

/// What users who are neither the owner nor in the group may do. What the group may, is the owner's to decide: systemd
/// itself gives a unit its credentials as 0400, or as 0440 where an access control list names the unit's user.
const OTHERS_MAY: u32 = 0o007;
/// The longest file that is read: one with some profiles has a few hundred bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The file's text, without a byte order mark; none if there is no file. Reads nothing that others may read, and nothing
/// that may not end: a pipe, a device.
///
/// # Errors
/// When the file is there and can't, or must not, be read. Its place is what the error names.
pub(in crate::tencent) fn read(path: &Path, place: &Source) -> Result<Option<String>, CredentialsError> {
    read_bytes(path, place, false)?.map(|bytes| text(&bytes, place).map(str::to_owned)).transpose()
}

/// Likewise; but where others can't enter the directory, the mode of the file is all one. A tool that keeps its directory
/// closed may leave the file's mode to the umask.
///
/// # Errors
/// Likewise.
pub(super) fn read_sheltered(path: &Path, place: &Source) -> Result<Option<String>, CredentialsError> {
    let sheltered = fs::canonicalize(path).is_ok_and(|path| {
        let directory = path.parent().map(fs::metadata);
        directory.is_some_and(|read| read.is_ok_and(|read| read.permissions().mode() & OTHERS_MAY == 0))
    });
    read_bytes(path, place, sheltered)?.map(|bytes| text(&bytes, place).map(str::to_owned)).transpose()
}

/// The text of a file's bytes, without a byte order mark.
///
/// # Errors
/// When they are not UTF-8.
pub(super) fn text<'a>(bytes: &'a [u8], place: &Source) -> Result<&'a str, CredentialsError> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| CredentialsError::unusable(place, "the file is not UTF-8 text"))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn read_bytes(path: &Path, place: &Source, sheltered: bool) -> Result<Option<Vec<u8>>, CredentialsError> {
    let unreadable = |error| CredentialsError::Unreadable { path: path.to_owned(), error };
    // A pipe that nobody writes to would be waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(|error| unreadable(io::Error::other(error)))?;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    // Of what is open, not of what stands at the path by now.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(CredentialsError::unusable(place, "it is not a plain file"));
    }
    if !sheltered && metadata.permissions().mode() & OTHERS_MAY != 0 {
        return Err(CredentialsError::Exposed(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_FILE_BYTES) {
        return Ok(Some(bytes));
    }
    Err(CredentialsError::unusable(place, "it is longer than 64 KiB; is it the right file?"))
}
