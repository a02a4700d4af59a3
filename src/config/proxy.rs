//! `api.proxy`, and the URLs of proxies.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::url::host_and_port;

/// What is expected.
pub(super) const EXPECTED: &str = "\"environment\", \"off\", \"systemd\", \"file:\" with the absolute path of a file, or a URL \
    such as \"http://USER:PASSWORD@HOST:PORT\"; its scheme is http, https, socks5h or socks5, and in user and password each \
    character but letters and digits is written as %XX";

/// The prefix of a path to a file that holds the URL.
const FILE: &str = "file:";

/// Every scheme, with curl's default port.
const SCHEMES: [(&str, u16); 4] = [("http", 1080), ("https", 443), ("socks5", 1080), ("socks5h", 1080)];

/// `api.proxy`: the proxy to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxySetting {
    /// As the environment's `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    Environment,
    /// None.
    Off,
    /// The credential `proxy` that systemd passes to the service holds the URL.
    Systemd,
    /// A file holds the URL.
    File(PathBuf),
    /// This URL.
    Url(ProxyUrl),
}

impl ProxySetting {
    /// Reads the setting.
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

/// The URL of a proxy, with a port. Neither `Debug` nor `Display` shows a user or a password.
#[derive(Debug, Clone)]
pub struct ProxyUrl {
    scheme: &'static str,
    /// Host and port.
    address: String,
    /// User and password, as the URL has them.
    user: Option<SecretString>,
}

impl ProxyUrl {
    /// Reads the URL: a scheme, a host, and perhaps a user, a password and a port.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, default_port) = SCHEMES.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, authority) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (host, port) = host_and_port(authority)?;
        let address = format!("{host}:{}", port.map_or(default_port, NonZeroU16::get));
        let user = Some(user).filter(|user| !user.is_empty());
        user.is_none_or(is_user).then(|| Self { scheme, address, user: user.map(|user| user.to_owned().into()) })
    }

    /// Host and port, as messages name the proxy.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it has a user, perhaps with a password.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// The whole URL: a secret if it [has a user](Self::has_user).
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

/// Whether a URL can have this as its user, or as its user and password.
fn is_user(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%".contains(&byte);
    let is_hex_pair = |rest: &str| rest.as_bytes().get(..2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    text.bytes().all(fits) && text.split('%').skip(1).all(is_hex_pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canaryPassword";

    fn parsed(text: &str) -> Option<String> {
        ProxyUrl::parse(text).map(|url| url.exposed())
    }

    #[test]
    fn a_url_has_a_known_scheme_a_host_and_a_port_which_defaults_to_curls() {
        let good = [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128"),
            ("http://proxy", "http://proxy:1080"),
            ("https://proxy", "https://proxy:443"),
            ("socks5h://10.0.0.1:9050", "socks5h://10.0.0.1:9050"),
            ("socks5://my_proxy", "socks5://my_proxy:1080"),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
            ("http://[::1]", "http://[::1]:1080"),
            ("http://127.1", "http://127.0.0.1:1080"),
            ("http://user@proxy:1", "http://user@proxy:1"),
            ("http://user:p%40ss:word@proxy:1", "http://user:p%40ss:word@proxy:1"),
            ("http://@proxy:1", "http://proxy:1"),
        ];
        for (text, url) in good {
            assert_eq!(parsed(text).as_deref(), Some(url), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
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
            "http://proxy:80:80",
            "http://proxy/path",
            "http://proxy?query",
            "http://pro xy",
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
}
