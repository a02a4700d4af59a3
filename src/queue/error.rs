//! What can go wrong with the database, in the words of an operator.

use std::io;
use std::path::{Path, PathBuf};

use super::file_identity::directory_of;
use super::filesystem::is_read_only;
use super::permission::{self, Denial, shell};
use super::rejected_write::RejectedWrite;

/// What to do with a damaged database. The `.recover` of Debian's shell makes nothing, and its `.dump` takes everything back
/// at the end where it met damage, unless that line is replaced.
pub const SALVAGE: &str = "stop the daemon and restore a backup; or save what can be read, to a new file: sqlite3 queue.db \
    .dump | sed 's/^ROLLBACK; -- due to errors$/COMMIT;/' | sqlite3 saved.db; put that in its place, without the old \
    queue.db-wal and queue.db-shm and beside the old queue.db.mark; and then: certcommit check --repair";

/// An error of the queue's database. Each kind has its own exit code.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There is no database, and this command doesn't make one.
    #[error("there is no queue at {0}; `certcommit run` or `certcommit enqueue` makes one (database.path says where)")]
    Missing(PathBuf),
    /// There is a file, and nothing in it yet.
    #[error("{0} holds no queue yet; `certcommit run` or `certcommit enqueue` makes one in it")]
    Empty(PathBuf),
    /// There is nothing in the file, or no file, where a queue was.
    #[error(
        "{path} holds no queue, and {made} requests were made on one here: it was emptied or taken away. Restore a backup; one that is made anew starts paused"
    )]
    Emptied {
        /// The file.
        path: PathBuf,
        /// The newest request, by the mark beside it.
        made: i64,
    },
    /// It is another program's.
    #[error("{path} is not a certcommit queue ({why}); it was left untouched")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// A newer version wrote it.
    #[error(
        "{path} was written by a newer certcommit (schema {found}; this one knows {known}); it was left untouched. Install that version, or restore the copy that it made before it migrated"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// An older version wrote it, and a daemon holds it.
    #[error(
        "{path} has an older schema ({found} of {known}) and a daemon holds it; restart the daemon with this version"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// An older version wrote it, and a command only looks.
    #[error(
        "{path} has an older schema ({found} of {known}), which the next start of the daemon brings up to date; start it"
    )]
    Outdated {
        /// The file.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// It was made from a dump of a queue.
    #[error(
        "{0} has the tables of a queue, and not its application_id, like what is read in from sqlite3's .dump; `certcommit check --repair` makes it a queue again"
    )]
    Unmarked(PathBuf),
    /// Rules of the queue are gone.
    #[error(
        "{path} is not as certcommit made it, and its rules don't hold: {flaws}. Nothing more is sent; with the daemon stopped, `certcommit check --repair` makes again what can be made"
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// What is missing or altered.
        flaws: String,
    },
    /// The schema was changed by somebody, and has to be compared first.
    #[error("the schema was changed, and has not been compared yet")]
    Uncompared,
    /// It is damaged.
    #[error("{path} is corrupt: {detail}. Nothing more is written to it; {}", SALVAGE)]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// It can't be made.
    #[error("{path} can't be created: {error}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It lies on a network filesystem.
    #[error(
        "{path} lies on a network filesystem ({kind}), where SQLite's locks don't hold; move database.path to a local disk"
    )]
    Network {
        /// The file.
        path: PathBuf,
        /// The filesystem.
        kind: String,
    },
    /// It lies on a filesystem that another program, or the machine's host, serves.
    #[error(
        "{path} lies on a filesystem ({kind}) that another program or the machine's host serves, and locks hold there only \
         if that makes them hold; move database.path to a local disk. If there is none, and nothing on the other side opens \
         the queue: database.unsafe_filesystem = \"allow\""
    )]
    Served {
        /// The file.
        path: PathBuf,
        /// The filesystem.
        kind: String,
    },
    /// It has more than one name.
    #[error(
        "{path} has {names} names (hard links), and under each it would have a log and a lock of its own. Remove the others: \
         find {} -xdev -samefile {}",
        shell(root),
        shell(path)
    )]
    Linked {
        /// The file, by one of its names.
        path: PathBuf,
        /// How many names it has.
        names: u64,
        /// The directory below which all of them lie.
        root: PathBuf,
    },
    /// Something is mounted right at its path.
    #[error(
        "{path} is itself a mount point, as a file that is mounted into a container alone is: its log and its lock would lie \
         elsewhere than beside the file that is mounted; mount its directory, and not the file (docker: -v \
         DIRECTORY:{})",
        shell(directory_of(path))
    )]
    MountPoint {
        /// The file.
        path: PathBuf,
    },
    /// This user may not use it.
    #[error("permission denied for {path}{denial}")]
    Permission {
        /// The file.
        path: PathBuf,
        /// Why.
        denial: Denial,
    },
    /// This user may read it, and not write it.
    #[error(
        "the database may be read by this user, and not written ({0}); be root, or a member of the group that owns it"
    )]
    ReadOnly(&'static str),
    /// What it lies on is mounted read-only.
    #[error(
        "{path} lies on a filesystem that is mounted read-only; a queue has to be written to, as a rule even to be looked at. Find \
         out why (dmesg, if a disk failed), and mount it read-write; its mount point: findmnt -T {}",
        shell(directory_of(path))
    )]
    ReadOnlyFilesystem {
        /// The file.
        path: PathBuf,
    },
    /// Another daemon has it.
    #[error("another daemon holds {path} ({holder}); one daemon a database")]
    Held {
        /// The file.
        path: PathBuf,
        /// Who.
        holder: String,
    },
    /// The file at the path is no longer the one that is open.
    #[error(
        "{0} was replaced or deleted while it was open; nothing more is sent. Put it back or decide on the new one, then start again"
    )]
    Replaced(PathBuf),
    /// Another process has kept the database locked for longer than it is waited for.
    #[error(
        "another process keeps the database locked ({what}): {detail}. Look for a program that leaves a transaction open"
    )]
    Busy {
        /// What was being done.
        what: &'static str,
        /// SQLite's words.
        detail: String,
    },
    /// It was found damaged while it was open.
    #[error("the database can't be read as it should ({what}): {detail}. If that lasts, it is damaged: {}", SALVAGE)]
    Damaged {
        /// What was being done.
        what: &'static str,
        /// SQLite's words.
        detail: String,
    },
    /// Its content was put back to an earlier one while it was open.
    #[error(
        "{path} was put back to an earlier state while it was open: it knows of {newest} requests, and {made} were made. \
         Nothing more is sent; the next start is paused"
    )]
    Rewound {
        /// The database.
        path: PathBuf,
        /// The newest request that it knows of.
        newest: i64,
        /// The newest that was made.
        made: i64,
    },
    /// A rule of the queue refused a statement: the rule's own sentence.
    #[error("{0}")]
    Refused(String),
    /// A trigger refused a write, and rolled everything back with it (`RAISE(ROLLBACK)`): nothing of the transaction is
    /// written.
    #[error("{sentence}; the trigger that says so rolls everything back (RAISE(ROLLBACK))")]
    RolledBack {
        /// The sentence of the trigger.
        sentence: String,
        /// The write, where it is known.
        refused: Option<Box<RejectedWrite>>,
    },
    /// Anything else that SQLite says: full, an I/O error, a table that is gone.
    #[error("the database failed ({what}): {detail}")]
    Failed {
        /// What was being done.
        what: &'static str,
        /// SQLite's words.
        detail: String,
    },
}

/// SQLite's result codes that are told apart. <https://sqlite.org/rescode.html>
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const INTERRUPT: i32 = 9;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOTADB: i32 = 26;
    pub(super) const READONLY_ROLLBACK: i32 = READONLY | (3 << 8);
}

/// SQLite's extended result code, if the error is SQLite's.
fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    Some(extended_code(error)? & 0xff)
}

/// Whether a connection that only reads met a journal that a crash left, and that somebody who may write has to roll
/// back.
pub(super) fn is_rollback_needed(error: &sqlx::Error) -> bool {
    extended_code(error) == Some(code::READONLY_ROLLBACK)
}

/// Whether a statement was told to give up.
pub(super) fn is_interrupted(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(code::INTERRUPT)
}

/// Whether the disk is full.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(code::FULL)
}

/// SQLite's own words, without sqlx's.
fn words(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}

impl QueueError {
    /// The same, with the write that it concerns.
    pub(super) fn concerning(self, refused: impl FnOnce(String) -> RejectedWrite) -> Self {
        let Self::RolledBack { sentence, refused: None } = self else { return self };
        let refused = Some(Box::new(refused(sentence.clone())));
        Self::RolledBack { sentence, refused }
    }

    /// A trigger lets a write pass by, with `RAISE(IGNORE)`.
    pub(super) fn ignored() -> Self {
        Self::Refused("a trigger ignores what is written (RAISE(IGNORE))".to_owned())
    }

    /// The error of a statement on an open queue.
    pub(super) fn of(what: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| Self::about(what, &error)
    }

    pub(super) fn about(what: &'static str, error: &sqlx::Error) -> Self {
        match primary_code(error) {
            Some(code::CONSTRAINT) => Self::Refused(words(error)),
            Some(code::BUSY | code::LOCKED) => Self::Busy { what, detail: words(error) },
            Some(code::CORRUPT | code::NOTADB) => Self::Damaged { what, detail: words(error) },
            Some(code::READONLY) => Self::ReadOnly(what),
            _ => Self::Failed { what, detail: words(error) },
        }
    }

    /// The error of what can't be put into words for a statement.
    pub(super) fn unwritable(what: &'static str, error: &serde_json::Error) -> Self {
        Self::Failed { what, detail: error.to_string() }
    }

    /// Whether the connection that met this error is as good as before. After an I/O error it may not be.
    #[must_use]
    pub fn spares_the_connection(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Refused(_) | Self::Held { .. } | Self::Replaced(_) | Self::Linked { .. }
        )
    }

    /// The error of opening the file at a path.
    pub(super) fn opening(path: &Path, error: &sqlx::Error) -> Self {
        let failed = || Self::Failed { what: "opening", detail: format!("{}: {}", path.display(), words(error)) };
        // SQLite doesn't say which of its files it was.
        let denied = || permission::denied(path);
        match primary_code(error) {
            Some(code::READONLY | code::CANTOPEN) if is_read_only(directory_of(path)) => {
                Self::ReadOnlyFilesystem { path: path.to_owned() }
            }
            Some(code::NOTADB) => {
                Self::Foreign { path: path.to_owned(), why: "it is not an SQLite database".to_owned() }
            }
            Some(code::CORRUPT) => Self::Corrupt { path: path.to_owned(), detail: words(error) },
            Some(code::READONLY) => Self::permission(&denied().unwrap_or_else(|| path.to_owned())),
            Some(code::CANTOPEN) => denied().map_or_else(failed, |file| Self::permission(&file)),
            _ => failed(),
        }
    }

    /// The error of an operation on the file at a path.
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Self::permission(path);
        }
        if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
            return Self::ReadOnlyFilesystem { path: path.to_owned() };
        }
        Self::Failed { what: "opening", detail: format!("{}: {error}", path.display()) }
    }

    /// The error of a file that this user may not use.
    pub(super) fn permission(path: &Path) -> Self {
        Self::Permission { path: path.to_owned(), denial: Denial::of(path) }
    }
}
