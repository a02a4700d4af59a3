//! A proxy, and the route to the API.

use std::fmt;
use std::path::PathBuf;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::config::ProxyUrl;
use crate::tencent::credentials::CredentialsError;

/// A proxy, and where it was found. Neither `Debug` nor `Display` shows a user or a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) url: ProxyUrl,
    pub(super) origin: Origin,
}

/// Where a proxy was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// An environment variable.
    Variable(&'static str),
    /// The configuration itself.
    Configuration,
    /// A file that the configuration names, or that systemd made.
    File(PathBuf),
}

/// The route to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Direct, for this reason.
    Direct(String),
    /// Through a proxy.
    Through(Proxy),
}

/// Why there is no route. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It isn't the URL of a proxy.
    #[error(
        "{place} is not the URL of a proxy: expected http://, https://, socks5h:// or socks5://, then HOST:PORT or \
         USER:PASSWORD@HOST:PORT, with everything but letters and digits in user and password written as %XX"
    )]
    NoUrl {
        /// Where it is.
        place: String,
    },
    /// The file can't, or must not, be read.
    #[error("api.proxy: {0}")]
    Unreadable(#[from] CredentialsError),
    /// There is no such file.
    #[error("api.proxy: there is no file {}", .0.display())]
    Missing(PathBuf),
    /// systemd passed no such credential.
    #[error("api.proxy is \"systemd\", and {0}: add LoadCredential=proxy:/etc/certcommit/proxy to the unit")]
    NoCredential(String),
}

impl Route {
    /// The proxy, if there is one.
    #[must_use]
    pub fn proxy(self) -> Option<Proxy> {
        match self {
            Self::Direct(_) => None,
            Self::Through(proxy) => Some(proxy),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(why) => write!(f, "none: {why}"),
            Self::Through(proxy) => {
                let user = if proxy.url.has_user() { ", with a user" } else { "" };
                write!(f, "{proxy}{user}, from {}", proxy.origin)
            }
        }
    }
}

impl fmt::Display for Origin {
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
    /// The proxy for the HTTP client; `None` if the client doesn't accept it, since it would then bypass the proxy
    /// silently.
    pub(in crate::tencent) fn for_client(&self) -> Option<reqwest::Proxy> {
        self.intercept()?;
        // The client's own error may show the URL.
        reqwest::Proxy::all(self.url.exposed()).ok()
    }

    /// How the HTTP client reads the URL: where to connect, and how to authenticate.
    pub(super) fn intercept(&self) -> Option<Intercept> {
        let api = hyper::Uri::from_static("https://api");
        Matcher::builder().all(self.url.exposed()).build().intercept(&api)
    }

    /// A reason, with the proxy in front.
    pub(in crate::tencent) fn describe(&self, why: &str) -> String {
        format!("through the proxy {self}: {why}")
    }
}
