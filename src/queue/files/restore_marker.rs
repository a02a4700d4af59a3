//! The marker beside the database (`queue.db.mark`), which holds the number of the newest request. A database whose newest
//! request is older was restored from a backup; one without a marker was moved here. Neither has a record of what was sent
//! since.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::permission::file_error;
use super::shared_file;
use crate::queue::error::QueueError;
use crate::queue::paths::{companion, directory_of};

const SUFFIX: &str = ".mark";
const DIGITS: usize = 20;

/// An open marker. It is written after each COMMIT that claims, so it is never ahead of its own database.
#[derive(Debug)]
pub struct RestoreMarker {
    file: File,
    path: PathBuf,
    number: Option<i64>,
}

impl RestoreMarker {
    /// Opens the marker of the database at this path, or creates one that holds no number yet.
    ///
    /// # Errors
    /// When the file can't be opened or created.
    pub fn open(database: &Path) -> Result<Self, QueueError> {
        let path = companion(database, SUFFIX);
        let file = shared_file::open(&path)?;
        let number = read(&file).map_err(file_error(&path))?;
        Ok(Self { file, path, number })
    }

    /// The number in the marker of the database at this path. None if there is no marker or it has no number; creates no
    /// marker.
    ///
    /// # Errors
    /// When the file exists but can't be opened.
    pub fn look(database: &Path) -> Result<Option<i64>, QueueError> {
        match shared_file::find(database, SUFFIX)? {
            Some((path, file)) => read(&file).map_err(file_error(&path)),
            None => Ok(None),
        }
    }

    /// The number that it holds; none if it is new, or has something else in it.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.number
    }

    /// Raises the marker to this number, without a sync: after a power failure it may be older than its database, which is
    /// harmless.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn advance(&mut self, number: i64) -> Result<(), QueueError> {
        if self.number.is_none_or(|held| number > held) {
            self.write(number)?;
        }
        Ok(())
    }

    /// Writes its number again, to find out whether that works.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn rewrite(&mut self) -> Result<(), QueueError> {
        self.number.map_or(Ok(()), |number| self.write(number))
    }

    /// Sets the marker to this number, and syncs it, so that it can only be missing later if it was deleted.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn reset(&mut self, number: i64) -> Result<(), QueueError> {
        self.write(number)?;
        let synced = self.file.sync_all().and_then(|()| File::open(directory_of(&self.path))?.sync_all());
        synced.map_err(file_error(&self.path))
    }

    fn write(&mut self, number: i64) -> Result<(), QueueError> {
        let written = self.file.write_all_at(format!("{number:0DIGITS$}\n").as_bytes(), 0);
        written.map_err(file_error(&self.path))?;
        self.number = Some(number);
        Ok(())
    }
}

fn read(file: &File) -> io::Result<Option<i64>> {
    let mut text = [0; DIGITS];
    match file.read_exact_at(&mut text, 0) {
        Ok(()) => Ok(std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_holds_the_highest_number_and_none_when_it_is_new_or_unreadable() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("queue.db");
        assert_eq!(RestoreMarker::look(&database).unwrap(), None);
        assert!(!directory.path().join("queue.db.mark").exists(), "looking creates none");
        let mut marker = RestoreMarker::open(&database).unwrap();
        assert_eq!(marker.number(), None);
        assert_eq!(RestoreMarker::look(&database).unwrap(), None);
        marker.reset(7).unwrap();
        marker.advance(5).unwrap();
        marker.advance(12).unwrap();
        marker.rewrite().unwrap();
        assert_eq!(RestoreMarker::open(&database).unwrap().number(), Some(12));
        assert_eq!(RestoreMarker::look(&database).unwrap(), Some(12));
        std::fs::write(directory.path().join("queue.db.mark"), "not a number at all, really").unwrap();
        assert_eq!(RestoreMarker::open(&database).unwrap().number(), None);
    }
}
