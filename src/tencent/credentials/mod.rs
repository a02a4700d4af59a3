//! Where the credentials come from: systemd, the environment, the vendor's file, that of its command-line tool, the
//! machine's role; one file each.
//!
//! The first place that has any decides: what it holds is good, or an error. Nothing is kept here; who wants newer
//! credentials looks again.

mod environment;
mod keypair;
mod role;
mod secret_file;
mod systemd;
mod tccli_file;
#[cfg(test)]
mod tests;
mod vendor_file;

use std::fmt;
use std::io;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use environment::{SECRET_ID, SECRET_KEY};

pub use role::{DMI, Role};
pub(super) use secret_file::read as read_secret;
pub use tccli_file::tccli_file;
pub use vendor_file::{parse_credentials, vendor_files};

/// A key pair, and a token if it is temporary. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Public: it goes over the wire in every request.
    pub secret_id: String,
    /// Never leaves the process.
    pub secret_key: SecretString,
    /// Goes along with temporary keys.
    pub token: Option<SecretString>,
}

impl Credentials {
    /// Whether these are the same keys.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.secret_id == other.secret_id
            && self.secret_key.expose_secret() == other.secret_key.expose_secret()
            && self.exposed_token() == other.exposed_token()
    }

    fn exposed_token(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.expose_secret())
    }
}

/// Where credentials were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The directory that systemd made for the unit.
    Systemd(PathBuf),
    /// The environment.
    Environment,
    /// A file in one of the vendor's formats.
    File(PathBuf),
    /// The role of the machine, by its name.
    Role(String),
    /// Nowhere: the caller brought them.
    Caller,
}

impl Source {
    /// How keys that are replaced there get to a process that runs, for people; none if they do so by themselves.
    #[must_use]
    pub fn replacing(&self) -> Option<&'static str> {
        match self {
            Self::Systemd(_) => Some(
                "systemd hands the credentials over when the service starts: after replacing them, run systemctl restart",
            ),
            Self::Environment => Some("the environment is that of the start: after replacing them there, restart it"),
            Self::File(_) | Self::Role(_) | Self::Caller => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Systemd(path) => {
                write!(f, "systemd's {} ({}, {})", path.display(), systemd::SECRET_ID, systemd::SECRET_KEY)
            }
            Self::Environment => write!(f, "the environment ({SECRET_ID}, {SECRET_KEY})"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Role(name) => write!(f, "the machine's role {name}"),
            Self::Caller => f.write_str("the caller"),
        }
    }
}

/// Credentials with where they were found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The keys.
    pub credentials: Credentials,
    /// Where they were.
    pub source: Source,
    /// Until when temporary keys are good, by the monotonic clock; none for lasting ones.
    pub expires: Option<Instant>,
    /// The places before, which had none.
    pub passed: Vec<Passed>,
}

impl Found {
    /// Lasting credentials that weren't looked for.
    #[must_use]
    pub fn lasting(credentials: Credentials, source: Source) -> Self {
        Self { credentials, source, expires: None, passed: Vec::new() }
    }
}

/// A place that has no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which one.
    pub place: String,
    /// Why it has none.
    pub why: String,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// Why there are no credentials. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// None of the places has any.
    #[error("credentials.source: no credentials were found. Looked at {}. {advice}", listed(.looked_at))]
    NotFound {
        /// Every place that was looked at.
        looked_at: Vec<Passed>,
        /// What to do.
        advice: String,
    },
    /// One half without the other, or one that can't be right.
    #[error("the credentials in {place}: {problem}")]
    Unusable {
        /// Where they are.
        place: Source,
        /// What is wrong.
        problem: String,
    },
    /// Other users may read the file.
    #[error("{0} can be read by every user of this machine; run: chmod o-rwx {0}")]
    Exposed(PathBuf),
    /// The file can't be read.
    #[error("{path} can't be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The stand-in for the service that gives out the role's keys is none.
    #[error("{variable} is {value:?}: it must be a loopback address with a port, such as 127.0.0.1:8018")]
    StandIn {
        /// What names it.
        variable: &'static str,
        /// Where it is said to be.
        value: String,
    },
    /// The service that gives out the role's keys doesn't, at present.
    #[error("the machine's role gives no credentials at present: {0}")]
    Unreachable(String),
}

impl CredentialsError {
    fn unusable(place: &Source, problem: impl Into<String>) -> Self {
        Self::Unusable { place: place.clone(), problem: problem.into() }
    }

    /// Whether it may pass without anybody's doing.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::NotFound { .. }
            | Self::Unusable { .. }
            | Self::Exposed(_)
            | Self::Unreadable { .. }
            | Self::StandIn { .. } => false,
        }
    }
}

fn listed(places: &[Passed]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A place where credentials may be.
#[derive(Debug, Clone)]
pub enum Place {
    /// The directory that `$CREDENTIALS_DIRECTORY` names, if it names one.
    Systemd(Option<PathBuf>),
    /// The environment.
    Environment,
    /// A file in the vendor's format, and the section of it.
    File(PathBuf, String),
    /// The file of a profile of the vendor's command-line tool.
    Tccli(PathBuf),
    /// The machine's role.
    Role(Role),
}

/// What a place holds.
enum Holding {
    Keys(Credentials, Source, Option<Instant>),
    Nothing(String),
}

impl Holding {
    /// Lasting keys, if there are any.
    fn of(credentials: Option<Credentials>, source: Source, otherwise: impl Into<String>) -> Self {
        match credentials {
            Some(credentials) => Self::Keys(credentials, source, None),
            None => Self::Nothing(otherwise.into()),
        }
    }
}

impl Place {
    async fn look(&self, variable: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<Holding, CredentialsError> {
        match self {
            Self::Systemd(directory) => systemd::look(directory.as_deref()),
            Self::Environment => environment::look(variable),
            Self::File(path, profile) => vendor_file::look(path, profile),
            Self::Tccli(path) => tccli_file::look(path),
            Self::Role(role) => role.look().await,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Systemd(_) => "systemd".to_owned(),
            Self::Environment => "the environment".to_owned(),
            Self::File(path, _) | Self::Tccli(path) => format!("the file {}", path.display()),
            Self::Role(_) => "the machine's role".to_owned(),
        }
    }

    /// How to put credentials there.
    fn advice(&self) -> String {
        match self {
            Self::Systemd(_) => "give the unit LoadCredential=secret_id:… and LoadCredential=secret_key:…".to_owned(),
            Self::Environment => format!("set {SECRET_ID} and {SECRET_KEY}"),
            Self::File(path, profile) => {
                format!("write secret_id and secret_key under [{profile}] into {}", path.display())
            }
            Self::Tccli(path) => format!("let tccli configure write {}", path.display()),
            Self::Role(_) => "bind a role to this machine".to_owned(),
        }
    }
}

/// Finds the credentials: the first of the places that has any decides.
///
/// # Errors
/// When no place has any, or the first that has holds unusable ones, or whether it has any can't be told at present.
pub async fn find_credentials(
    places: &[Place],
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Found, CredentialsError> {
    let mut passed = Vec::new();
    for place in places {
        match place.look(variable).await? {
            Holding::Keys(credentials, source, expires) => return Ok(Found { credentials, source, expires, passed }),
            Holding::Nothing(why) => passed.push(Passed { place: place.name(), why }),
        }
    }
    let advice: Vec<String> = places.iter().map(Place::advice).collect();
    let advice = format!("To mend it: {}", advice.join("; or "));
    Err(CredentialsError::NotFound { looked_at: passed, advice })
}
