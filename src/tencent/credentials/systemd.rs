//! systemd's `LoadCredential=`, `LoadCredentialEncrypted=` and `SetCredential=`: each credential is a file in the directory
//! that `$CREDENTIALS_DIRECTORY` names. The files are made when the service starts, and stay the same while it runs.

use std::path::{Path, PathBuf};

use super::error::CredentialsError;
use super::keypair::Credentials;
use super::secret_file::read;
use super::source::{Lookup, Source};

const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
const SECRET_ID: &str = "secret_id";
const SECRET_KEY: &str = "secret_key";
const TOKEN: &str = "token";

pub(super) const ADVICE: &str = "add LoadCredential=secret_id:… and LoadCredential=secret_key:… to the unit";

/// The directory, if systemd made one.
///
/// # Errors
/// Why there is none.
pub(super) fn directory(variable: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, String> {
    let path = variable(DIRECTORY).filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| format!("${DIRECTORY} is not set"))
}

/// The file of one credential, if systemd made a directory.
///
/// # Errors
/// As [`directory`].
pub(in crate::tencent) fn file(name: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, String> {
    Ok(directory(variable)?.join(name))
}

/// The credentials in the directory's files `secret_id`, `secret_key` and, if it is there, `token`.
pub(super) fn lookup(directory: &Path) -> Result<Lookup, CredentialsError> {
    let value = |name: &str| read(&directory.join(name));
    let found = Credentials::assemble(value(SECRET_ID)?, value(SECRET_KEY)?, value(TOKEN)?, (SECRET_ID, SECRET_KEY));
    let missing = format!("{} has neither {SECRET_ID} nor {SECRET_KEY}", directory.display());
    Lookup::lasting(found, Source::Systemd(directory.to_owned()), missing)
}
