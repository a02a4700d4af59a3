//! The environment, with the names that the vendor's tools use.

use super::error::CredentialsError;
use super::keypair::{Credentials, non_blank};
use super::source::{Lookup, Source};

const SECRET_ID: &str = "TENCENTCLOUD_SECRET_ID";
const SECRET_KEY: &str = "TENCENTCLOUD_SECRET_KEY";
/// The command-line tool's name for a temporary token, and the Node SDK's.
const TOKENS: [&str; 2] = ["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SESSION_TOKEN"];

pub(super) const ADVICE: &str = "set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY";

pub(super) fn lookup(variable: &dyn Fn(&str) -> Option<String>) -> Result<Lookup, CredentialsError> {
    let token = TOKENS.iter().find_map(|name| non_blank(variable(name)));
    let found = Credentials::assemble(variable(SECRET_ID), variable(SECRET_KEY), token, (SECRET_ID, SECRET_KEY));
    Lookup::lasting(found, Source::Environment, format!("{SECRET_ID} is not set"))
}
