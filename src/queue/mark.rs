//! The mark beside the database: the number of the newest request. A database that lags behind its mark was
//! restored from a backup, and one without its mark came from elsewhere: neither knows what was sent since.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::QueueError;
use super::place::{beside, directory_of};

const DIGITS: usize = 20;

/// An open mark. It is written after each COMMIT that claims, so it never runs ahead of its own database.
#[derive(Debug)]
pub struct Mark {
    file: File,
    path: PathBuf,
    number: Option<i64>,
}

impl Mark {
    /// Opens the mark of the database at this path, or makes one that holds no number yet.
    ///
    /// # Errors
    /// When the file can't be opened or made.
    pub fn open(database: &Path) -> Result<Self, QueueError> {
        let path = beside(database, ".mark");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o660).open(&path);
        let file = file.map_err(|error| QueueError::io(&path, error))?;
        let number = read(&file).map_err(|error| QueueError::io(&path, error))?;
        Ok(Self { file, path, number })
    }

    /// The number that it holds; none if it is new, or isn't a mark.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.number
    }

    /// Moves the mark up to this number. It isn't synced: a mark that lost its last moments with the power is
    /// older than its database, which says nothing.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn advance(&mut self, number: i64) -> Result<(), QueueError> {
        if self.number.is_none_or(|before| number > before) {
            self.write(number).map_err(writing)?;
        }
        Ok(())
    }

    /// Sets the mark to this number, durably: for a new queue, and after a restored database was noticed and the
    /// operator told.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn reset(&mut self, number: i64) -> Result<(), QueueError> {
        self.write(number).and_then(|()| self.sync()).map_err(writing)
    }

    fn write(&mut self, number: i64) -> io::Result<()> {
        self.file.write_all_at(format!("{number:0DIGITS$}\n").as_bytes(), 0)?;
        self.number = Some(number);
        Ok(())
    }

    /// The file and its name.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        File::open(directory_of(&self.path))?.sync_all()
    }
}

fn writing(error: io::Error) -> QueueError {
    QueueError::Failed { what: "writing the mark", detail: error.to_string() }
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
    fn a_mark_goes_up_only_and_keeps_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("queue.db");
        let mut mark = Mark::open(&database).unwrap();
        assert_eq!(mark.number(), None);
        mark.advance(7).unwrap();
        mark.advance(5).unwrap();
        assert_eq!((mark.number(), Mark::open(&database).unwrap().number()), (Some(7), Some(7)));
        mark.reset(5).unwrap();
        assert_eq!(Mark::open(&database).unwrap().number(), Some(5));
    }

    #[test]
    fn what_is_no_number_is_no_mark() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("queue.db");
        for text in ["", "12", "these are my notes, not a mark"] {
            std::fs::write(directory.path().join("queue.db.mark"), text).unwrap();
            assert_eq!(Mark::open(&database).unwrap().number(), None, "{text:?}");
        }
    }
}
