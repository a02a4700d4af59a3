//! What went wrong at a proxy or behind it, in words for an operator: they name the proxy, which is where to look.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use rustls::CertificateError;
use tower_service::Service;

use super::Proxy;
use crate::tencent::failure::{causes, describe, describe_tls, innermost, tls_error};

/// Why a tunnel doesn't stand. The types have no other names.
type NoTunnel = <Tunnel<HttpConnector> as Service<hyper::Uri>>::Error;
type NoSocks = <SocksV5<HttpConnector> as Service<hyper::Uri>>::Error;

/// What is needed to ask a proxy for its reason.
pub(in crate::tencent) struct Asking<'a> {
    pub(in crate::tencent) proxy: &'a Proxy,
    /// Where the tunnel was to lead: `HOST:PORT`.
    pub(in crate::tencent) target: &'a str,
    /// By which a proxy that speaks TLS is known.
    pub(in crate::tencent) tls: &'a Arc<rustls::ClientConfig>,
    pub(in crate::tencent) patience: Duration,
}

/// Whether the peer ended the connection.
fn is_end(cause: &(dyn Error + 'static)) -> bool {
    let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset))
}

impl Asking<'_> {
    /// Why nothing was sent through the proxy.
    pub(in crate::tencent) async fn why_unsent(self, error: reqwest::Error) -> String {
        let Self { proxy, target, tls, patience } = &self;
        if let Some(problem) = causes(&error).find_map(|cause| cause.downcast_ref::<NoSocks>()) {
            return proxy.refused_by_socks(target, problem);
        }
        let no_tunnel = causes(&error).find_map(|cause| cause.downcast_ref::<NoTunnel>());
        match no_tunnel {
            Some(NoTunnel::ConnectFailed(cause)) => proxy.unreached(cause.as_ref()),
            Some(NoTunnel::ProxyAuthRequired) => proxy.refused(target, Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED)),
            Some(NoTunnel::TunnelUnsuccessful) => proxy.refused(target, proxy.answer(target, tls, *patience).await),
            Some(NoTunnel::TunnelUnexpectedEof | NoTunnel::Io(_)) => {
                format!("the proxy {proxy} closed the connection when it was asked for a tunnel to {target}")
            }
            Some(NoTunnel::ProxyHeadersTooLong | NoTunnel::MissingHost) | None => proxy.behind(error),
        }
    }
}

impl Proxy {
    fn unreached(&self, cause: &(dyn Error + 'static)) -> String {
        match causes(cause).find_map(tls_error) {
            Some(error) => format!("the proxy {self} is asked over TLS, and that failed: {}", describe_tls(error)),
            None => format!("the proxy {self} can't be reached: {}", innermost(cause)),
        }
    }

    fn refused_by_socks(&self, target: &str, problem: &NoSocks) -> String {
        match problem {
            NoSocks::Inner(cause) => self.unreached(cause),
            NoSocks::V5(problem) => format!(
                "the proxy {self} refuses a way to {target}: {problem}. If it wants a user and a password, or others: set \
                 api.proxy"
            ),
            NoSocks::Parsing(_) | NoSocks::Io(_) => {
                format!("the proxy {self} doesn't answer in SOCKS 5; is it an HTTP proxy?")
            }
            NoSocks::DnsFailure
            | NoSocks::MissingHost
            | NoSocks::MissingPort
            | NoSocks::Serialize(_)
            | NoSocks::V4(_) => self.names(&problem.to_string()),
        }
    }

    /// The proxy refuses a tunnel, with this status if it says one.
    fn refused(&self, target: &str, status: Option<StatusCode>) -> String {
        let Some(status) = status else {
            return format!(
                "the proxy {self} refuses a tunnel to {target}, and says nothing in HTTP; is it an HTTP proxy?"
            );
        };
        let code = status.as_u16();
        match status {
            // Of a wrong password, some proxies say this.
            StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED if self.url.has_user() => format!(
                "the proxy {self} refuses the user and the password that it is given (HTTP {code}): set api.proxy"
            ),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => {
                format!("the proxy {self} wants a user and a password (HTTP {code}): set api.proxy")
            }
            StatusCode::FORBIDDEN => {
                format!("the proxy {self} forbids a tunnel to {target} (HTTP {code}): have it allowed there")
            }
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                format!("the proxy {self} can't reach {target} (HTTP {code}): look there")
            }
            _ if status.is_success() => {
                format!("the proxy {self} refused a tunnel to {target}, and then granted one (HTTP {code})")
            }
            _ => format!("the proxy {self} refuses a tunnel to {target} (HTTP {code})"),
        }
    }

    /// Something failed at the proxy or behind it, and where can't be told.
    fn behind(&self, error: reqwest::Error) -> String {
        let advice = match causes(&error).find_map(tls_error) {
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                ". If the proxy opens TLS by intent, add its authority to those of this machine, or set SSL_CERT_FILE"
            }
            Some(rustls::Error::InvalidMessage(_)) => ". The proxy may have sent a page in place of a tunnel",
            Some(_) => "",
            None if causes(&error).any(is_end) => {
                ". It granted a tunnel and ended it before TLS stood; it may have sent a page in place of one"
            }
            None => "",
        };
        format!("{}{advice}", self.names(&describe(error)))
    }

    /// A reason, with the proxy that it came through.
    pub(in crate::tencent) fn names(&self, why: &str) -> String {
        format!("through the proxy {self}: {why}")
    }
}
