//! The HTTP client: one call is one request on the wire, with one outcome.
//!
//! It does nothing hidden: no retries, no redirects, no proxy other than the configured one, no decompression. HTTP/1.1 with
//! keep-alive; TLS by rustls with the platform's certificate authorities.

use std::time::Duration;

use reqwest::{Response, StatusCode, header};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::clock_skew::ClockSkew;
use super::connections::{Connection, Connections};
use super::credentials::Credentials;
use super::departure::{OnDeparture, WatchedBody};
use super::failure::describe;
use super::settings::{ClientSettings, InvalidEndpoint};
use super::signing::{CanonicalRequest, Scope, authorization};
use super::statuses::{self, SeenStatus};
use super::wire::{self, Action, CONTENT_TYPE, VERSION};
use crate::clock::{self, Now};
use crate::submission::{CertificateId, Outcome, OutcomeClass, RequestKind, VerifyType};

const SERVICE: &str = "ssl";
/// The longest reply accepted. A genuine one has a few hundred bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;
const REQUEST_CLIENT: &str = concat!("certcommit_", env!("CARGO_PKG_VERSION"));

/// A client for one endpoint. It holds no credentials: each call brings them.
#[derive(Debug)]
pub struct Client {
    connections: Connections,
    settings: ClientSettings,
    url: reqwest::Url,
    host: String,
    /// The target of a tunnel: host and port.
    target: String,
}

/// One request, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What it means.
    pub outcome: Outcome,
    /// The HTTP status, if a reply came.
    pub http_status: Option<u16>,
    /// From the signing to the outcome.
    pub duration: Duration,
    /// When it was signed.
    pub sent: Now,
    /// When its first byte went out; `None` if nothing went out.
    pub departed: Option<Instant>,
    /// How far our clock is off, if a reply with a `Date` came.
    pub skew: Option<ClockSkew>,
}

/// One request for the statuses of several certificates, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusesRead {
    /// What the API says about the certificates, some of which the reply may leave out; or else what the reply means instead, as
    /// that of a readback, or why there is none.
    pub statuses: Result<Vec<SeenStatus>, Outcome>,
    /// When its first byte went out; `None` if nothing went out.
    pub departed: Option<Instant>,
}

impl StatusesRead {
    /// Nothing was to be asked for, and no request was made.
    #[must_use]
    pub fn nothing() -> Self {
        Self { statuses: Ok(Vec::new()), departed: None }
    }
}

/// An attempt to send a request.
struct Sent {
    transport: Transport,
    departed: Option<Instant>,
    skew: Option<ClockSkew>,
}

enum Transport {
    /// A reply with this status and body came. Its connection must not be reused before the reply is checked.
    Replied(u16, Vec<u8>, Connection),
    /// A reply with this status began, and could not be read to its end.
    Broken(u16, String),
    Lost(String),
    NotSent(String),
}

impl Client {
    /// A client for the settings' endpoint.
    ///
    /// # Errors
    /// When the endpoint has no host, or TLS can't be set up on this machine.
    pub fn new(settings: ClientSettings) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint::Url(settings.endpoint.clone());
        let url = reqwest::Url::parse(&settings.endpoint).map_err(|_| invalid())?;
        let name = url.host_str().ok_or_else(invalid)?;
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let target = format!("{name}:{}", url.port_or_known_default().ok_or_else(invalid)?);
        Ok(Self { connections: Connections::new(settings.clone())?, settings, url, host, target })
    }

    /// Makes one request for a certificate. A commit places an order; a readback is harmless. Signs with the present
    /// time. Calls `on_departure` when the first byte goes out on an established connection.
    pub async fn request(
        &self,
        kind: RequestKind,
        credentials: &Credentials,
        certificate_id: &CertificateId,
        verify_type: Option<VerifyType>,
        on_departure: impl FnOnce(Instant) + Send + Sync + 'static,
    ) -> Exchange {
        let sent = clock::now();
        let action = match kind {
            RequestKind::Commit => self.settings.commit_action,
            RequestKind::Readback => Action::Describe,
        };
        let body = action.body(certificate_id, verify_type);
        let Sent { transport, departed, skew } =
            self.send(credentials, action.name(), body, sent, Box::new(on_departure)).await;
        let (http_status, outcome) = match transport {
            Transport::Replied(status, body, connection) => {
                let outcome = wire::outcome(kind, status, &body);
                // The reply may belong to another request.
                match self.connections.keep(connection, outcome.request_id.as_deref()) {
                    Ok(()) => (Some(status), outcome),
                    Err(doubt) => (Some(status), Outcome::unknown(kind, doubt.to_string())),
                }
            }
            Transport::Broken(status, why) => (Some(status), Outcome::unknown(kind, why)),
            Transport::Lost(why) => (None, Outcome::unknown(kind, why)),
            Transport::NotSent(why) => (None, Outcome::not_sent(why)),
        };
        let outcome = self.with_proxy(kind, outcome);
        let duration = clock::now().instant.duration_since(sent.instant);
        Exchange { outcome, http_status, duration, sent, departed, skew }
    }

    /// Asks for the statuses of these certificates, at most [`MOST_AT_ONCE`](super::statuses::MOST_AT_ONCE). Harmless.
    pub async fn statuses(&self, credentials: &Credentials, ids: &[CertificateId]) -> StatusesRead {
        const KIND: RequestKind = RequestKind::Readback;
        let sent = self.send(credentials, statuses::ACTION, statuses::body(ids), clock::now(), Box::new(|_| ())).await;
        let statuses = match sent.transport {
            Transport::Replied(status, body, connection) => {
                let reply = statuses::parse(status, &body);
                // The reply may belong to another request.
                match self.connections.keep(connection, reply.request_id.as_deref()) {
                    Ok(()) => reply.statuses,
                    Err(doubt) => Err(Outcome::unknown(KIND, doubt.to_string())),
                }
            }
            Transport::Broken(_, why) | Transport::Lost(why) => Err(self.with_proxy(KIND, Outcome::unknown(KIND, why))),
            Transport::NotSent(why) => Err(Outcome::not_sent(why)),
        };
        StatusesRead { statuses, departed: sent.departed }
    }

    /// Names the proxy in an unknown outcome, since the proxy may have caused it.
    fn with_proxy(&self, kind: RequestKind, outcome: Outcome) -> Outcome {
        match (&self.settings.proxy, &outcome) {
            (Some(proxy), Outcome { error: None, detail: Some(detail), class, .. })
                if *class == OutcomeClass::unknown(kind) =>
            {
                Outcome::unknown(kind, proxy.describe(detail))
            }
            _ => outcome,
        }
    }

    async fn send(
        &self,
        credentials: &Credentials,
        action: &str,
        body: String,
        sent: Now,
        on_departure: OnDeparture,
    ) -> Sent {
        let connection = match self.connections.lend() {
            Ok(connection) => connection,
            Err(error) => {
                return Sent { transport: Transport::NotSent(error.to_string()), departed: None, skew: None };
            }
        };
        let scope = Scope { service: SERVICE, timestamp: sent.unix.seconds() };
        let headers = [("content-type", CONTENT_TYPE), ("host", self.host.as_str())];
        let signed = CanonicalRequest { headers: &headers, body: body.as_bytes() };
        let authorization = authorization(&credentials.secret_id, &credentials.secret_key, &scope, &signed);
        let mut request = connection
            .http
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, sensitive(&authorization))
            .header("X-TC-Action", action)
            .header("X-TC-Version", VERSION)
            .header("X-TC-Timestamp", scope.timestamp.to_string())
            .header("X-TC-Language", &self.settings.language)
            .header("X-TC-RequestClient", REQUEST_CLIENT);
        if let Some(token) = &credentials.token {
            request = request.header("X-TC-Token", sensitive(token.expose_secret()));
        }
        let (body, departed) = WatchedBody::new(body, on_departure);
        let mut skew = None;
        let transport = match request.body(reqwest::Body::wrap(body)).send().await {
            Ok(response) => {
                skew = skew_of(&response, clock::now());
                receive(response, connection).await
            }
            // A request that never departed can't have arrived, whatever the error.
            Err(error) if departed.get().is_none() => {
                Transport::NotSent(self.connections.why_unsent(error, &self.target).await)
            }
            Err(error) => Transport::Lost(describe(error)),
        };
        Sent { transport, departed: departed.get().copied(), skew }
    }
}

fn skew_of(response: &Response, now: Now) -> Option<ClockSkew> {
    let date = response.headers().get(header::DATE)?.to_str().ok()?;
    ClockSkew::from_date(date, now.unix)
}

async fn receive(mut response: Response, connection: Connection) -> Transport {
    let status = response.status();
    if status != StatusCode::OK {
        // The API always answers with 200, so this body comes from something else.
        return Transport::Replied(status.as_u16(), Vec::new(), connection);
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_BODY_BYTES => {
                return Transport::Broken(status.as_u16(), "the reply was longer than 1 MiB".to_owned());
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Transport::Replied(status.as_u16(), body, connection),
            Err(error) => return Transport::Broken(status.as_u16(), describe(error)),
        }
    }
}

/// A header value that `Debug` doesn't print.
///
/// Credentials are checked when they are found, so every value is valid in a header. The server would refuse the empty
/// fallback.
fn sensitive(value: &str) -> header::HeaderValue {
    let mut value = header::HeaderValue::from_str(value).unwrap_or(header::HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
