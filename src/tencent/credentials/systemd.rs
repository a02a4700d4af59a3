//! systemd's `LoadCredential=`, `LoadCredentialEncrypted=` and `SetCredential=`: all of them are files in the directory
//! that `$CREDENTIALS_DIRECTORY` names. They are made when the unit starts and stay as they are while it runs.

use std::path::Path;

use super::keypair::assemble;
use super::secret_file::read;
use super::{CredentialsError, Holding, Source};

pub(super) const SECRET_ID: &str = "secret_id";
pub(super) const SECRET_KEY: &str = "secret_key";
const TOKEN: &str = "token";

/// The keys in the directory's files `secret_id`, `secret_key` and perhaps `token`, one value each.
pub(super) fn look(directory: Option<&Path>) -> Result<Holding, CredentialsError> {
    let Some(directory) = directory else {
        return Ok(Holding::Nothing("$CREDENTIALS_DIRECTORY is not set".to_owned()));
    };
    let place = Source::Systemd(directory.to_owned());
    let value = |name: &str| {
        // An error about one of the files names that file.
        let file = Source::File(directory.join(name));
        read(&directory.join(name), &file)
    };
    let found = assemble(value(SECRET_ID)?, value(SECRET_KEY)?, value(TOKEN)?, (SECRET_ID, SECRET_KEY), &place)?;
    let otherwise = format!("{} has neither {SECRET_ID} nor {SECRET_KEY}", directory.display());
    Ok(Holding::of(found, place, otherwise))
}
