//! The HTTP server for monitoring: `/metrics`, `/healthz`, `/readyz` and the page about the queue, if `metrics.listen` is set.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::following::FollowReport;
use super::live_page::{PageServer, ReachedAt};
use super::status_snapshot::StatusSnapshot;
use crate::cause::PauseCause;
use crate::clock::{self, Now};
use crate::metrics::{Gauges, Metrics};
use crate::queue::{Completed, Mode};
use crate::submission;
use crate::tencent::code_label;

/// The content type of Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The event loop makes a round at least every ten seconds; after this long without one, it hangs.
const LOOP_PATIENCE: Duration = Duration::from_secs(30);
/// The most connections that are served at once; others wait.
const MOST_CONNECTIONS: usize = 16;
/// A connection is closed if it takes longer to say what it wants.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
/// A connection that lasts longer is closed. The page about a large queue takes its time.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);
/// The wait after a connection that could not be accepted, for instance without free descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// The gauges are set this often.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// The health of the daemon.
#[derive(Debug)]
struct Health {
    round_at: Instant,
    /// Why it isn't ready, if it isn't.
    unready: Option<String>,
}

/// What the event loop and the server share.
#[derive(Debug, Clone)]
struct Watched {
    metrics: Arc<Metrics>,
    health: Arc<Mutex<Health>>,
}

/// The metrics of the daemon, and the server for them.
#[derive(Debug)]
pub(super) struct MetricsServer {
    watched: Watched,
    page: Option<PageServer>,
    address: SocketAddr,
    server: JoinHandle<()>,
    gauged_at: Option<Instant>,
    /// The codes of all incidents that there may be.
    incidents: Vec<&'static str>,
}

impl MetricsServer {
    /// Serves at this address, with a page about the queue or without.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub(super) async fn listen(address: SocketAddr, page: Option<PageServer>) -> io::Result<Self> {
        let health = Health { round_at: clock::now().instant, unready: Some("starting".to_owned()) };
        let watched = Watched { metrics: Arc::new(Metrics::new()), health: Arc::new(Mutex::new(health)) };
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(watched.clone())
            .merge(page.as_ref().map(PageServer::router).unwrap_or_default());
        let server = tokio::spawn(serve(listener, router));
        Ok(Self {
            watched,
            page,
            address,
            server,
            gauged_at: None,
            incidents: PauseCause::CATALOGUE.iter().map(|(code, _)| *code).collect(),
        })
    }

    /// The address that it serves at.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a browser on this machine finds the page about the queue, if there is one that it may see.
    pub(super) fn page_address(&self) -> Option<String> {
        self.page.as_ref()?.address(self.address)
    }

    /// One round of the loop.
    pub(super) fn publish(&mut self, snapshot: StatusSnapshot<'_>, now: Now) {
        self.watched.set_health(unready(snapshot), now.instant);
        if let Some(page) = &self.page {
            page.publish(snapshot);
        }
        if self.gauged_at.is_some_and(|at| now.instant < at + GAUGES_EVERY) {
            return;
        }
        self.gauged_at = Some(now.instant);
        let metrics = &self.watched.metrics;
        for state in submission::State::ALL {
            metrics.submissions(state.as_str(), snapshot.counts.of(state));
        }
        for code in &self.incidents {
            metrics.incident(code, snapshot.incidents.iter().any(|incident| incident.cause.code() == *code));
        }
        metrics.gauges(gauges(snapshot, now));
    }

    /// The orders were counted, or looked at.
    pub(super) fn followed(&self, report: &FollowReport) {
        for (standing, count) in &report.standings {
            self.watched.metrics.followed(standing.as_str(), *count);
        }
        if let Some(look) = &report.look {
            self.watched.metrics.looked(look.succeeded);
        }
    }

    /// A request ended. Its code is empty if it got no error.
    pub(super) fn request_ended(&self, completed: &Completed) {
        let Completed { claim, outcome, duration, .. } = completed;
        let code = outcome.error.as_ref().map_or("", |error| code_label(error.code.as_str()));
        self.watched.metrics.request(claim.kind.as_str(), outcome.class.as_str(), code, *duration);
    }
}

/// Serves one request per connection, and limits the connections so that they can't use up the daemon's descriptors.
async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let accepted =
            listener.accept().await.and_then(|(stream, _)| Ok((ReachedAt::new(stream.local_addr()?), stream)));
        let (reached_at, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection to the metrics can't be accepted: {error}");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone().layer(Extension(reached_at)));
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(LONGEST_HEAD)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let ended = timeout(LONGEST_CONNECTION, connection).await;
            tracing::trace!(?ended, "a connection to the metrics ended");
            drop(place);
        });
    }
}

/// Why the daemon isn't ready, if it isn't.
fn unready(snapshot: StatusSnapshot<'_>) -> Option<String> {
    match (snapshot.outage, snapshot.mode) {
        (Some(outage), _) => Some(outage.to_string()),
        (None, Mode::Stopping | Mode::Stopped) => Some("stopping".to_owned()),
        (None, Mode::PausedByOperator | Mode::PausedByFault) => {
            Some(snapshot.incidents.first().map_or("paused".to_owned(), ToString::to_string))
        }
        (None, Mode::Running) => None,
    }
}

fn gauges(snapshot: StatusSnapshot<'_>, now: Now) -> Gauges {
    let StatusSnapshot { mode, outage, paces, cap, next_due, .. } = snapshot;
    Gauges {
        oldest_due_s: next_due.map_or(0, |due| (now.unix.seconds() - due).max(0)),
        pace: paces.commits,
        cap: f64::from(cap),
        paused_by_operator: mode == Mode::PausedByOperator,
        paused_by_fault: mode == Mode::PausedByFault,
        database_available: outage.is_none(),
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Watched {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_health(&self, unready: Option<String>, now: Instant) {
        let mut health = self.health();
        health.round_at = now;
        health.unready = unready;
    }
}

async fn metrics(State(watched): State<Watched>) -> Response {
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], watched.metrics.render()).into_response()
}

/// Whether the daemon is alive: its event loop makes rounds.
async fn healthz(State(watched): State<Watched>) -> Response {
    let since = clock::now().instant.saturating_duration_since(watched.health().round_at);
    if since < LOOP_PATIENCE {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let text = format!("the event loop has made no round for {} s\n", since.as_secs());
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Whether the daemon is ready: neither paused nor stopping nor waiting for the database.
async fn readyz(State(watched): State<Watched>) -> Response {
    match &watched.health().unready {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

#[cfg(test)]
#[path = "metrics_server_tests.rs"]
mod tests;
