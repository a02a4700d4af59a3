//! What went wrong at a proxy or behind it, for an operator. Each message names the proxy, since that is where to look.

use std::error::Error;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use rustls::CertificateError;
use tower_service::Service;

use super::connect_probe::connect_status;
use super::route::Proxy;
use crate::tencent::failure::{causes, describe, describe_tls, innermost, tls_error};

/// Why there is no tunnel. hyper-util doesn't export these types by name.
type NoTunnel = <Tunnel<HttpConnector> as Service<hyper::Uri>>::Error;
type NoSocks = <SocksV5<HttpConnector> as Service<hyper::Uri>>::Error;

/// A request that should have gone through a proxy.
pub(in crate::tencent) struct Attempt<'a> {
    pub(in crate::tencent) proxy: &'a Proxy,
    /// The target of the tunnel: `HOST:PORT`.
    pub(in crate::tencent) target: &'a str,
    /// Verifies a proxy that is reached over TLS.
    pub(in crate::tencent) tls: &'a rustls::ClientConfig,
    pub(in crate::tencent) timeout: Duration,
}

/// Why nothing was sent through a proxy.
pub(in crate::tencent) async fn why_unsent(attempt: &Attempt<'_>, error: reqwest::Error) -> String {
    let Attempt { proxy, target, tls, timeout } = attempt;
    if let Some(problem) = causes(&error).find_map(|cause| cause.downcast_ref::<NoSocks>()) {
        return refused_by_socks(proxy, target, problem);
    }
    let no_tunnel = causes(&error).find_map(|cause| cause.downcast_ref::<NoTunnel>());
    match no_tunnel {
        Some(NoTunnel::ConnectFailed(cause)) => unreachable(proxy, cause.as_ref()),
        Some(NoTunnel::ProxyAuthRequired) => refused(proxy, target, Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED)),
        Some(NoTunnel::TunnelUnsuccessful) => {
            refused(proxy, target, connect_status(proxy, target, tls, *timeout).await)
        }
        Some(NoTunnel::TunnelUnexpectedEof | NoTunnel::Io(_)) => {
            format!("the proxy {proxy} closed the connection when asked for a tunnel to {target}")
        }
        Some(NoTunnel::ProxyHeadersTooLong | NoTunnel::MissingHost) | None => behind(proxy, error),
    }
}

fn unreachable(proxy: &Proxy, cause: &(dyn Error + 'static)) -> String {
    match causes(cause).find_map(tls_error) {
        Some(error) => format!("TLS with the proxy {proxy} failed: {}", describe_tls(error)),
        None => format!("the proxy {proxy} can't be reached: {}", innermost(cause)),
    }
}

fn refused_by_socks(proxy: &Proxy, target: &str, problem: &NoSocks) -> String {
    match problem {
        NoSocks::Inner(cause) => unreachable(proxy, cause),
        NoSocks::V5(problem) => format!(
            "the proxy {proxy} refuses a connection to {target}: {problem}. If it requires a user and a password, or \
             different ones, set api.proxy"
        ),
        NoSocks::Parsing(_) | NoSocks::Io(_) => {
            format!("the proxy {proxy} doesn't speak SOCKS 5; is it an HTTP proxy?")
        }
        NoSocks::DnsFailure | NoSocks::MissingHost | NoSocks::MissingPort | NoSocks::Serialize(_) | NoSocks::V4(_) => {
            proxy.describe(&problem.to_string())
        }
    }
}

/// The proxy refused a tunnel, with this status if it gave one.
fn refused(proxy: &Proxy, target: &str, status: Option<StatusCode>) -> String {
    let Some(status) = status else {
        return format!("the proxy {proxy} refuses a tunnel to {target} and doesn't speak HTTP; is it an HTTP proxy?");
    };
    let code = status.as_u16();
    match status {
        // Some proxies answer a wrong password with 401.
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED if proxy.url.has_user() => {
            format!("the proxy {proxy} rejects the user or the password (HTTP {code}): correct api.proxy")
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => {
            format!("the proxy {proxy} requires a user and a password (HTTP {code}): set api.proxy")
        }
        StatusCode::FORBIDDEN => {
            format!("the proxy {proxy} forbids a tunnel to {target} (HTTP {code}): allow it at the proxy")
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            format!("the proxy {proxy} can't reach {target} (HTTP {code}): check the proxy")
        }
        _ if status.is_success() => {
            format!("the proxy {proxy} refused a tunnel to {target}, then granted one (HTTP {code})")
        }
        _ => format!("the proxy {proxy} refuses a tunnel to {target} (HTTP {code})"),
    }
}

/// Something failed at the proxy or behind it.
fn behind(proxy: &Proxy, error: reqwest::Error) -> String {
    let advice = match causes(&error).find_map(tls_error) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            ". If the proxy intercepts TLS on purpose, add its authority to this machine's, or set SSL_CERT_FILE"
        }
        Some(rustls::Error::InvalidMessage(_)) => ". The proxy may have sent a page instead of a tunnel",
        Some(_) => "",
        None if causes(&error).any(is_disconnect) => {
            ". It granted a tunnel and closed it before TLS was established; it may have sent a page instead"
        }
        None => "",
    };
    format!("{}{advice}", proxy.describe(&describe(error)))
}

/// Whether the peer ended the connection.
fn is_disconnect(cause: &(dyn Error + 'static)) -> bool {
    let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset))
}
