//! What may stand as `api.proxy`, and what a proxy's URL may be.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

/// What would be right.
pub(super) const WANTED: &str = "\"environment\", \"off\", \"systemd\", \"file:\" with the absolute path of a file, or a URL \
    such as \"http://USER:PASSWORD@HOST:PORT\"; its scheme is http, https, socks5h or socks5, and what is neither a letter \
    nor a digit in user or password is written as %XX";

/// What begins the path of a file that holds the URL.
const FILE: &str = "file:";

/// The ports that curl takes where none is said.
const HTTPS_PORT: u16 = 443;
const OTHER_PORT: u16 = 1080;

/// `api.proxy`: where the way to the API is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxySetting {
    /// The environment's `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    Environment,
    /// There is no proxy.
    Off,
    /// The credential `proxy` that systemd hands to the service holds the URL.
    Systemd,
    /// A file holds the URL.
    File(PathBuf),
    /// This URL.
    Url(ProxyUrl),
}

impl ProxySetting {
    /// The setting that a text stands for, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match (text, text.strip_prefix(FILE)) {
            ("environment", _) => Some(Self::Environment),
            ("off", _) => Some(Self::Off),
            ("systemd", _) => Some(Self::Systemd),
            (_, Some(path)) => path.starts_with('/').then(|| Self::File(path.into())),
            (url, None) => ProxyUrl::parse(url).map(Self::Url),
        }
    }

    /// Whether it holds a user or a password.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Url(url) if url.has_user())
    }
}

impl fmt::Display for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::Off => f.write_str("off"),
            Self::Systemd => f.write_str("systemd"),
            Self::File(path) => write!(f, "{FILE}{}", path.display()),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// A value that is no setting, as an error may show it: no part of it in which a password could stand.
pub(super) fn redacted(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, _)) => format!("{}://…", scheme.to_ascii_lowercase()),
        None if text.contains(['@', ':']) && !text.starts_with(FILE) => "…".to_owned(),
        None => text.to_owned(),
    }
}

/// The URL of a proxy, with a port. Neither `Debug` nor `Display` shows a user or a password.
#[derive(Clone)]
pub struct ProxyUrl {
    scheme: &'static str,
    /// The host as it stands in a URL, and the port.
    address: String,
    /// As it stands in the URL.
    user: Option<SecretString>,
}

impl ProxyUrl {
    /// The URL, if it is one of a proxy: a scheme, perhaps a user and a password, a host, perhaps a port.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];
        let (scheme, rest) = text.split_once("://")?;
        let scheme = SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(scheme))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user).filter(|user| !user.is_empty()), place),
            None => (None, authority),
        };
        let usual = if scheme == "https" { HTTPS_PORT } else { OTHER_PORT };
        let address = address(place, usual)?;
        let user = match user {
            Some(user) if is_user(user) => Some(user.to_owned().into()),
            Some(_) => return None,
            None => None,
        };
        Some(Self { scheme, address, user })
    }

    /// Host and port, as messages name the proxy.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether a user goes with it, perhaps with a password.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// The whole of it: a secret if it [has a user](Self::has_user).
    #[must_use]
    pub fn exposed(&self) -> String {
        let Self { scheme, address, user } = self;
        let user = user.as_ref().map(|user| format!("{}@", user.expose_secret())).unwrap_or_default();
        format!("{scheme}://{user}{address}")
    }
}

impl PartialEq for ProxyUrl {
    fn eq(&self, other: &Self) -> bool {
        self.exposed() == other.exposed()
    }
}

impl Eq for ProxyUrl {}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.has_user() { "***@" } else { "" };
        write!(f, "{}://{user}{}", self.scheme, self.address)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

/// Host and port, the usual one if none is said.
fn address(place: &str, usual: u16) -> Option<String> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => {
            let host: Ipv6Addr = host.parse().ok()?;
            (format!("[{host}]"), if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
            let host = host.to_ascii_lowercase();
            (host.parse::<Ipv4Addr>().is_ok() || is_name(&host)).then_some((host, port))?
        }
    };
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok().filter(|port| *port > 0)?,
        Some(_) => return None,
        None => usual,
    };
    Some(format!("{host}:{port}"))
}

/// Whether this is a host's name. A last label that is a number isn't: clients read that as an IPv4 address in one of its odd
/// spellings.
fn is_name(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let top = host.rsplit('.').next().unwrap_or_default();
    let is_number = top.bytes().all(|byte| byte.is_ascii_digit()) || top.starts_with("0x");
    !is_number && host.split('.').all(|label| !label.is_empty() && label.bytes().all(fits))
}

/// Whether this can stand for a user, or a user and a password, in a URL.
fn is_user(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%".contains(&byte);
    let escapes = text.split('%').skip(1);
    text.bytes().all(fits) && escapes.into_iter().all(|rest| is_hex_pair(rest.as_bytes()))
}

fn is_hex_pair(bytes: &[u8]) -> bool {
    bytes.get(..2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canaryPassword";

    fn parsed(text: &str) -> Option<String> {
        ProxyUrl::parse(text).map(|url| url.exposed())
    }

    #[test]
    fn a_url_has_one_of_four_schemes_a_host_and_a_port_or_the_one_that_curl_takes() {
        let good = [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128"),
            ("http://proxy", "http://proxy:1080"),
            ("https://proxy", "https://proxy:443"),
            ("socks5h://10.0.0.1:9050", "socks5h://10.0.0.1:9050"),
            ("socks5://my_proxy", "socks5://my_proxy:1080"),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
            ("http://[::1]", "http://[::1]:1080"),
            ("http://user@proxy:1", "http://user@proxy:1"),
            ("http://user:p%40ss:word@proxy:1", "http://user:p%40ss:word@proxy:1"),
            ("http://@proxy:1", "http://proxy:1"),
        ];
        for (text, url) in good {
            assert_eq!(parsed(text).as_deref(), Some(url), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_none() {
        for bad in [
            "",
            "proxy:3128",
            "ftp://proxy:3128",
            "socks4://proxy:3128",
            "http://",
            "http://:3128",
            "http://proxy:",
            "http://proxy:0",
            "http://proxy:65536",
            "http://proxy:+80",
            "http://proxy:80:80",
            "http://proxy/path",
            "http://proxy?query",
            "http://pro xy",
            "http://.proxy",
            "http://proxy.",
            "http://127.1",
            "http://0x7f.0x1",
            "http://256.0.0.1",
            "http://[proxy]",
            "http://[::1]3128",
            "http://us er@proxy",
            "http://user:p@ss@proxy",
            "http://user:p/ss@proxy",
            "http://user:p%4@proxy",
            "http://user:p\u{e4}ss@proxy",
            "http://user:pass\n@proxy",
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_setting_is_a_word_a_file_or_a_url() {
        let url = ProxyUrl::parse("http://proxy:1").unwrap();
        let cases = [
            ("environment", Some(ProxySetting::Environment)),
            ("off", Some(ProxySetting::Off)),
            ("systemd", Some(ProxySetting::Systemd)),
            ("file:/etc/proxy", Some(ProxySetting::File("/etc/proxy".into()))),
            ("http://proxy:1", Some(ProxySetting::Url(url))),
            ("file:proxy", None),
            ("file:", None),
            ("on", None),
            ("", None),
        ];
        for (text, setting) in cases {
            assert_eq!(ProxySetting::parse(text), setting, "{text}");
            if let Some(setting) = setting {
                assert_eq!(setting.to_string(), text);
            }
        }
    }

    #[test]
    fn neither_debug_nor_display_shows_user_or_password() {
        let setting = ProxySetting::parse(&format!("http://{CANARY}:{CANARY}@proxy:3128")).unwrap();
        assert!(setting.is_secret());
        assert_eq!(setting.to_string(), "http://***@proxy:3128");
        assert!(!format!("{setting:?} {setting:#?}").contains(CANARY));
    }

    #[test]
    fn what_is_no_setting_is_shown_by_its_scheme_alone() {
        assert_eq!(redacted(&format!("http://user:{CANARY}")), "http://…");
        assert_eq!(redacted(&format!("user:{CANARY}@proxy")), "…");
        assert_eq!((redacted("of").as_str(), redacted("file:proxy").as_str()), ("of", "file:proxy"));
    }
}
