//! The role of the machine: the vendor's metadata service issues temporary credentials for it.
//!
//! The service speaks plain HTTP at a link-local address. Only on the vendor's own machines does that address certainly
//! belong to the vendor. Elsewhere, a neighbor on the network could answer instead, and orders would be placed in the
//! neighbor's account. So elsewhere, the service is asked only if the settings require it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use super::error::CredentialsError;
use super::keypair::{Credentials, good_until};
use super::source::{Found, Lookup, Source};
use crate::clock::{self, Now, UnixMillis};
use crate::config::is_role_name;
use crate::escaping::printable;
use crate::tencent::failure::describe;
use crate::tencent::http;

const SERVICE: &str = "http://metadata.tencentyun.com";
const PATH: &str = "/latest/meta-data/cam/security-credentials/";
/// Where the kernel reports the machine's maker.
pub(super) const DMI: &str = "/sys/class/dmi/id";
const MAKERS: [&str; 3] = ["sys_vendor", "chassis_vendor", "board_vendor"];
const VENDOR: &str = "Tencent";
/// Short: the service is link-local.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest reply accepted. A genuine one has about a thousand bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longer texts of the service are truncated in messages.
const LONGEST_TEXT: usize = 100;

/// A role, and the service that knows it.
#[derive(Debug, Clone)]
pub(super) struct Role {
    /// `None` for whatever role the machine has.
    name: Option<String>,
    service: String,
    /// Where to check that the vendor made this machine, such as [`DMI`]; `None` for no check.
    dmi: Option<PathBuf>,
}

impl Role {
    pub(super) fn new(name: Option<String>, stand_in: Option<SocketAddr>, dmi: Option<&Path>) -> Self {
        let service = stand_in.map_or_else(|| SERVICE.to_owned(), |address| format!("http://{address}"));
        Self { name, service, dmi: dmi.map(Path::to_owned) }
    }

    pub(super) async fn lookup(&self) -> Result<Lookup, CredentialsError> {
        if let Some(Err(why)) = self.dmi.as_deref().map(check_maker) {
            let why = format!("not asked, since {why} (to ask anyway, set credentials.source = \"cvm-role\")");
            return Ok(Lookup::Nothing(why));
        }
        self.ask().await.map_err(|why| CredentialsError::Unreachable(format!("{} {why}", self.service)))
    }

    /// Asks the service.
    ///
    /// # Errors
    /// What is wrong, worded to follow the service's name.
    async fn ask(&self) -> Result<Lookup, String> {
        let client = http::client(CONNECT_TIMEOUT, TIMEOUT).build();
        let client = client.map_err(|error| format!("can't be asked: {}", describe(error)))?;
        let nothing =
            |what: &str| Ok(Lookup::Nothing(format!("{} says that this machine has no role{what}", self.service)));
        let name = match &self.name {
            Some(name) => name.clone(),
            None => match self.get(&client, "").await? {
                Some(list) if !list.trim().is_empty() => first_name(&list)?,
                Some(_) | None => return nothing(""),
            },
        };
        // Read before the request, so that the lifetime isn't overestimated.
        let now = clock::now();
        let Some(reply) = self.get(&client, &name).await? else { return nothing(&format!(" {name}")) };
        let (credentials, expires) = temporary_credentials(&reply, now)?;
        Ok(Lookup::Found(Found { expires: Some(expires), ..Found::lasting(credentials, Source::Role(name)) }))
    }

    /// What the service has at this name; `None` if it has nothing.
    async fn get(&self, client: &reqwest::Client, name: &str) -> Result<Option<String>, String> {
        let lost = |error| format!("can't be reached: {}", describe(error));
        let mut response = client.get(format!("{}{PATH}{name}", self.service)).send().await.map_err(lost)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            other => return Err(format!("replied with HTTP {}", other.as_u16())),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err("replied with more than 16 KiB".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map(Some).map_err(|_| "replied with text that is not UTF-8".to_owned())
    }
}

/// Checks that the kernel reports the vendor as the machine's maker.
///
/// # Errors
/// What the kernel reports instead.
fn check_maker(dmi: &Path) -> Result<(), String> {
    let makers = MAKERS.map(|file| fs::read(dmi.join(file)).map(|text| String::from_utf8_lossy(&text).into_owned()));
    if makers.iter().flatten().any(|maker| maker.contains(VENDOR)) {
        return Ok(());
    }
    let file = dmi.join(MAKERS[0]);
    let [maker, ..] = makers;
    Err(match maker {
        Ok(maker) => format!("{} is \"{}\", not {VENDOR}", file.display(), printable(maker.trim(), LONGEST_TEXT)),
        Err(error) => format!("{} doesn't name {VENDOR}: {error}", file.display()),
    })
}

/// The first name in the list of roles. A machine has at most one.
fn first_name(list: &str) -> Result<String, String> {
    let name = list.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if is_role_name(name) {
        Ok(name.to_owned())
    } else {
        Err("replied with something that is not a role name".to_owned())
    }
}

/// The credentials in the service's reply, and when they expire.
///
/// # Errors
/// What is wrong with the reply, without its values.
fn temporary_credentials(reply: &str, now: Now) -> Result<(Credentials, Instant), String> {
    // The parser's own error may show a value.
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(reply) else {
        return Err("replied with something that is not a JSON object".to_owned());
    };
    match fields.get("Code").and_then(Value::as_str) {
        Some("Success") => {}
        Some(code) => return Err(format!("replied with the code {}", printable(code, LONGEST_TEXT))),
        None => return Err("replied without a Code".to_owned()),
    }
    let value = |name| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let found = Credentials::assemble(
        value("TmpSecretId"),
        value("TmpSecretKey"),
        value("Token"),
        ("TmpSecretId", "TmpSecretKey"),
    );
    let credentials = found
        .map_err(|problem| format!("replied with unusable credentials: {problem}"))?
        .filter(|credentials| credentials.token.is_some())
        .ok_or("replied without a TmpSecretId, a TmpSecretKey or a Token")?;
    let expires = fields.get("ExpiredTime").and_then(Value::as_i64).ok_or("replied without an ExpiredTime")?;
    let expires = UnixMillis(expires.saturating_mul(1000));
    let good_until = good_until(expires, now).ok_or_else(|| {
        format!("replied with credentials that expired at {expires}; this machine's clock says {}", now.unix)
    })?;
    Ok((credentials, good_until))
}

#[cfg(test)]
#[path = "role_tests.rs"]
mod tests;
