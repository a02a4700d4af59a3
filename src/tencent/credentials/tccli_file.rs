//! The files of the vendor's command-line tool: JSON, one for each profile. `tccli configure` writes permanent
//! credentials; `tccli auth login` writes temporary ones, which every run of tccli renews.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::time::Instant;

use super::error::CredentialsError;
use super::keypair::{Credentials, good_until};
use super::secret_file::read_in_private_directory;
use super::source::{Found, Lookup, Source};
use crate::clock::{self, UnixMillis};

const NAMES: (&str, &str) = ("secretId", "secretKey");
/// The `type` of a profile that uses the machine's role.
const MACHINES_ROLE: &str = "cvm-role";

/// Where tccli keeps the credentials of a profile.
pub(super) fn path(home: &Path, profile: &str) -> PathBuf {
    home.join(".tccli").join(format!("{profile}.credential"))
}

pub(super) fn lookup(path: &Path) -> Result<Lookup, CredentialsError> {
    match read_in_private_directory(path)? {
        Some(text) => from_json(&text, Source::File(path.to_owned())),
        None => Ok(Lookup::Nothing("there is no such file".to_owned())),
    }
}

/// Whether a text is in this format rather than the vendor's INI format.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

pub(super) fn from_json(text: &str, source: Source) -> Result<Lookup, CredentialsError> {
    // The parser's own error may show a value.
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return Err(CredentialsError::unusable(&source, "the file is not a JSON object as tccli configure writes it"));
    };
    let value = |name| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let found = Credentials::assemble(value(NAMES.0), value(NAMES.1), value("token"), NAMES);
    let Some(credentials) = found.map_err(|problem| CredentialsError::unusable(&source, problem))? else {
        let uses_role = fields.get("type").and_then(Value::as_str) == Some(MACHINES_ROLE);
        let why = if uses_role { "it refers to the machine's role" } else { "it has neither secretId nor secretKey" };
        return Ok(Lookup::Nothing(why.to_owned()));
    };
    // Permanent credentials have no token; an `expiresAt` beside them is left from an earlier login.
    let login = fields.get("expiresAt").filter(|_| credentials.token.is_some());
    let expires = login.map(|at| end_of_login(at, &source)).transpose()?;
    Ok(Lookup::Found(Found { expires, ..Found::lasting(credentials, source) }))
}

/// When the credentials of a login expire, by its `expiresAt` in unix seconds.
fn end_of_login(at: &Value, source: &Source) -> Result<Instant, CredentialsError> {
    let Some(seconds) = at.as_i64() else {
        return Err(CredentialsError::unusable(source, "expiresAt is not a number of seconds"));
    };
    let (expires, now) = (UnixMillis(seconds.saturating_mul(1000)), clock::now());
    good_until(expires, now).ok_or_else(|| {
        let problem = format!(
            "the login expired at {expires}; this machine's clock says {}. Run any tccli command to renew it, or tccli auth \
             login to log in again",
            now.unix
        );
        CredentialsError::unusable(source, problem)
    })
}

#[cfg(test)]
#[path = "tccli_tests.rs"]
mod tests;
