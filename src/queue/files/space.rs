//! Whether a directory has room for the next write.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::statvfs;

use super::filesystem::unnamed_file;

/// A batch writes a few pages.
const NEEDED: u64 = 64 * 1024;

/// Tries to write in this directory as SQLite would, without leaving anything there. None: there is room, or it can't be tried.
/// Otherwise the bytes that are free, as an ordinary user sees them.
#[must_use]
pub(crate) fn lacks_space(directory: &Path) -> Option<u64> {
    let free = statvfs(directory).map(|status| status.f_bavail.saturating_mul(status.f_frsize)).ok();
    let is_full = match try_write(directory) {
        Ok(()) => false,
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => true,
        // Not permitted, or not supported by this filesystem.
        Err(_) => free.is_some_and(|free| free < NEEDED),
    };
    is_full.then_some(free.unwrap_or_default())
}

fn try_write(directory: &Path) -> io::Result<()> {
    let mut file = File::from(unnamed_file(directory)?);
    io::copy(&mut io::repeat(0).take(NEEDED), &mut file).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_room_lacks_none_and_is_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(lacks_space(directory.path()), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
