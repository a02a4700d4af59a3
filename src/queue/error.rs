//! What can go wrong with the database: for each cause one sentence, a stable code and one remedy.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::files::process::Process;
use super::paths::{directory_of, shell_quoted};
use super::rejected_write::RejectedWrite;
use crate::cause::{Cause, DatabaseCause, Quote};
use crate::clock::UnixMillis;

/// What to do with a damaged database. Debian's `sqlite3` writes nothing on `.recover`, and ends a `.dump` with ROLLBACK if
/// it finds damage.
pub const SALVAGE: &str = "stop the daemon and restore a backup; or save what can be read to a new file: sqlite3 queue.db \
    .dump | sed 's/^ROLLBACK; -- due to errors$/COMMIT;/' | sqlite3 saved.db; then replace queue.db with it, delete \
    queue.db-wal and queue.db-shm, keep queue.db.mark, and run: certcommit check --repair";

/// A failed operation.
#[derive(Debug)]
pub struct Fault {
    /// The operation, if naming it helps.
    pub what: Option<&'static str>,
    /// The message of SQLite or of the system.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            Some(what) => write!(f, " ({what}): {}", self.detail),
            None => write!(f, ": {}", self.detail),
        }
    }
}

/// The schema version of a file that differs from this program's.
#[derive(Debug)]
pub struct SchemaVersions {
    /// The file.
    pub path: PathBuf,
    /// Its schema version.
    pub found: i64,
    /// The newest schema version that this version of certcommit knows.
    pub known: i64,
}

impl fmt::Display for SchemaVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, found, known } = self;
        write!(f, "{} has schema {found}, and this version of certcommit knows schema {known}", path.display())
    }
}

/// Why the database can't be used, or why it rejected a write.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There is no database, and this command doesn't create one.
    #[error("there is no queue at {0}")]
    Missing(PathBuf),
    /// The file exists and is empty.
    #[error("{0} holds no queue yet")]
    Empty(PathBuf),
    /// The file is gone or empty although it held a queue before.
    #[error("{path} holds no queue, but a queue here made {made} requests: it was emptied or deleted")]
    Emptied {
        /// The file.
        path: PathBuf,
        /// The newest request, by the marker beside the database.
        made: i64,
    },
    /// The file belongs to another program.
    #[error("{path} is not a certcommit queue ({why}); it was left untouched")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// A newer version wrote it.
    #[error("{0}: it was written by a newer certcommit, and was left untouched")]
    Newer(SchemaVersions),
    /// An older version wrote it, and a daemon holds it.
    #[error("{0}, and a daemon holds it")]
    Older(SchemaVersions),
    /// An older version wrote it, and this command only reads.
    #[error("{0}")]
    Outdated(SchemaVersions),
    /// A queue without its `application_id`, as loaded from a dump.
    #[error("{0} has the tables of a queue but not its application_id, as when it was loaded from sqlite3's .dump")]
    Unmarked(PathBuf),
    /// Objects of the schema are missing or altered.
    #[error("the schema of {path} was altered: {flaws}. Nothing more is sent")]
    Altered {
        /// The file.
        path: PathBuf,
        /// The missing or altered objects.
        flaws: String,
    },
    /// The schema changed since it was last compared; the batch then compares it.
    #[error("the schema changed and has not been compared yet")]
    Uncompared,
    /// The file is damaged.
    #[error("{path} is corrupt: {detail}. Nothing more is written to it")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        detail: String,
    },
    /// A file can't be created.
    #[error("{path} can't be created: {error}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database is on a network filesystem.
    #[error("{path} is on a network filesystem ({kind}), where SQLite's locks don't work")]
    Network {
        /// The file.
        path: PathBuf,
        /// The filesystem's type.
        kind: String,
    },
    /// The database is on a filesystem that another program or this machine's host serves.
    #[error(
        "{path} is on a filesystem ({kind}) that another program or the host of this machine serves; SQLite's locks work \
         there only if that server supports them"
    )]
    Served {
        /// The file.
        path: PathBuf,
        /// The filesystem's type.
        kind: String,
    },
    /// The database has more than one name.
    #[error("{path} has {names} names (hard links); under each, it would have a write-ahead log and a lock of its own")]
    Linked {
        /// The file, by one of its names.
        path: PathBuf,
        /// How many names it has.
        names: u64,
        /// The directory that all of them are below.
        root: PathBuf,
    },
    /// The database's path is a mount point.
    #[error(
        "{0} is itself a mount point, as when a single file is mounted into a container; its write-ahead log and its lock \
         would not be beside the mounted file"
    )]
    MountPoint(PathBuf),
    /// This user may not use a file.
    #[error("permission denied for {path}: {why}")]
    Permission {
        /// The file.
        path: PathBuf,
        /// What denies this user access.
        why: String,
        /// What grants it.
        remedy: String,
    },
    /// This user may read the database but not write to it.
    #[error("this user may read the database but not write to it ({0})")]
    ReadOnly(&'static str),
    /// The filesystem is read-only.
    #[error(
        "{} is on a filesystem that is {}. SQLite has to write even to read a queue",
        path.display(),
        if *only_here { "mounted read-only here" } else { "read-only, as after an error of the disk" }
    )]
    ReadOnlyFilesystem {
        /// The file.
        path: PathBuf,
        /// Whether another mount of the filesystem may be writable.
        only_here: bool,
    },
    /// Another daemon runs on the database.
    #[error("another daemon holds {path} ({holder}); only one daemon may run per database")]
    Held {
        /// The file.
        path: PathBuf,
        /// The process that holds it.
        holder: String,
    },
    /// The path no longer leads to the open file.
    #[error("{0} was replaced or deleted while it was open. Nothing more is sent")]
    Replaced(PathBuf),
    /// The database was reverted to an earlier state while it was open.
    #[error(
        "{path} was reverted to an earlier state while it was open: {newest} requests are on record, but {made} were made. \
         Nothing more is sent"
    )]
    Rewound {
        /// The file.
        path: PathBuf,
        /// The newest request on record.
        newest: i64,
        /// The newest request made.
        made: i64,
    },
    /// The departure marker can't be written, so no commit may be sent.
    #[error("the departure marker {path} can't be written: {error}. Nothing more is sent")]
    DepartureMarker {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A process keeps the write lock.
    #[error("{} holds the write lock of {}{}", named(holder.as_ref()), path.display(), since(last_write.as_ref()))]
    Locked {
        /// The file.
        path: PathBuf,
        /// The process; none if it is in another container, or this user doesn't see it.
        holder: Option<Process>,
        /// When anybody last wrote.
        last_write: Option<UnixMillis>,
    },
    /// The directory has no room for the next write.
    #[error("no space is left in {}: {free} bytes are free", directory.display())]
    NoSpace {
        /// Where.
        directory: PathBuf,
        /// The bytes that are free.
        free: u64,
    },
    /// The daemon is frozen by a signal, or by a debugger.
    #[error("the daemon is frozen by a signal (SIGSTOP, SIGTSTP) or a debugger: {0}")]
    DaemonFrozen(Process),
    /// Another process kept the database locked for longer than SQLite waits.
    #[error("another process keeps the database locked{0}")]
    Busy(Fault),
    /// A statement found damage.
    #[error("the database can't be read correctly{0}")]
    Damaged(Fault),
    /// No space is left for a write.
    #[error("no space is left for the database{0}")]
    Full(Fault),
    /// A read, a write or a sync failed.
    #[error("the disk or the filesystem of the database failed{0}")]
    Io(Fault),
    /// A file can't be opened, for a reason other than permissions.
    #[error("a file of the database can't be opened{0}")]
    CannotOpen(Fault),
    /// Any other failure of a statement, for instance because a table is missing.
    #[error("the database failed{0}")]
    Failed(Fault),
    /// A trigger or a constraint rejected a write; this is its message.
    #[error("{0}")]
    Refused(String),
    /// A trigger rejected a write and rolled the whole transaction back.
    #[error("{sentence}; the trigger that raised this rolls back the whole transaction (RAISE(ROLLBACK))")]
    RolledBack {
        /// The trigger's message.
        sentence: String,
        /// The write, if it is known.
        refused: Option<Box<RejectedWrite>>,
    },
}

fn named(holder: Option<&Process>) -> String {
    holder.map_or("an unknown process".to_owned(), Process::to_string)
}

fn since(last_write: Option<&UnixMillis>) -> String {
    last_write.map(|at| format!("; nobody has written since {at}")).unwrap_or_default()
}

impl From<&QueueError> for Cause {
    fn from(error: &QueueError) -> Self {
        let remedy = error.remedy().unwrap_or_default();
        let (sentence, remedy) = (Quote::new(&error.to_string()), Quote::new(&remedy));
        Self::Database(DatabaseCause { code: error.code(), sentence, remedy })
    }
}

impl QueueError {
    /// The code of the cause, for programs. It never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code_and_remedy().0
    }

    /// The one thing to do about it; none if the sentence itself says what to correct.
    #[must_use]
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(self.code_and_remedy().1).filter(|remedy| !remedy.is_empty())
    }

    fn code_and_remedy(&self) -> (&'static str, Cow<'static, str>) {
        const CREATE: &str = "create it with `certcommit run` or `certcommit enqueue` (database.path says where)";
        match self {
            Self::Missing(_) => ("database_missing", CREATE.into()),
            Self::Empty(_) => ("database_empty", CREATE.into()),
            Self::Emptied { .. } => {
                ("database_emptied", "restore a backup; a newly created queue will start paused".into())
            }
            Self::Foreign { .. } => {
                ("foreign_file", "set database.path to a queue, or to a file that doesn't exist yet".into())
            }
            Self::Newer(_) => (
                "newer_schema",
                "install that version, or restore the copy that it wrote before it migrated the queue".into(),
            ),
            Self::Older(_) => ("older_schema_held", "restart the daemon with this version".into()),
            Self::Outdated(_) => ("older_schema", "start the daemon, which migrates it".into()),
            Self::Unmarked(_) => {
                ("application_id_missing", "make it a queue again with `certcommit check --repair`".into())
            }
            Self::Altered { .. } => (
                "schema_altered",
                "if the daemon still runs, stop it; then, as its user: certcommit check --repair; then start it, and keep the tool away \
                 that altered the schema"
                    .into(),
            ),
            Self::Uncompared => ("schema_changed", "".into()),
            Self::Corrupt { .. } => ("database_corrupt", SALVAGE.into()),
            Self::Create { .. } => ("cannot_create", "fix that, or choose another path".into()),
            Self::Network { .. } => ("network_filesystem", "move database.path to a local disk".into()),
            Self::Served { .. } => (
                "unsafe_filesystem",
                "move database.path to a local disk. If there is none, and nothing on the other side opens the queue, set \
                 database.unsafe_filesystem = \"allow\""
                    .into(),
            ),
            Self::Linked { path, root, .. } => {
                let find = format!("find {} -xdev -samefile {}", shell_quoted(root), shell_quoted(path));
                ("database_linked", format!("remove the others; to find them: {find}").into())
            }
            Self::MountPoint(path) => {
                let volume = format!("-v DIRECTORY:{}", shell_quoted(directory_of(path)));
                ("mount_point", format!("mount its directory, not the file (docker: {volume})").into())
            }
            Self::Permission { remedy, .. } => ("permission_denied", remedy.clone().into()),
            Self::ReadOnly(_) => {
                ("database_read_only", "run this as root, or as a member of the group that owns the database".into())
            }
            Self::ReadOnlyFilesystem { path, .. } => {
                let mount = format!("findmnt -T {}", shell_quoted(directory_of(path)));
                let remedy = format!(
                    "find out why (dmesg shows failed disks); its mount point: {mount}. After an error of the disk, don't just remount \
                     it: stop the daemon and wait for its end (35 s at most), unmount it, check it with fsck, mount it, and start the \
                     daemon. The log has the results that can't be written, and the next run reads those certificates back"
                );
                ("read_only_filesystem", remedy.into())
            }
            Self::Held { .. } => (
                "held_by_other_daemon",
                "if that one is meant to run, there is nothing to do: it goes on. To run this one instead, stop that one first".into(),
            ),
            Self::Replaced(_) => {
                ("database_replaced", "put it back, or decide to use the new one, then start again".into())
            }
            Self::Rewound { .. } => {
                ("database_rewound", "start again: the queue will be paused, and the reason says what to do".into())
            }
            Self::DepartureMarker { .. } => {
                ("departure_marker", "start again: the next run makes a new one, or works without".into())
            }
            Self::DaemonFrozen(process) => {
                (
                    "daemon_frozen",
                    format!(
                        "let it continue, as root or as its user: kill -CONT {}. Replies that it missed may then pause the queue until a \
                         probe succeeds; to probe at once: certcommit resume",
                        process.pid
                    )
                    .into(),
                )
            }
            Self::Locked { holder, .. } => {
                let end = match holder {
                    Some(Process { pid, .. }) => format!("let it commit or roll back its transaction, or end it: kill {pid}"),
                    None => "end the transaction in the container or virtual machine that shares the file".to_owned(),
                };
                ("database_locked", format!("{end}. certcommit continues by itself").into())
            }
            Self::Busy(_) => ("database_locked", "find out which program leaves a transaction open: certcommit check names it".into()),
            Self::Damaged(_) => {
                ("database_damaged", format!("if this persists, the database is damaged: {SALVAGE}").into())
            }
            Self::NoSpace { directory, .. } => {
                let find = format!("du -axh {} | sort -h | tail shows what fills it", shell_quoted(directory));
                ("disk_full", format!("free some space: {find}. certcommit continues by itself").into())
            }
            Self::Full(_) => ("disk_full", "free some space on its filesystem".into()),
            Self::Io(_) => ("io_error", "check the disk and the kernel's messages (dmesg)".into()),
            Self::CannotOpen(_) => ("cannot_open", "make that file accessible, or change database.path".into()),
            Self::Failed(_) => ("database_failed", "find out what is wrong with `certcommit check --integrity`".into()),
            Self::Refused(_) => ("rejected_by_rule", "".into()),
            Self::RolledBack { .. } => ("rolled_back_by_trigger", "use RAISE(ABORT) in that trigger".into()),
        }
    }

    /// The sentence and the remedy.
    #[must_use]
    pub fn with_remedy(&self) -> String {
        self.remedy().map_or_else(|| self.to_string(), |remedy| format!("{self}; {remedy}"))
    }

    /// Whether the connection is still usable after this error. After an I/O error, it may not be.
    #[must_use]
    pub fn leaves_connection_usable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Refused(_) | Self::Held { .. } | Self::Replaced(_) | Self::Linked { .. }
        )
    }
}
