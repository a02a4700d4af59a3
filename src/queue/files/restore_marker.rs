//! The mark beside the database: the number of the newest request. A database that lags behind its mark was
//! restored from a backup, and one without its mark came from elsewhere: neither knows what was sent since.

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

/// An open mark. It is written after each COMMIT that claims, so it never runs ahead of its own database.
#[derive(Debug)]
pub struct RestoreMarker {
    file: File,
    path: PathBuf,
    number: Option<i64>,
}

impl RestoreMarker {
    /// Opens the mark of the database at this path, or makes one that holds no number yet.
    ///
    /// # Errors
    /// When the file can't be opened or made.
    pub fn open(database: &Path) -> Result<Self, QueueError> {
        let path = companion(database, SUFFIX);
        let file = shared_file::open(&path)?;
        let number = read(&file).map_err(file_error(&path))?;
        Ok(Self { file, path, number })
    }

    /// The number that the mark of the database at this path holds, without making one; none if it isn't there, or
    /// unreadable.
    ///
    /// # Errors
    /// When the file is there and can't be opened.
    pub fn look(database: &Path) -> Result<Option<i64>, QueueError> {
        match shared_file::find(database, SUFFIX)? {
            Some((path, file)) => read(&file).map_err(file_error(&path)),
            None => Ok(None),
        }
    }

    /// The number that it holds; none if it is new, or unreadable.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.number
    }

    /// Moves the mark up to this number. It isn't synced: a mark that lost its last moments with the power is older than
    /// its database, which says nothing.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn advance(&mut self, number: i64) -> Result<(), QueueError> {
        if self.number.is_none_or(|held| number > held) {
            self.write(number)?;
        }
        Ok(())
    }

    /// Writes the number that it holds once more, to see whether that works.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn rewrite(&mut self) -> Result<(), QueueError> {
        self.number.map_or(Ok(()), |number| self.write(number))
    }

    /// Sets the mark to this number, durably: a mark that is missing later was taken away.
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
    fn a_mark_holds_the_highest_number_and_none_when_it_is_new_or_unreadable() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("queue.db");
        assert_eq!(RestoreMarker::look(&database).unwrap(), None);
        assert!(!directory.path().join("queue.db.mark").exists(), "who only looks makes none");
        let mut mark = RestoreMarker::open(&database).unwrap();
        assert_eq!(mark.number(), None);
        assert_eq!(RestoreMarker::look(&database).unwrap(), None);
        mark.reset(7).unwrap();
        mark.advance(5).unwrap();
        mark.advance(12).unwrap();
        mark.rewrite().unwrap();
        assert_eq!(RestoreMarker::open(&database).unwrap().number(), Some(12));
        assert_eq!(RestoreMarker::look(&database).unwrap(), Some(12));
        std::fs::write(directory.path().join("queue.db.mark"), "not a number at all, really").unwrap();
        assert_eq!(RestoreMarker::open(&database).unwrap().number(), None);
    }
}
