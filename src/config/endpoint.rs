//! `api.endpoint`. Requests are signed but not encrypted, so plain HTTP is only for a simulator on this machine.

use url::Host;

use super::url::host_and_port;

const FORM: &str = "https://HOST or https://HOST:PORT, without a path, a user or a query";

const LOOPBACK: &str = "an https:// address, since http:// is for a literal loopback address only, \
    such as http://127.0.0.1:8080 or http://[::1]:8080 (not localhost, which may resolve to anything)";

/// Reads an endpoint, and normalizes it as the HTTP client does.
///
/// # Errors
/// What is expected.
pub(super) fn parse(text: &str) -> Result<String, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let (host, port) = host_and_port(rest).ok_or(FORM)?;
    let is_loopback = match &host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(_) => false,
    };
    match scheme {
        "https" => {}
        "http" if is_loopback => {}
        "http" => return Err(LOOPBACK),
        _ => return Err(FORM),
    }
    Ok(port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_may_go_to_any_host() {
        for good in [
            "https://ssl.tencentcloudapi.com:8443",
            "https://10.0.0.1",
            "https://[2001:db8::1]:443",
            "https://localhost",
        ] {
            assert_eq!(parse(good).as_deref(), Ok(good), "{good}");
        }
    }

    #[test]
    fn http_may_go_to_a_literal_loopback_address_only() {
        for good in ["http://127.0.0.1", "http://127.8.9.1:8080", "http://[::1]:80"] {
            assert_eq!(parse(good).as_deref(), Ok(good), "{good}");
        }
        for bad in [
            "http://ssl.tencentcloudapi.com",
            "http://10.0.0.1",
            "http://localhost:80",
            "http://[::2]",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(parse(bad), Err(LOOPBACK), "{bad}");
        }
    }

    #[test]
    fn the_endpoint_is_normalized_as_the_http_client_does_it() {
        assert_eq!(parse("http://127.1:80"), Ok("http://127.0.0.1:80".to_owned()));
        assert_eq!(parse("https://Höst"), Ok("https://xn--hst-sna".to_owned()));
    }

    #[test]
    fn anything_but_a_scheme_a_host_and_a_port_is_refused() {
        for bad in [
            "",
            "https://",
            "ssl.tencentcloudapi.com",
            "HTTPS://host",
            "https://host\n",
            "ftp://host",
            "https://host/",
            "https://host/path",
            "https://host?a=b",
            "https://host#a",
            "https://user@host",
            "https://user:secret@host",
            "http://127.0.0.1:80\\@host",
        ] {
            assert_eq!(parse(bad), Err(FORM), "{bad:?}");
        }
    }
}
