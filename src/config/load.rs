//! Loading the settings from a file and the environment.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::{fs, io};

use super::error::ConfigError;
use super::names::ActionName;
use super::settings::Settings;
use super::sources::Values;

/// The file that is read if none is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/certcommit/certcommit.toml";

/// The default of `rate.per_second` for `CertificateOrderSubmit`: the server's limit for that action.
const ORDER_SUBMIT_PER_SECOND: u32 = 10;

impl Settings {
    /// Loads the settings: the defaults, overridden by the file, overridden by the variables of the environment that
    /// start with [`VARIABLE_PREFIX`](super::VARIABLE_PREFIX). If no file is named, [`DEFAULT_FILE`] is read if it
    /// exists.
    ///
    /// # Errors
    /// When the named file is missing, a file can't be read or isn't TOML, a key is unknown, or a value is invalid.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::load_or(file, Path::new(DEFAULT_FILE), environment)
    }

    fn load_or(
        file: Option<&Path>,
        fallback: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(fallback);
        let (text, is_public) = match read(path) {
            Err(reason) if file.is_none() && reason.kind() == io::ErrorKind::NotFound => (String::new(), false),
            read => read.map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?,
        };
        let settings = Self::from_text(path, &text, environment)?;
        // A variable that overrides the password doesn't hide it in the file.
        if is_public && Self::from_text(path, &text, []).is_ok_and(|own| own.api.proxy.is_secret()) {
            return Err(ConfigError::Exposed(path.to_owned()));
        }
        Ok(settings)
    }

    /// The settings from a file's text and the variables of an environment. Pure; errors name the path.
    ///
    /// # Errors
    /// As [`load`](Self::load), except those about reading the file.
    pub fn from_text(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let values = Values::collect(path, text, environment)?;
        let mut settings = values.settings()?;
        let Self { retry, verify, pause, .. } = &settings;
        values
            .check_order(("retry.initial_backoff", retry.initial_backoff), ("retry.max_backoff", retry.max_backoff))?;
        values.check_order(("verify.settle", verify.settle), ("verify.resend_after", verify.resend_after))?;
        values.check_order(("pause.probe_initial", pause.probe_initial), ("pause.probe_max", pause.probe_max))?;
        if settings.api.action == ActionName::CertificateOrderSubmit && !values.is_set("rate.per_second") {
            settings.rate.per_second = ORDER_SUBMIT_PER_SECOND;
        }
        Ok(settings)
    }
}

/// A file's text, and whether every user of the machine can read it.
fn read(path: &Path) -> io::Result<(String, bool)> {
    const OTHERS_READ: u32 = 0o004;
    let is_public = fs::metadata(path)?.permissions().mode() & OTHERS_READ != 0;
    Ok((fs::read_to_string(path)?, is_public))
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
