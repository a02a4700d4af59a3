//! The role of the machine: the vendor's metadata service gives out temporary keys for it.
//!
//! The service is plain HTTP at a link-local address, which only on the vendor's own machines is known to be the
//! vendor's. Elsewhere it is asked only where the settings say so by name: a neighbour who answered in its place would
//! have us place orders in an account of the neighbour's.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::keypair::{flaw, given, good_until};
use super::{Credentials, CredentialsError, Holding, Source};
use crate::clock::{self, Now, UnixMillis};
use crate::config::is_role_name;
use crate::escaping::printable;
use crate::tencent::connections::install_crypto;
use crate::tencent::failure::describe;

const SERVICE: &str = "http://metadata.tencentyun.com";
const PATH: &str = "/latest/meta-data/cam/security-credentials/";
/// What the kernel tells about the machine's make.
pub const DMI: &str = "/sys/class/dmi/id";
const MAKERS: [&str; 3] = ["sys_vendor", "chassis_vendor", "board_vendor"];
const VENDOR: &str = "Tencent";
/// The service is on the machine itself, more or less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read: a genuine one has about a thousand bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
const MAX_SHOWN: usize = 100;
/// A role, and where its keys are asked for.
#[derive(Debug, Clone)]
pub struct Role {
    /// None for the one that the machine has.
    name: Option<String>,
    service: String,
    /// Where the kernel tells the machine's make, if that matters.
    dmi: Option<PathBuf>,
}

/// What the service says.
enum Answer {
    Text(String),
    NotThere,
}

impl Role {
    /// The role of this name, or the one that the machine has.
    #[must_use]
    pub fn new(name: Option<String>) -> Self {
        Self { name, service: SERVICE.to_owned(), dmi: None }
    }

    /// The same, asked for at a stand-in for the service.
    #[must_use]
    pub fn at(self, stand_in: SocketAddr) -> Self {
        Self { service: format!("http://{stand_in}"), ..self }
    }

    /// The same, asked for only if this is a machine of the vendor's, by what stands in this directory. See [`DMI`].
    #[must_use]
    pub fn only_on_vendors_machines(self, dmi: &Path) -> Self {
        Self { dmi: Some(dmi.to_owned()), ..self }
    }

    pub(super) async fn look(&self) -> Result<Holding, CredentialsError> {
        if let Some(dmi) = &self.dmi
            && let Err(why) = is_vendors_machine(dmi)
        {
            let why = format!("not asked for, since {why} (credentials.source = \"cvm-role\" asks all the same)");
            return Ok(Holding::Nothing(why));
        }
        self.ask().await.map_err(|why| CredentialsError::Unreachable(format!("{} {why}", self.service)))
    }

    /// Asks the service.
    ///
    /// # Errors
    /// What is wrong, to be read after the service's name.
    async fn ask(&self) -> Result<Holding, String> {
        let http = connect()?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => match self.get(&http, "").await? {
                Answer::Text(text) if !text.trim().is_empty() => a_name(&text)?,
                Answer::Text(_) | Answer::NotThere => {
                    return Ok(Holding::Nothing(format!("{} says that this machine has none", self.service)));
                }
            },
        };
        // Before they are asked for: what they are good for counts from here.
        let now = clock::now();
        match self.get(&http, &name).await? {
            Answer::Text(text) => {
                let (credentials, expires) = keys(&text, now)?;
                Ok(Holding::Keys(credentials, Source::Role(name), Some(expires)))
            }
            Answer::NotThere => {
                Ok(Holding::Nothing(format!("{} says that this machine has no role {name}", self.service)))
            }
        }
    }

    async fn get(&self, http: &reqwest::Client, name: &str) -> Result<Answer, String> {
        let lost = |error| format!("can't be reached: {}", describe(error));
        let mut response = http.get(format!("{}{PATH}{name}", self.service)).send().await.map_err(lost)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Answer::NotThere),
            other => return Err(format!("answers with HTTP {}", other.as_u16())),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err("answers with more than 16 KiB".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map(Answer::Text).map_err(|_| "answers with what is not UTF-8 text".to_owned())
    }
}

fn connect() -> Result<reqwest::Client, String> {
    install_crypto();
    let client = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .referer(false)
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build();
    client.map_err(|error| format!("can't be asked: {}", describe(error)))
}

/// Whether the kernel says that the machine is the vendor's.
///
/// # Errors
/// What speaks against it.
fn is_vendors_machine(dmi: &Path) -> Result<(), String> {
    let makers = MAKERS.map(|file| fs::read(dmi.join(file)).map(|text| String::from_utf8_lossy(&text).into_owned()));
    if makers.iter().flatten().any(|maker| maker.contains(VENDOR)) {
        return Ok(());
    }
    let file = dmi.join(MAKERS[0]);
    let [maker, ..] = makers;
    Err(match maker {
        Ok(maker) => {
            format!("{} says \"{}\" and not {VENDOR}", file.display(), printable(maker.trim(), MAX_SHOWN))
        }
        Err(error) => format!("{} doesn't say that this is {VENDOR}'s machine: {error}", file.display()),
    })
}

/// The first name in the list of roles. A machine has one at most.
fn a_name(text: &str) -> Result<String, String> {
    let name = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if is_role_name(name) { Ok(name.to_owned()) } else { Err("answers with what is no role's name".to_owned()) }
}

/// The keys in the service's answer, and until when they are good.
///
/// # Errors
/// What is wrong with it, without its values.
fn keys(text: &str, now: Now) -> Result<(Credentials, Instant), String> {
    // What the reader of JSON has to say may show a value.
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return Err("answers with what is not a JSON object".to_owned());
    };
    match fields.get("Code").and_then(Value::as_str) {
        Some("Success") => {}
        Some(code) => return Err(format!("answers with the code {}", printable(code, MAX_SHOWN))),
        None => return Err("answers without a Code".to_owned()),
    }
    let secret_id = value(&fields, "TmpSecretId")?;
    let secret_key = value(&fields, "TmpSecretKey")?.into();
    let token = Some(value(&fields, "Token")?.into());
    let expires = fields.get("ExpiredTime").and_then(Value::as_i64).ok_or("answers without an ExpiredTime")?;
    let expires = UnixMillis(expires.saturating_mul(1000));
    let good_until = good_until(expires, now).ok_or_else(|| {
        format!("answers with keys that expired at {expires}; this machine's clock says {}", now.unix)
    })?;
    Ok((Credentials { secret_id, secret_key, token }, good_until))
}

fn value(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    let text = fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let text = given(text).ok_or_else(|| format!("answers without a {name}"))?;
    match flaw(&text) {
        Some(flaw) => Err(format!("answers with a {name} that {flaw}")),
        None => Ok(text),
    }
}

#[cfg(test)]
#[path = "role_tests.rs"]
mod tests;
