//! Exit codes, and which failure has which.

use std::fmt;
use std::io;

use crate::config::ConfigError;
use crate::daemon::{RunError, StartError};
use crate::logging::LoggingError;
use crate::queue::QueueError;
use crate::tencent::{CredentialsError, InvalidEndpoint, ProxyError};

/// An exit code. Those from 64 on follow sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Done,
    /// Part of it wasn't: submissions failed or held, lines refused.
    PartlyDone,
    /// Usage, or the file of IDs can't be read.
    Usage,
    /// The database is foreign, newer, corrupt or emptied, or rules of it are gone.
    Data,
    /// The API can't be reached or refuses us.
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
    /// Configuration.
    Config,
}

impl Code {
    /// Every one.
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

    /// What it means, in one sentence.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Done => "Done.",
            Self::PartlyDone => "Part of it wasn't: submissions failed or held, lines refused.",
            Self::Usage => "Usage, or the file of IDs can't be read.",
            Self::Data => "The database is foreign, newer, corrupt or emptied, or rules of it are gone.",
            Self::Unavailable => "The API can't be reached or refuses us.",
            Self::CantCreate => "The database can't be created.",
            Self::Io => "The database failed.",
            Self::Held => "Another daemon holds the database.",
            Self::Replaced => "The database was replaced or deleted while it was open.",
            Self::Permission => "Permission denied.",
            Self::Config => "Configuration, or the database lies where none can.",
        }
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::PartlyDone => 1,
            Self::Usage => 2,
            Self::Data => 65,
            Self::Unavailable => 69,
            Self::CantCreate => 73,
            Self::Io => 74,
            Self::Held => 75,
            Self::Replaced => 76,
            Self::Permission => 77,
            Self::Config => 78,
        }
    }
}

/// What `--help` says about exit codes.
pub(super) fn help() -> String {
    let lines = Code::ALL.iter().map(|code| format!("\n  {:>2}  {}", code.number(), code.describe()));
    format!("Exit codes:{}", lines.collect::<String>())
}

/// Why a command failed, and with which code.
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

    /// Whether there is nothing to say: the reader of our output went away.
    pub(super) fn is_quiet(&self) -> bool {
        self.message.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let code = match &error {
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
            | QueueError::Busy { .. }
            | QueueError::ReadOnlyFilesystem { .. }
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
        };
        Self::new(code, error.with_remedy())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Queue(error) => error.into(),
            StartError::Credentials(error) => error.into(),
            StartError::Endpoint(error) => error.into(),
            StartError::Proxy(error) => error.into(),
            // The address may be another process's for a moment, or not be up yet: to start again may help.
            StartError::Metrics { .. } => Self::new(Code::Io, error.to_string()),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Queue(error) => error.into(),
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

/// Failures that are the configuration's.
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
