//! Where credentials were found.

use std::fmt;
use std::path::PathBuf;

use tokio::time::Instant;

use super::error::CredentialsError;
use super::keypair::Credentials;
use crate::cause::KeySource;

/// Where credentials were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The directory that systemd made for the service.
    Systemd(PathBuf),
    /// The environment.
    Environment,
    /// A file in one of the vendor's formats.
    File(PathBuf),
    /// The machine's role, by its name.
    Role(String),
    /// The caller provided them.
    Caller,
}

impl From<&Source> for KeySource {
    fn from(source: &Source) -> Self {
        match source {
            Source::Systemd(_) => Self::Systemd,
            Source::Environment => Self::Environment,
            Source::File(path) => Self::File { path: path.display().to_string().into() },
            Source::Role(name) => Self::Role { name: name.as_str().into() },
            Source::Caller => Self::Caller,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Systemd(path) => write!(f, "systemd's directory {}", path.display()),
            Self::Environment => f.write_str("the environment"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Role(name) => write!(f, "the machine's role {name}"),
            Self::Caller => f.write_str("the caller"),
        }
    }
}

/// Credentials, and where they were found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The credentials.
    pub credentials: Credentials,
    /// Where they were found.
    pub source: Source,
    /// When temporary credentials expire, by the monotonic clock; `None` for permanent ones.
    pub expires: Option<Instant>,
    /// The providers that were asked before, and had none, each with the reason.
    pub skipped: Vec<String>,
}

impl Found {
    /// Permanent credentials.
    #[must_use]
    pub fn lasting(credentials: Credentials, source: Source) -> Self {
        Self { credentials, source, expires: None, skipped: Vec::new() }
    }
}

/// What a provider has.
pub(super) enum Lookup {
    Found(Found),
    /// No credentials, for this reason.
    Nothing(String),
}

impl Lookup {
    /// Permanent credentials, or the reason why there are none.
    pub(super) fn lasting(
        assembled: Result<Option<Credentials>, String>,
        source: Source,
        otherwise: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        match assembled {
            Ok(Some(credentials)) => Ok(Self::Found(Found::lasting(credentials, source))),
            Ok(None) => Ok(Self::Nothing(otherwise.into())),
            Err(problem) => Err(CredentialsError::unusable(&source, problem)),
        }
    }
}
