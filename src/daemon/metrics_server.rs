//! The HTTP server for monitoring: `/metrics`, `/healthz` and `/readyz`, if `metrics.listen` is set.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::following::FollowReport;
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
/// A connection that lasts longer is closed.
const LONGEST_CONNECTION: Duration = Duration::from_secs(10);
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
    address: SocketAddr,
    server: JoinHandle<()>,
    gauged_at: Option<Instant>,
    /// The codes of all incidents that there may be.
    incidents: Vec<&'static str>,
}

impl MetricsServer {
    /// Serves at this address.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub(super) async fn listen(address: SocketAddr) -> io::Result<Self> {
        let health = Health { round_at: clock::now().instant, unready: Some("starting".to_owned()) };
        let watched = Watched { metrics: Arc::new(Metrics::new()), health: Arc::new(Mutex::new(health)) };
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(watched.clone());
        let server = tokio::spawn(serve(listener, router));
        Ok(Self {
            watched,
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

    /// One round of the loop.
    pub(super) fn publish(&mut self, snapshot: StatusSnapshot<'_>, now: Now) {
        self.watched.set_health(unready(snapshot), now.instant);
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
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a connection to the metrics can't be accepted: {error}");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
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
mod tests {
    use std::io::Write as _;
    use std::net::TcpStream;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::cause::{DatabaseCause, Incident};
    use crate::clock::UnixMillis;
    use crate::queue::{Counts, Paces};

    fn full() -> Incident {
        let (sentence, remedy) = ("the disk is full".into(), "make room".into());
        Incident::new(DatabaseCause { code: "disk_full", sentence, remedy }, Some(UnixMillis(0)))
    }

    async fn get(address: SocketAddr, path: &'static str) -> (u16, String) {
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address)?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: here\r\n\r\n")?;
            io::read_to_string(stream)
        });
        let response = asked.await.unwrap().unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn server() -> (MetricsServer, SocketAddr) {
        let server = MetricsServer::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = server.address();
        (server, address)
    }

    fn running(counts: &Counts) -> StatusSnapshot<'_> {
        let paces = Paces { commits: 12.5, reads: 10.0 };
        StatusSnapshot { counts, mode: Mode::Running, incidents: &[], outage: None, paces, cap: 20, next_due: None }
    }

    #[tokio::test]
    async fn the_gauges_show_the_snapshot() {
        let (mut server, address) = server().await;
        let counts = [(submission::State::Pending, 3)].into_iter().collect();
        let now = clock::now();
        let snapshot = StatusSnapshot { next_due: Some(now.unix.seconds() - 7), ..running(&counts) };
        server.publish(StatusSnapshot { mode: Mode::PausedByFault, ..snapshot }, now);
        let (status, text) = get(address, "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            r#"certcommit_submissions{state="pending"} 3"#,
            r#"certcommit_submissions{state="held"} 0"#,
            "certcommit_oldest_due_seconds 7",
            "certcommit_pace_per_second 12.5",
            "certcommit_rate_limit_per_second 20",
            r#"certcommit_paused{by="operator"} 0"#,
            r#"certcommit_paused{by="fault"} 1"#,
            "certcommit_database_available 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
        assert_eq!(get(address, "/").await.0, 404);
    }

    #[tokio::test]
    async fn an_incident_is_shown_by_its_code_and_its_end_as_well() {
        let (mut server, address) = server().await;
        let (counts, now) = (Counts::default(), clock::now());
        let incident = Incident::new(PauseCause::RestoredDump, None);
        let shown = r#"certcommit_incident{code="restored_dump"}"#;
        let one = std::slice::from_ref(&incident);
        for (seconds, incidents, expected) in [(0, &[][..], "0"), (2, one, "1"), (4, &[], "0")] {
            let later = Now { instant: now.instant + Duration::from_secs(seconds), ..now };
            server.publish(StatusSnapshot { incidents, ..running(&counts) }, later);
            let (_, text) = get(address, "/metrics").await;
            assert!(text.contains(&format!("{shown} {expected}")), "{text}");
        }
    }

    #[tokio::test]
    async fn a_submission_that_is_due_in_the_future_is_not_overdue() {
        let counts = Counts::default();
        let now = clock::now();
        let snapshot = StatusSnapshot { next_due: Some(now.unix.seconds() + 60), ..running(&counts) };
        let full = full();
        assert_eq!(gauges(snapshot, now).oldest_due_s, 0);
        assert!(!gauges(StatusSnapshot { outage: Some(&full), ..snapshot }, now).database_available);
    }

    #[tokio::test]
    async fn readyz_is_ok_while_commits_go_out_and_otherwise_shows_why_not() {
        let (mut server, address) = server().await;
        assert_eq!(get(address, "/readyz").await, (503, "starting\n".to_owned()));
        let counts = Counts::default();
        let (now, running) = (clock::now(), running(&counts));
        let by_operator = Incident::new(PauseCause::ByOperator { reason: Some("maintenance".into()) }, None);
        let readback = Incident::new(PauseCause::ReadbackFailing { why: "cut".into(), request_id: None }, None);
        let paused =
            StatusSnapshot { mode: Mode::PausedByOperator, incidents: std::slice::from_ref(&by_operator), ..running };
        let outage = full();
        let full = StatusSnapshot { outage: Some(&outage), ..paused };
        let stopping = StatusSnapshot { mode: Mode::Stopping, ..running };
        // Reading back alone is paused: commits go out.
        let reading = StatusSnapshot { incidents: std::slice::from_ref(&readback), ..running };
        for (snapshot, expected) in [
            (running, (200, "ok\n")),
            (paused, (503, "an operator paused the queue: maintenance\n")),
            (full, (503, "the disk is full; since 1970-01-01T00:00:00Z\n")),
            (stopping, (503, "stopping\n")),
            (reading, (200, "ok\n")),
        ] {
            server.publish(snapshot, now);
            let (status, text) = get(address, "/readyz").await;
            assert_eq!((status, text.as_str()), expected, "{snapshot:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_closed_and_do_not_block_others() {
        let (_server, address) = server().await;
        let connect = || tokio::net::TcpStream::connect(address);
        let mut idle = Vec::new();
        for _ in 0..=MOST_CONNECTIONS {
            idle.push(connect().await.unwrap());
        }
        // Time stands still but for those who wait for it.
        let mut asking = connect().await.unwrap();
        asking.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("starting\n"), "{answer}");
    }

    #[tokio::test]
    async fn healthz_is_ok_as_long_as_the_event_loop_makes_rounds() {
        let (mut server, address) = server().await;
        let counts = Counts::default();
        let now = clock::now();
        server.publish(running(&counts), now);
        assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
        let earlier = now.instant.checked_sub(Duration::from_secs(40)).unwrap();
        server.publish(running(&counts), Now { instant: earlier, ..now });
        let (status, text) = get(address, "/healthz").await;
        assert!(status == 503 && text.contains("has made no round for 40 s"), "{status} {text}");
    }
}
