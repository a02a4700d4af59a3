//! What can be wrong with a configuration. Each error is one sentence that names the key and its place.

use std::io;
use std::path::PathBuf;

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read, or is missing although it was named.
    #[error("can't read the configuration file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The file isn't TOML. Its text isn't shown: it may hold a secret.
    #[error("the configuration file {} isn't valid TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Reason and position.
        reason: String,
    },
    /// The key doesn't exist. Its value isn't shown: it may be a secret.
    #[error("unknown key `{key}` {place}; {hint}")]
    UnknownKey {
        /// The full key, escaped.
        key: String,
        /// Its place, in words: the file's path or the environment variable's name.
        place: String,
        /// What exists instead.
        hint: String,
    },
    /// The value has the wrong type, is out of range, or contradicts another.
    #[error("`{key}` is {written}: it must be {expected}")]
    Invalid {
        /// The full key.
        key: String,
        /// The value as written, escaped and truncated, and its place, in words.
        written: String,
        /// What is expected.
        expected: String,
    },
    /// A file that every user of the machine can read has a password.
    #[error(
        "`api.proxy` has a user or a password in {path}, which every user of this machine can read: move the URL to a \
         separate file with mode 0600, and set api.proxy to \"file:\" and that file's path", path = .0.display()
    )]
    Exposed(PathBuf),
    /// A bug in this program, not a mistake in the configuration.
    #[error("internal error while reading the configuration: {0}")]
    Internal(String),
}
