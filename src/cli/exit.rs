//! Exit codes, and the code of each failure.

use std::fmt;
use std::io;

use crate::config::ConfigError;
use crate::daemon::StartError;
use crate::logging::LoggingError;
use crate::queue::QueueError;
use crate::tencent::{CredentialsError, InvalidEndpoint, ProxyError};

/// An exit code. Those from 64 on follow sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Done,
    /// Part of it wasn't done.
    PartlyDone,
    /// Invalid usage.
    Usage,
    /// The database isn't an intact queue.
    Data,
    /// The API can't be reached, or refuses the account.
    Unavailable,
    /// The database can't be created.
    CantCreate,
    /// The database failed.
    Io,
    /// Another daemon holds the database.
    Held,
    /// The database was replaced or deleted while it was open.
    Replaced,
    /// Permission denied.
    Permission,
    /// The configuration is invalid.
    Config,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::PartlyDone,
        Self::Usage,
        Self::Data,
        Self::Unavailable,
        Self::CantCreate,
        Self::Io,
        Self::Held,
        Self::Replaced,
        Self::Permission,
        Self::Config,
    ];

    /// The number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.entry().0
    }

    /// What it means, in one sentence.
    #[must_use]
    pub fn describe(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (u8, &'static str) {
        match self {
            Self::Done => (0, "Done."),
            Self::PartlyDone => (1, "Partly done: submissions failed or are held, or lines were refused."),
            Self::Usage => (2, "Invalid usage, or the file of IDs can't be read."),
            Self::Data => (
                65,
                "The database isn't a queue, comes from a newer version, is corrupt or emptied, or lacks some of its rules.",
            ),
            Self::Unavailable => {
                (69, "The API can't be reached, or refuses the account; or the daemon can't work, or doesn't run.")
            }
            Self::CantCreate => (73, "The database can't be created."),
            Self::Io => (74, "The database failed."),
            Self::Held => (75, "Another daemon holds the database."),
            Self::Replaced => (76, "The database was replaced or deleted while it was open."),
            Self::Permission => (77, "Permission denied."),
            Self::Config => (78, "The configuration is invalid, or the database's location is unsupported."),
        }
    }
}

/// The exit codes, for `--help`.
pub(super) fn help() -> String {
    let lines = Code::ALL.iter().map(|code| format!("\n  {:>2}  {}", code.number(), code.describe()));
    format!("Exit codes:{}", lines.collect::<String>())
}

/// Why a command failed, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    message: String,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A failure that is in the log already.
    pub(super) fn quiet(code: Code) -> Self {
        Self::new(code, "")
    }

    /// Whether to print nothing: it is in the log, or the reader of the output closed it.
    pub(super) fn is_quiet(&self) -> bool {
        self.message.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// The exit code of an error of the database.
    pub(super) fn code_of(error: &QueueError) -> Code {
        match error {
            QueueError::Foreign { .. }
            | QueueError::Newer { .. }
            | QueueError::Unmarked(_)
            | QueueError::Emptied { .. }
            | QueueError::Altered { .. }
            | QueueError::Corrupt { .. }
            | QueueError::Damaged { .. } => Code::Data,
            QueueError::Missing(_)
            | QueueError::Empty(_)
            | QueueError::Outdated { .. }
            | QueueError::Uncompared
            | QueueError::DepartureMarker { .. }
            | QueueError::Busy { .. }
            | QueueError::ReadOnlyFilesystem { .. }
            | QueueError::Locked { .. }
            | QueueError::NoSpace { .. }
            | QueueError::DaemonFrozen(_)
            | QueueError::Full(_)
            | QueueError::Io(_)
            | QueueError::CannotOpen(_)
            | QueueError::Failed(_) => Code::Io,
            QueueError::Create { .. } => Code::CantCreate,
            QueueError::Held { .. } | QueueError::Older { .. } => Code::Held,
            QueueError::Replaced(_) | QueueError::Rewound { .. } => Code::Replaced,
            QueueError::Permission { .. } | QueueError::ReadOnly(_) => Code::Permission,
            QueueError::Network { .. }
            | QueueError::Served { .. }
            | QueueError::Linked { .. }
            | QueueError::MountPoint { .. } => Code::Config,
            QueueError::Refused(_) | QueueError::RolledBack { .. } => Code::PartlyDone,
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        Self::new(Self::code_of(&error), error.with_remedy())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Queue(error) => error.into(),
            StartError::Credentials(error) => error.into(),
            StartError::Endpoint(error) => error.into(),
            StartError::Proxy(error) => error.into(),
            // The address may be in use briefly, or not be up yet, so a restart may help.
            StartError::Metrics { .. } => Self::new(Code::Io, error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() == io::ErrorKind::BrokenPipe {
            true => Self::new(Code::Done, ""),
            false => Self::new(Code::Io, error.to_string()),
        }
    }
}

/// Errors that exit with [`Code::Config`].
macro_rules! configuration {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(Code::Config, error.to_string())
            }
        })*
    };
}

configuration!(ConfigError, InvalidEndpoint, LoggingError, ProxyError);

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Self {
        let code = if error.is_passing() { Code::Unavailable } else { Code::Config };
        Self::new(code, error.to_string())
    }
}
