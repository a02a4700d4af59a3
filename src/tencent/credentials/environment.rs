//! The environment, with the names that the vendor's tools use.

use super::keypair::{assemble, given};
use super::{CredentialsError, Holding, Source};

pub(super) const SECRET_ID: &str = "TENCENTCLOUD_SECRET_ID";
pub(super) const SECRET_KEY: &str = "TENCENTCLOUD_SECRET_KEY";
/// The command-line tool's name for a temporary token, and the Node SDK's.
const TOKENS: [&str; 2] = ["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SESSION_TOKEN"];

pub(super) fn look(variable: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<Holding, CredentialsError> {
    let place = Source::Environment;
    let token = TOKENS.iter().find_map(|name| given(variable(name)));
    let found = assemble(variable(SECRET_ID), variable(SECRET_KEY), token, (SECRET_ID, SECRET_KEY), &place)?;
    Ok(Holding::of(found, place, format!("{SECRET_ID} is not set")))
}
