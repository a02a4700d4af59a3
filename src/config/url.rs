//! What the URLs of the configuration have in common: a host, perhaps a port, and parts that no error may show.

use std::num::NonZeroU16;

use url::Host;

/// Reads `HOST` or `HOST:PORT` as the HTTP client does: `127.1` is an address, `höst` is `xn--hst-sna`.
pub(super) fn host_and_port(text: &str) -> Option<(Host, Option<NonZeroU16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        Some(_) | None => (text, None),
    };
    let host = Host::parse(host).ok()?;
    // Part of the HTTP client accepts no other characters.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_odd = matches!(&host, Host::Domain(name) if !name.bytes().all(is_plain));
    (!is_odd).then_some((host, port))
}

/// A text that should be a URL, without the parts that may be a password.
pub(super) fn redacted(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://…"),
        None if text.contains(['@', ':']) => "…".to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        let (host, port) = host_and_port(text)?;
        Some(port.map_or_else(|| host.to_string(), |port| format!("{host} {port}")))
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_may_have_a_port() {
        for (text, expected) in [
            ("ssl.ap-guangzhou.tencentcloudapi.com", "ssl.ap-guangzhou.tencentcloudapi.com"),
            ("Proxy.Example:3128", "proxy.example 3128"),
            ("my_proxy", "my_proxy"),
            ("10.0.0.1:1", "10.0.0.1 1"),
            ("127.1:80", "127.0.0.1 80"),
            ("2130706433", "127.0.0.1"),
            ("[2001:DB8::1]:443", "[2001:db8::1] 443"),
            ("[::1]", "[::1]"),
            ("höst", "xn--hst-sna"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            ":80",
            "host:",
            "host:0",
            "host:65536",
            "host:80:80",
            "host/",
            "host/path",
            "host?a=b",
            "host#a",
            "user@host",
            "ho st",
            "ho'st",
            "[::1",
            "[host]",
            "[::1]80",
            "::1",
            "256.0.0.1",
            "host\n",
            "127.0.0.1:80\\@host",
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        assert_eq!(redacted("https://user:se@cret@host/path?token=t"), "https://…");
        assert_eq!((redacted("user:secret@host").as_str(), redacted("token@host").as_str()), ("…", "…"));
        assert_eq!(redacted("on"), "on");
    }
}
