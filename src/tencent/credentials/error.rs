//! Why there are no credentials.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

/// Why there are no credentials. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No provider has any.
    #[error("credentials.source: found no credentials. Looked at {}. To fix it: {advice}", .looked_at.join("; "))]
    NotFound {
        /// Every provider that was asked, with the reason why it has none.
        looked_at: Vec<String>,
        /// What to do.
        advice: String,
    },
    /// Half of a pair is missing, or a value is invalid.
    #[error("the credentials in {place}: {problem}")]
    Unusable {
        /// Where they are.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// Other users can read the file.
    #[error("every user of this machine can read {0}; run: chmod o-rwx {0}")]
    Exposed(PathBuf),
    /// The file can't be read.
    #[error("{path} can't be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The address of the simulated metadata service is invalid.
    #[error("{variable} is {value:?}: expected a loopback address with a port, such as 127.0.0.1:8018")]
    MetadataAddress {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// The metadata service has no usable credentials at present.
    #[error("the machine's role is unavailable: {0}")]
    Unreachable(String),
}

impl CredentialsError {
    pub(super) fn unusable(place: &impl Display, problem: impl Into<String>) -> Self {
        Self::Unusable { place: place.to_string(), problem: problem.into() }
    }

    /// Whether the problem may go away without a change of the settings.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}
