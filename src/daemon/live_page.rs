//! The page about the queue, at `/`: the report, refreshed by itself, with what the daemon is doing. It changes nothing.
//!
//! A browser on this machine also shows pages of strangers, and those must not read this one: no other origin may read it or
//! frame it, and a stranger's name that leads to this address is refused by the `Host` that the browser sends.
//! <https://github.com/w3c/webappsec-cors-for-developers#dns-rebinding> has more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::form_urlencoded;

use super::page_renderer::PageRenderer;
use super::status_snapshot::StatusSnapshot;
use crate::clock::parse_seconds;
use crate::config::{DatabaseSettings, PageAudience};
use crate::queue::{Mode, ReportFilter};
use crate::report::{DaemonNow, Trouble, live_policy};
use crate::submission::State as SubmissionState;

/// The most visitors who wait for the page at once, so that they leave connections to those who read the metrics.
const MOST_VISITORS: usize = 8;
/// How long a visitor waits for the page; a connection lasts longer.
const LONGEST_WAIT: Duration = Duration::from_secs(50);
/// A refusal shows so many characters of what a visitor sent.
const MAX_SHOWN: usize = 64;

/// The address at which a connection reached the daemon.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReachedAt(SocketAddr);

impl ReachedAt {
    /// An address of IPv4 may be written as one of IPv6.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

/// The page.
#[derive(Debug, Clone)]
pub(super) struct PageServer {
    audience: PageAudience,
    renderer: PageRenderer,
    /// The Content-Security-Policy.
    policy: String,
    now: Arc<Mutex<DaemonNow>>,
    visitors: Arc<Semaphore>,
}

/// What is answered instead of the page.
type Refusal = (StatusCode, String);

impl PageServer {
    /// The page about this database, if anyone may see it. `cap` is the configured maximum of commits a second.
    pub(super) fn new(audience: PageAudience, database: DatabaseSettings, cap: u32) -> Option<Self> {
        let now = DaemonNow { mode: "starting", trouble: None, pace: 0.0, cap };
        (audience != PageAudience::Off).then(|| Self {
            audience,
            renderer: PageRenderer::new(database),
            policy: live_policy(),
            now: Arc::new(Mutex::new(now)),
            visitors: Arc::new(Semaphore::new(MOST_VISITORS)),
        })
    }

    /// One round of the loop.
    pub(super) fn publish(&self, snapshot: StatusSnapshot<'_>) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = daemon_now(snapshot);
    }

    pub(super) fn router(&self) -> Router {
        Router::new().route("/", get(answer)).with_state(self.clone())
    }

    /// Where a browser on this machine finds the page, if the daemon listens at this address.
    pub(super) fn address(&self, listening: SocketAddr) -> Option<String> {
        let ip = match listening.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        let address = SocketAddr::new(ip, listening.port());
        may_see(self.audience, ReachedAt::new(address)).then(|| format!("http://{address}/"))
    }

    /// What the visitor asks for.
    fn asked(&self, at: ReachedAt, request: &Parts) -> Result<ReportFilter, Refusal> {
        if !may_see(self.audience, at) {
            let text = "the page about the queue is served at loopback addresses alone, as metrics.page says: reach the daemon \
                        at one, on its machine or through ssh -L\n";
            return Err((StatusCode::FORBIDDEN, text.to_owned()));
        }
        if !names_an_address(request) {
            let text = format!("open this page by an IP address or as localhost, such as http://{}/\n", at.0);
            return Err((StatusCode::MISDIRECTED_REQUEST, text));
        }
        let filter = filter(request.uri.query().unwrap_or_default());
        filter.map_err(|wrong| (StatusCode::BAD_REQUEST, format!("{wrong}\n")))
    }

    async fn page(&self, at: ReachedAt, request: &Parts) -> Result<String, Refusal> {
        let filter = self.asked(at, request)?;
        let busy = |_| unavailable("too many visitors wait for the page; try again soon");
        let slow = |_| unavailable("the queue is large, and the page takes longer to make; try again soon");
        let _visitor = self.visitors.try_acquire().map_err(busy)?;
        let cap = self.now().cap;
        let made = timeout(LONGEST_WAIT, self.renderer.page(&filter, cap)).await.map_err(slow)?;
        let page = made.map_err(|error| unavailable(&error.to_string()))?;
        Ok(page.with(&self.now()))
    }

    fn now(&self) -> DaemonNow {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn unavailable(why: &str) -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
}

async fn answer(State(page): State<PageServer>, Extension(at): Extension<ReachedAt>, request: Parts) -> Response {
    let (status, kind, body) = match page.page(at, &request).await {
        Ok(page) => (StatusCode::OK, "text/html; charset=utf-8", page),
        Err((status, text)) => (status, "text/plain; charset=utf-8", text),
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (status, headers, [(header::CONTENT_SECURITY_POLICY, page.policy.clone())], body).into_response()
}

fn may_see(audience: PageAudience, at: ReachedAt) -> bool {
    match audience {
        PageAudience::Off => false,
        PageAudience::Loopback => at.0.ip().is_loopback(),
        PageAudience::Any => true,
    }
}

/// Whether a request names the daemon by an address or as localhost. No name that somebody else controls can be one of these.
fn names_an_address(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    // A client that asks a proxy puts it into the first line, too.
    let authority = request.uri.authority().map(Authority::as_str);
    matches!((hosts.next(), hosts.next()), (Some(host), None) if is_address(host)) && authority.is_none_or(is_address)
}

fn is_address(host: &str) -> bool {
    let port = |text: &str| text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let ends = |rest: &str| rest.is_empty() || port(rest);
    if let Some((ip, rest)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return ip.parse::<Ipv6Addr>().is_ok() && ends(rest);
    }
    let (name, rest) = host.split_at(host.find(':').unwrap_or(host.len()));
    (name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()) && ends(rest)
}

/// Reads the filter from the address, with the names that the options of `certcommit report` have.
fn filter(query: &str) -> Result<ReportFilter, String> {
    let mut filter = ReportFilter::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let wrong = |expected: &str| format!("{name} is {}: it must be {expected}", shown(&value));
        let time =
            || parse_seconds(&value).map_err(|_| wrong("unix seconds, or a time such as 2026-12-01T00:00:00Z, as UTC"));
        match &*name {
            "reference" => filter.reference = Some(value.into_owned()),
            "state" => {
                let state = value.parse::<SubmissionState>();
                filter.state =
                    Some(state.map_err(|unknown| wrong(&format!("one of {}", unknown.expected().join(", "))))?);
            }
            "since" => filter.since = Some(time()?),
            "until" => filter.until = Some(time()?),
            _ => return Err(format!("{} is no filter: reference, state, since and until are", shown(&name))),
        }
    }
    Ok(filter)
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(MAX_SHOWN).collect::<String>())
}

fn daemon_now(snapshot: StatusSnapshot<'_>) -> DaemonNow {
    let StatusSnapshot { mode, incidents, outage, paces, cap, .. } = snapshot;
    let mode = match (outage, mode) {
        (Some(_), _) => "waits for the database",
        (None, Mode::Running) => "running",
        (None, Mode::PausedByOperator) => "paused by an operator",
        (None, Mode::PausedByFault) => "paused by a fault",
        (None, Mode::Stopping | Mode::Stopped) => "stopping",
    };
    let incident = outage.or(incidents.first());
    let trouble = incident.map(|incident| Trouble { what: incident.to_string(), to_do: incident.cause.remedy() });
    DaemonNow { mode, trouble, pace: paces.commits, cap }
}

#[cfg(test)]
#[path = "live_page_tests.rs"]
mod tests;
