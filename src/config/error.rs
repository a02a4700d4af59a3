//! What can be wrong with a configuration. Each error is one sentence that names the full key and where it stood.

use std::io;
use std::path::PathBuf;

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing, though it was asked for, or can't be read.
    #[error("can't read the configuration file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The file isn't TOML. The file's text isn't shown: somebody may have put a secret into it.
    #[error("the configuration file {} isn't valid TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Position and reason.
        reason: String,
    },
    /// A key or a section that doesn't exist. Its value isn't shown.
    #[error("unknown key `{key}` {place}; {hint}")]
    UnknownKey {
        /// The full key, escaped.
        key: String,
        /// Where it stood: the file's path or the environment variable's name, in words.
        place: String,
        /// What there is instead.
        hint: String,
    },
    /// A value of the wrong type, out of range, or at odds with another.
    #[error("`{key}` is {value} {place}: it must be {wanted}")]
    Invalid {
        /// The full key.
        key: &'static str,
        /// The value as written, escaped and shortened.
        value: String,
        /// Where it stood, in words.
        place: String,
        /// What would be right.
        wanted: String,
    },
    /// A password in a file that every user of the machine can read.
    #[error(
        "`api.proxy` has a user or a password in {path}, which every user of this machine can read: write the URL into a \
         file of its own with the mode 0600, and set api.proxy to \"file:\" and its path", path = .0.display()
    )]
    Exposed(PathBuf),
    /// The settings can't be put together: a defect of this program, not of the configuration.
    #[error("the settings can't be put together: {0}")]
    Internal(String),
}
