//! The HTTP client: one call is one request on the wire, with one outcome.
//!
//! Nothing hidden happens here: no retries, no redirects, no proxy but the one that is set, no decompression; HTTP/1.1 with
//! keep-alive, TLS by rustls with the platform's certificate authorities.

use std::time::Duration;

use reqwest::{Response, StatusCode, header};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::clock_skew::ClockSkew;
use super::connections::{Connection, Connections};
use super::credentials::Credentials;
use super::departure::{OnDeparture, Watched};
use super::failure::describe;
use super::settings::{ClientSettings, InvalidEndpoint};
use super::signing::{CanonicalRequest, Scope, authorization};
use super::wire::{Action, CONTENT_TYPE, VERSION, commit_outcome, read_outcome};
use crate::clock::{self, Now};
use crate::submission::{CertificateId, CommitOutcome, ReadOutcome, VerifyType};

const SERVICE: &str = "ssl";
/// The largest reply that is read: a genuine one has a few hundred bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;
const REQUEST_CLIENT: &str = concat!("certcommit_", env!("CARGO_PKG_VERSION"));

/// A client for one endpoint. It holds no credentials: each call brings them.
#[derive(Debug)]
pub struct Client {
    connections: Connections,
    settings: ClientSettings,
    url: reqwest::Url,
    host: String,
    /// Where a tunnel leads: host and port.
    target: String,
}

/// One request and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange<Outcome> {
    /// What it means.
    pub outcome: Outcome,
    /// The HTTP status, if a reply came.
    pub http_status: Option<u16>,
    /// From the signing to the outcome.
    pub duration: Duration,
    /// When it was signed.
    pub sent: Now,
    /// When its first byte went out; none if nothing of it did.
    pub departed: Option<Instant>,
    /// How far our clock is off, if a reply came and told the time.
    pub skew: Option<ClockSkew>,
}

/// What came of a request on the wire.
struct Sent {
    transport: Transport,
    departed: Option<Instant>,
    skew: Option<ClockSkew>,
}

enum Transport {
    /// By this status and body, on a connection that is not to be used again before the answer was judged.
    Answered(u16, Vec<u8>, Connection),
    /// The reply began and could not be read to its end.
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
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(invalid()),
        };
        let target = match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (_, _) => return Err(invalid()),
        };
        Ok(Self { connections: Connections::new(settings.clone())?, settings, url, host, target })
    }

    /// Commits a certificate: places an order. Signs with the time at which it is called, and calls
    /// `on_departure` when the first byte goes out, on a connection that stands.
    pub async fn commit(
        &self,
        credentials: &Credentials,
        certificate_id: &CertificateId,
        verify_type: Option<VerifyType>,
        on_departure: impl FnOnce(Instant) + Send + Sync + 'static,
    ) -> Exchange<CommitOutcome> {
        let sent = clock::now();
        let action = self.settings.commit_action;
        let body = action.body(certificate_id, verify_type);
        let Sent { transport, departed, skew } =
            self.send(credentials, action, body, sent, Box::new(on_departure)).await;
        let (http_status, outcome) = match transport {
            Transport::Answered(status, body, connection) => {
                (Some(status), self.own_commit(commit_outcome(status, &body), connection))
            }
            Transport::Broken(status, why) => (Some(status), CommitOutcome::InDoubt { why, refusal: None }),
            Transport::Lost(why) => (None, CommitOutcome::InDoubt { why, refusal: None }),
            Transport::NotSent(why) => (None, CommitOutcome::NotSent(why)),
        };
        let outcome = if let CommitOutcome::InDoubt { why, refusal: None } = outcome {
            CommitOutcome::InDoubt { why: self.with_way(why), refusal: None }
        } else {
            outcome
        };
        Exchange { outcome, http_status, duration: elapsed_since(sent), sent, departed, skew }
    }

    /// Reads a certificate's order and status. Harmless. Calls `on_departure` as [`commit`](Self::commit) does.
    pub async fn read(
        &self,
        credentials: &Credentials,
        certificate_id: &CertificateId,
        on_departure: impl FnOnce(Instant) + Send + Sync + 'static,
    ) -> Exchange<ReadOutcome> {
        let sent = clock::now();
        let body = Action::Describe.body(certificate_id, None);
        let Sent { transport, departed, skew } =
            self.send(credentials, Action::Describe, body, sent, Box::new(on_departure)).await;
        let (http_status, outcome) = match transport {
            Transport::Answered(status, body, connection) => {
                (Some(status), self.own_read(read_outcome(status, &body), connection))
            }
            Transport::Broken(status, why) => (Some(status), ReadOutcome::Retry { why, refusal: None }),
            Transport::Lost(why) => (None, ReadOutcome::Retry { why, refusal: None }),
            Transport::NotSent(why) => (None, ReadOutcome::NotSent(why)),
        };
        let outcome = if let ReadOutcome::Retry { why, refusal: None } = outcome {
            ReadOutcome::Retry { why: self.with_way(why), refusal: None }
        } else {
            outcome
        };
        Exchange { outcome, http_status, duration: elapsed_since(sent), sent, departed, skew }
    }

    /// What became of a request that departed and got no answer of the API's, with the proxy that may have caused it.
    fn with_way(&self, why: String) -> String {
        match &self.settings.proxy {
            Some(proxy) => proxy.names(&why),
            None => why,
        }
    }

    /// The outcome, unless the answer may be another request's.
    fn own_commit(&self, outcome: CommitOutcome, connection: Connection) -> CommitOutcome {
        match self.connections.keep(connection, outcome.request_id()) {
            Ok(()) => outcome,
            Err(doubt) => CommitOutcome::InDoubt { why: doubt.to_string(), refusal: None },
        }
    }

    /// The outcome, unless the answer may be another request's.
    fn own_read(&self, outcome: ReadOutcome, connection: Connection) -> ReadOutcome {
        match self.connections.keep(connection, outcome.request_id()) {
            Ok(()) => outcome,
            Err(doubt) => ReadOutcome::Retry { why: doubt.to_string(), refusal: None },
        }
    }

    async fn send(
        &self,
        credentials: &Credentials,
        action: Action,
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
            .header("X-TC-Action", action.name())
            .header("X-TC-Version", VERSION)
            .header("X-TC-Timestamp", scope.timestamp.to_string())
            .header("X-TC-Language", &self.settings.language)
            .header("X-TC-RequestClient", REQUEST_CLIENT);
        if let Some(token) = &credentials.token {
            request = request.header("X-TC-Token", sensitive(token.expose_secret()));
        }
        let (watched, departed) = Watched::new(body, on_departure);
        let mut skew = None;
        let transport = match request.body(reqwest::Body::wrap(watched)).send().await {
            Ok(response) => {
                skew = skew_of(&response, clock::now());
                receive(response, connection).await
            }
            // What never departed can't have arrived, whatever the error: a connection that could not be set
            // up, or a time-out while waiting for one.
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
        // Not the API's: its body says nothing that could be relied on.
        return Transport::Answered(status.as_u16(), Vec::new(), connection);
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_BODY_BYTES => {
                return Transport::Broken(status.as_u16(), "the answer was longer than 1 MiB".to_owned());
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Transport::Answered(status.as_u16(), body, connection),
            Err(error) => return Transport::Broken(status.as_u16(), describe(error)),
        }
    }
}

/// A header value that is neither printed by `Debug` nor indexed by the peer's header compression.
///
/// Credentials are checked when they are found, so a value that no header can hold can't come here; if one
/// did, an empty header would go out and be refused.
fn sensitive(value: &str) -> header::HeaderValue {
    let mut value = header::HeaderValue::from_str(value).unwrap_or(header::HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn elapsed_since(sent: Now) -> Duration {
    clock::now().instant.duration_since(sent.instant)
}
