//! What SQLite's result codes and the system's errors mean.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::error::{Fault, QueueError};
use super::files::filesystem::ReadOnly;
use super::rejected_write::RejectedWrite;

// The primary result codes that matter here. <https://sqlite.org/rescode.html>
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
pub(super) const READONLY: i32 = 8;
pub(super) const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
pub(super) const CORRUPT: i32 = 11;
const FULL: i32 = 13;
pub(super) const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
pub(super) const NOTADB: i32 = 26;
pub(super) const READONLY_ROLLBACK: i32 = READONLY | (3 << 8);

/// SQLite's extended result code, if the error is SQLite's.
pub(super) fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// SQLite's primary result code, if the error is SQLite's.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    Some(extended_code(error)? & 0xff)
}

/// SQLite's own message, without sqlx's additions.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}

impl QueueError {
    /// The error of a statement on an open queue.
    pub(super) fn of(what: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| Self::about(what, &error)
    }

    /// The error of a statement.
    pub(super) fn about(what: &'static str, error: &sqlx::Error) -> Self {
        Self::classified(what, primary_code(error), message(error))
    }

    /// The error for SQLite's primary result code.
    pub(super) fn classified(what: &'static str, code: Option<i32>, detail: String) -> Self {
        let fault = Fault { what: Some(what), detail };
        match code {
            Some(CONSTRAINT) => Self::Refused(fault.detail),
            Some(BUSY | LOCKED) => Self::Busy(fault),
            Some(CORRUPT | NOTADB) => Self::Damaged(fault),
            Some(READONLY) => Self::ReadOnly(what),
            Some(FULL) => Self::Full(fault),
            Some(IOERR) => Self::Io(fault),
            Some(CANTOPEN) => Self::CannotOpen(fault),
            Some(_) | None => Self::Failed(fault),
        }
    }

    /// The error of a database whose directory is read-only.
    pub(super) fn read_only(path: &Path, how: ReadOnly) -> Self {
        Self::ReadOnlyFilesystem { path: path.to_owned(), only_here: how == ReadOnly::Here }
    }

    /// The error of an operation on a file that this user may use.
    pub(super) fn file(path: &Path, error: &io::Error) -> Self {
        let fault = Fault { what: None, detail: format!("{}: {error}", path.display()) };
        match (error.kind(), Errno::from_io_error(error)) {
            (io::ErrorKind::ReadOnlyFilesystem, _) => Self::read_only(path, ReadOnly::Everywhere),
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => Self::Full(fault),
            (_, Some(Errno::IO)) => Self::Io(fault),
            _ => Self::CannotOpen(fault),
        }
    }

    /// The error of a value that can't be converted to or from JSON.
    pub(super) fn json(what: &'static str, error: &serde_json::Error) -> Self {
        Self::Failed(Fault { what: Some(what), detail: error.to_string() })
    }

    /// The error of a write that a trigger ignored, with `RAISE(IGNORE)`.
    pub(super) fn ignored() -> Self {
        Self::Refused("a trigger ignored the write (RAISE(IGNORE))".to_owned())
    }

    /// Adds the write that caused the error, if this is a rollback.
    pub(super) fn concerning(self, refused: impl FnOnce(String) -> RejectedWrite) -> Self {
        let Self::RolledBack { sentence, refused: None } = self else { return self };
        let refused = Some(Box::new(refused(sentence.clone())));
        Self::RolledBack { sentence, refused }
    }
}
