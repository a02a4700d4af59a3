//! How the API is called.

use std::time::Duration;

use super::proxy::Proxy;
use super::wire::Action;

/// How the API is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// Scheme and host, such as `https://ssl.tencentcloudapi.com`.
    pub endpoint: String,
    /// The proxy to send requests through, if any.
    pub proxy: Option<Proxy>,
    /// The action that commits.
    pub commit_action: Action,
    /// From resolving the name to an established connection.
    pub connect_timeout: Duration,
    /// From the start of a request to the end of its reply.
    pub request_timeout: Duration,
    /// `X-TC-Language`: the language of the server's messages, `zh-CN` or `en-US`.
    pub language: String,
}

/// Why a client can't be created.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The endpoint isn't a URL with a host.
    #[error("api.endpoint: {0:?} is not a URL with a host")]
    Url(String),
    /// The HTTP client doesn't accept the proxy.
    #[error("the proxy {0} can't be used")]
    Proxy(String),
    /// TLS or the certificate authorities can't be set up on this machine.
    #[error("the HTTPS client can't be set up: {0}")]
    Tls(String),
}
