//! The way to the API: straight, or through a proxy.
//!
//! A proxy gets to know the API's name and nothing of what is sent: requests go through a tunnel, in TLS. What fails
//! before the tunnel and TLS stand was not sent.

mod answer;
mod environment;
pub(super) mod failure;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::client::InvalidEndpoint;
use super::credentials::{CredentialsError, Source, read_secret};
use crate::config::{ProxySetting, ProxyUrl};

/// Where systemd puts the files of `LoadCredential=`.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The name of the credential.
const CREDENTIAL: &str = "proxy";

/// A proxy, and where it was found. Neither `Debug` nor `Display` shows a user or a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    url: ProxyUrl,
    found: Place,
}

/// Where a proxy was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A variable of the environment.
    Variable(&'static str),
    /// The configuration itself.
    Configuration,
    /// A file that the configuration names, or that systemd made.
    File(PathBuf),
}

/// The way to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Straight, for this reason.
    Straight(String),
    /// Through a proxy.
    Through(Proxy),
}

/// Why the way can't be told. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// What stands there is no proxy's URL.
    #[error(
        "{place} is not the URL of a proxy: write http://, https://, socks5h:// or socks5://, then HOST:PORT, or \
             USER:PASSWORD@HOST:PORT, in which what is neither a letter nor a digit in user or password is written as %XX"
    )]
    NoUrl {
        /// Where.
        place: String,
    },
    /// The file can't, or must not, be read.
    #[error("api.proxy: {0}")]
    Unreadable(#[from] CredentialsError),
    /// There is no such file.
    #[error("api.proxy: the file {} is not there", .0.display())]
    Missing(PathBuf),
    /// systemd handed over no such credential.
    #[error("api.proxy is \"systemd\", and {0}: give the unit LoadCredential=proxy:/etc/certcommit/proxy")]
    NotHandedOver(String),
}

impl Way {
    /// The proxy, if there is one.
    #[must_use]
    pub fn proxy(self) -> Option<Proxy> {
        match self {
            Self::Straight(_) => None,
            Self::Through(proxy) => Some(proxy),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Straight(why) => write!(f, "none: {why}"),
            Self::Through(proxy) => {
                let user = if proxy.url.has_user() { ", with a user" } else { "" };
                write!(f, "{proxy}{user}, from {}", proxy.found)
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the environment's {name}"),
            Self::Configuration => f.write_str("api.proxy"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

impl fmt::Display for Proxy {
    /// Host and port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.address())
    }
}

impl Proxy {
    /// The proxy as the HTTP client takes it.
    ///
    /// # Errors
    /// When the HTTP client can't make anything of it: it would go past the proxy without a word.
    pub(super) fn of_client(&self) -> Result<reqwest::Proxy, InvalidEndpoint> {
        // What the client has to say about a URL may show it.
        let invalid = || InvalidEndpoint::Proxy(self.to_string());
        self.intercept().ok_or_else(invalid)?;
        reqwest::Proxy::all(self.url.exposed()).map_err(|_| invalid())
    }

    /// What the HTTP client makes of it: where to connect, and what to authorize with.
    fn intercept(&self) -> Option<Intercept> {
        let api = hyper::Uri::from_static("https://api");
        Matcher::builder().all(self.url.exposed()).build().intercept(&api)
    }
}

/// Finds the way to an endpoint: by the setting, and where that says so, by the environment's variables. What is on this
/// machine is never asked through a proxy.
///
/// # Errors
/// When what is there can't be used: nothing goes straight that was to go through a proxy.
pub fn find_way(
    setting: &ProxySetting,
    endpoint: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Way, ProxyError> {
    let host = host_of(endpoint);
    if is_loopback(&host) {
        return Ok(Way::Straight(format!("{host} is this machine")));
    }
    let (url, found) = match setting {
        ProxySetting::Off => return Ok(Way::Straight("api.proxy is \"off\"".to_owned())),
        ProxySetting::Environment => return environment::find(&host, variable),
        ProxySetting::Url(url) => (url.clone(), Place::Configuration),
        ProxySetting::File(path) => {
            (in_file(path)?.ok_or_else(|| ProxyError::Missing(path.clone()))?, Place::File(path.clone()))
        }
        ProxySetting::Systemd => {
            let directory = variable(DIRECTORY).filter(|path| !path.is_empty());
            let directory = directory.ok_or_else(|| ProxyError::NotHandedOver(format!("${DIRECTORY} is not set")))?;
            let path = Path::new(&directory).join(CREDENTIAL);
            let missing = || ProxyError::NotHandedOver(format!("{} is not there", path.display()));
            (in_file(&path)?.ok_or_else(missing)?, Place::File(path))
        }
    };
    Ok(Way::Through(Proxy { url, found }))
}

/// The URL in a file, if there is one.
fn in_file(path: &Path) -> Result<Option<ProxyUrl>, ProxyError> {
    let place = Source::File(path.to_owned());
    let Some(text) = read_secret(path, &place)? else { return Ok(None) };
    let url = ProxyUrl::parse(text.trim());
    url.map(Some).ok_or_else(|| ProxyError::NoUrl { place: format!("what {} holds", place) })
}

/// The host of an endpoint, without the brackets of an address.
fn host_of(endpoint: &str) -> String {
    let host = reqwest::Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_default().trim_matches(['[', ']']).to_owned()
}

fn is_loopback(host: &str) -> bool {
    let name = host.eq_ignore_ascii_case("localhost");
    name || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
