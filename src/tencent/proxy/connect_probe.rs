//! Asks a proxy why it refused a tunnel. The HTTP client doesn't report the status, so the proxy is asked once more. If
//! it grants the tunnel this time, the tunnel is closed: nothing is sent through it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::route::Proxy;

/// The status with which a proxy answers a `CONNECT` to the target, `HOST:PORT`; `None` if it doesn't speak HTTP, or doesn't
/// answer in time.
pub(super) async fn connect_status(
    proxy: &Proxy,
    target: &str,
    tls: &rustls::ClientConfig,
    timeout: Duration,
) -> Option<StatusCode> {
    tokio::time::timeout(timeout, ask(proxy, target, tls)).await.ok().flatten()
}

async fn ask(proxy: &Proxy, target: &str, tls: &rustls::ClientConfig) -> Option<StatusCode> {
    let intercept = proxy.intercept()?;
    let authorization = intercept.basic_auth();
    let stream = TcpStream::connect(proxy.url.address()).await.ok()?;
    if intercept.uri().scheme_str() != Some("https") {
        return connect(stream, target, authorization).await;
    }
    let mut tls = tls.clone();
    tls.alpn_protocols.clear();
    let name = ServerName::try_from(intercept.uri().host()?.trim_matches(['[', ']']).to_owned()).ok()?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.ok()?;
    connect(stream, target, authorization).await
}

async fn connect(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    target: &str,
    authorization: Option<&HeaderValue>,
) -> Option<StatusCode> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let mut request = Request::builder().method(Method::CONNECT).uri(target.parse::<Uri>().ok()?).header(HOST, target);
    if let Some(authorization) = authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(reqwest::Body::default()).ok()?;
    let mut response = pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut response => response,
        // The response may have come with the end of the connection.
        _ = connection => response.await,
    };
    Some(response.ok()?.status())
}
