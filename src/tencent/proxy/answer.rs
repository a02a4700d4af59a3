//! What a proxy says when it is asked for a tunnel. The HTTP client only tells that it wasn't granted; so the proxy is asked
//! once more, and what it says is its reason. If it grants the tunnel this time, that is closed: nothing is sent in it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use super::Proxy;

impl Proxy {
    /// The status with which it answers when it is asked for a tunnel to the target, `HOST:PORT`; none if it doesn't
    /// answer in HTTP, or not in time.
    pub(super) async fn answer(
        &self,
        target: &str,
        tls: &Arc<rustls::ClientConfig>,
        patience: Duration,
    ) -> Option<StatusCode> {
        tokio::time::timeout(patience, self.ask(target, tls)).await.ok().flatten()
    }

    async fn ask(&self, target: &str, tls: &Arc<rustls::ClientConfig>) -> Option<StatusCode> {
        let intercept = self.intercept()?;
        let uri = intercept.uri();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        let stream = connector.call(uri.clone()).await.ok()?.into_inner();
        let authorization = intercept.basic_auth();
        if uri.scheme_str() != Some("https") {
            return connect(stream, target, authorization).await;
        }
        let name = ServerName::try_from(uri.host()?.trim_matches(['[', ']']).to_owned()).ok()?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.ok()?;
        connect(stream, target, authorization).await
    }
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
    let request = request.body(Nothing).ok()?;
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The answer may have come with the end of the connection.
        _ = connection => answer.await,
    };
    Some(answer.ok()?.status())
}

/// A request's body that there isn't.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}
