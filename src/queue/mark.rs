//! The mark beside the database: the number of the newest request. A database that lags behind its mark was
//! restored from a backup, and doesn't know what was sent since.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::error::QueueError;

const DIGITS: usize = 20;

/// An open mark. It is written after each COMMIT that claims, so it never runs ahead of its own database.
#[derive(Debug)]
pub struct Mark {
    file: File,
    number: i64,
}

impl Mark {
    /// Opens the mark of the database at this path, or makes one at zero.
    ///
    /// # Errors
    /// When the file can't be opened or made.
    pub fn open(database: &Path) -> Result<Self, QueueError> {
        let path = super::place::beside(database, ".mark");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o660).open(&path);
        let file = file.map_err(|error| QueueError::io(&path, error))?;
        let number = read(&file).map_err(|error| QueueError::io(&path, error))?;
        Ok(Self { file, number })
    }

    /// The number that it holds.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Moves the mark up to this number.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn advance(&mut self, number: i64) -> io::Result<()> {
        if number > self.number {
            self.write(number)?;
        }
        Ok(())
    }

    /// Sets the mark to this number, after a restored database was noticed and the operator told.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn reset(&mut self, number: i64) -> io::Result<()> {
        self.write(number)?;
        self.file.sync_data()
    }

    fn write(&mut self, number: i64) -> io::Result<()> {
        self.file.write_all_at(format!("{number:0DIGITS$}\n").as_bytes(), 0)?;
        self.number = number;
        Ok(())
    }
}

/// A mark that holds no number, for instance since it is new, counts as zero.
fn read(file: &File) -> io::Result<i64> {
    let mut text = [0; DIGITS];
    match file.read_exact_at(&mut text, 0) {
        Ok(()) => Ok(std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        Err(error) => Err(error),
    }
}
