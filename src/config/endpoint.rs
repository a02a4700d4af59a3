//! What may stand as `api.endpoint`: requests are signed, but certificates and orders shouldn't be
//! readable on the way; so plain HTTP is for a stand-in on this machine only.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What would be right, for an endpoint that has no permitted shape.
const SHAPE: &str = "https://HOST or https://HOST:PORT, without a path, a user or a query";

/// What would be right, for plain HTTP to anything but this machine.
const LOOPBACK: &str = "an https:// address, since http:// is for a literal loopback address only, \
    such as http://127.0.0.1:8080 or http://[::1]:8080 (not localhost, which may resolve to anything)";

/// Checks an endpoint.
///
/// # Errors
/// What would be right.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let (secure, authority) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(authority), _) => (true, authority),
        (_, Some(authority)) => (false, authority),
        _ => return Err(SHAPE),
    };
    let (host, loopback) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => {
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(SHAPE)?) };
            check_port(port)?;
            let host: Ipv6Addr = host.parse().map_err(|_| SHAPE)?;
            (Some(()), host.is_loopback())
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            check_port(port)?;
            let address: Option<Ipv4Addr> = host.parse().ok();
            let fits = address.is_some() || is_name(host);
            (fits.then_some(()), address.is_some_and(|address| address.is_loopback()))
        }
    };
    host.ok_or(SHAPE)?;
    if secure || loopback { Ok(()) } else { Err(LOOPBACK) }
}

/// An endpoint as an error may show it: without what could be a password or a token.
pub(super) fn redacted(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        (_, None) => text.to_owned(),
    }
}

fn check_port(port: Option<&str>) -> Result<(), &'static str> {
    let Some(port) = port else { return Ok(()) };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok(()),
        _ => Err(SHAPE),
    }
}

/// Whether this is a host's name. A last label of digits isn't: clients read that as an IPv4 address in
/// one of its odd spellings (`127.1`, `0x7f.1`).
fn is_name(host: &str) -> bool {
    const LONGEST_NAME: usize = 253;
    const LONGEST_LABEL: usize = 63;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = host.rsplit('.').next().unwrap_or_default();
    host.len() <= LONGEST_NAME
        && host.split('.').all(label)
        && top.starts_with(|first: char| first.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_to_any_host() {
        for good in [
            "https://ssl.tencentcloudapi.com",
            "https://ssl.ap-guangzhou.tencentcloudapi.com:8443",
            "https://10.0.0.1",
            "https://[2001:db8::1]:443",
            "https://localhost",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn http_goes_to_a_literal_loopback_address_only() {
        for good in ["http://127.0.0.1", "http://127.8.9.1:8080", "http://[::1]:80"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "http://ssl.tencentcloudapi.com",
            "http://10.0.0.1",
            "http://localhost:80",
            "http://[::2]",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(check(bad), Err(LOOPBACK), "{bad}");
        }
    }

    #[test]
    fn anything_but_a_host_and_a_port_is_refused() {
        for bad in [
            "",
            "https://",
            "ssl.tencentcloudapi.com",
            "HTTPS://host",
            "ftp://host",
            "https://host/",
            "https://host/path",
            "https://host?a=b",
            "https://host#a",
            "https://user@host",
            "https://user:secret@host",
            "https://host:",
            "https://host:0",
            "https://host:65536",
            "https://host:+80",
            "https://host:80:80",
            "https://ho st",
            "https://host.",
            "https://.host",
            "https://-host",
            "https://[::1",
            "https://[host]",
            "https://[::1]80",
            "http://127.1",
            "http://127.0.0.1.",
            "http://0x7f.1",
            "http://2130706433",
            "http://127.0.0.1:80\\@host",
            "https://host\n",
            "https://höst",
        ] {
            assert_eq!(check(bad), Err(SHAPE), "{bad:?}");
        }
    }

    #[test]
    fn neither_a_password_nor_a_query_is_shown() {
        assert_eq!(redacted("https://user:se@cret@host/path?token=t"), "https://***@host/path");
        assert_eq!(redacted("user:secret@host"), "***@host");
        assert_eq!(redacted("https://host/path"), "https://host/path");
    }
}
