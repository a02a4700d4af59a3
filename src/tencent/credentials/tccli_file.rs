//! The file of the vendor's command-line tool: JSON, one for each profile. `tccli configure` writes lasting keys into it, a
//! login with it temporary ones, which whatever `tccli` is run for renews.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::time::Instant;

use super::keypair::{assemble, good_until};
use super::secret_file::read_sheltered;
use super::{CredentialsError, Holding, Source};
use crate::clock::{self, UnixMillis};

const NAMES: (&str, &str) = ("secretId", "secretKey");
/// What the tool writes where it uses the machine's role.
const MACHINES_ROLE: &str = "cvm-role";

/// Where the tool keeps the keys of a profile.
#[must_use]
pub fn tccli_file(home: &str, profile: &str) -> PathBuf {
    Path::new(home).join(".tccli").join(format!("{profile}.credential"))
}

pub(super) fn look(path: &Path) -> Result<Holding, CredentialsError> {
    let place = Source::File(path.to_owned());
    match read_sheltered(path, &place)? {
        Some(text) => of_json(&text, place),
        None => Ok(Holding::Nothing("it is not there".to_owned())),
    }
}

/// Whether a text is of this format rather than of the INI one.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

pub(super) fn of_json(text: &str, place: Source) -> Result<Holding, CredentialsError> {
    // What the reader of JSON has to say may show a value.
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return Err(CredentialsError::unusable(&place, "the file is not a JSON object, as tccli configure writes it"));
    };
    let value = |name| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let found = assemble(value(NAMES.0), value(NAMES.1), value("token"), NAMES, &place)?;
    let Some(credentials) = found else {
        let uses_role = fields.get("type").and_then(Value::as_str) == Some(MACHINES_ROLE);
        let why = if uses_role { "it names the machine's role" } else { "it has neither secretId nor secretKey" };
        return Ok(Holding::Nothing(why.to_owned()));
    };
    // Lasting keys have no token, and what is left of an earlier login says nothing of them.
    let login = fields.get("expiresAt").filter(|_| credentials.token.is_some());
    let expires = login.map(|at| end_of_login(at, &place)).transpose()?;
    Ok(Holding::Keys(credentials, place, expires))
}

/// Until when the keys of a login are good, by its `expiresAt`, which is in unix seconds.
fn end_of_login(at: &Value, place: &Source) -> Result<Instant, CredentialsError> {
    let Some(seconds) = at.as_i64() else {
        return Err(CredentialsError::unusable(place, "expiresAt is not a number of seconds"));
    };
    let (expires, now) = (UnixMillis(seconds.saturating_mul(1000)), clock::now());
    good_until(expires, now).ok_or_else(|| {
        let problem = format!(
            "the keys of this login expired at {expires}; this machine's clock says {}. Any command of tccli renews them, and \
             tccli auth login logs in anew",
            now.unix
        );
        CredentialsError::unusable(place, problem)
    })
}

#[cfg(test)]
#[path = "tccli_tests.rs"]
mod tests;
