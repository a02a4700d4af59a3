//! What other programs watch the daemon by: `/metrics`, `/healthz` and `/readyz`, if `metrics.listen` is set.

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

use super::watchers::Situation;
use crate::clock::{self, Now};
use crate::metrics::{Gauges, Metrics};
use crate::queue::{Finished, Mode, RequestKind};
use crate::submission;
use crate::tencent::code_label;

/// The content type of Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The loop comes round at least every ten seconds, whatever there is to do.
const LOOP_PATIENCE: Duration = Duration::from_secs(30);
/// Connections that are served at once; others wait.
const MOST_CONNECTIONS: usize = 16;
/// A connection that takes longer is closed.
const LONGEST_CONNECTION: Duration = Duration::from_secs(10);
/// After a connection that could not be accepted, for instance for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// The gauges are set this often.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// What the daemon knows of itself.
#[derive(Debug)]
struct Health {
    round_at: Instant,
    /// Why it does not work off the queue at present, if so.
    unready: Option<String>,
}

/// What the daemon and those who watch it share.
#[derive(Debug, Clone)]
struct Watched {
    metrics: Arc<Metrics>,
    health: Arc<Mutex<Health>>,
}

/// The metrics of the daemon, and the server that shows them.
#[derive(Debug)]
pub(super) struct Monitor {
    watched: Watched,
    address: SocketAddr,
    server: JoinHandle<()>,
    gauged_at: Option<Instant>,
}

impl Monitor {
    /// Lets others watch at this address.
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
        Ok(Self { watched, address, server, gauged_at: None })
    }

    /// Where others watch.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// One round of the loop.
    pub(super) fn round(&mut self, situation: Situation<'_>, now: Now) {
        self.watched.set_health(unready(situation), now.instant);
        if self.gauged_at.is_some_and(|at| now.instant < at + GAUGES_EVERY) {
            return;
        }
        self.gauged_at = Some(now.instant);
        let metrics = &self.watched.metrics;
        for state in submission::State::ALL {
            metrics.submissions(state.as_str(), situation.counts.of(state));
        }
        metrics.gauges(gauges(situation, now));
    }

    /// A request ended. One without an answer about itself has no code.
    pub(super) fn request_ended(&self, kind: RequestKind, finished: &Finished) {
        let code = finished.error_code.as_deref().map_or("", code_label);
        self.watched.metrics.request(kind.as_str(), finished.outcome, code, finished.duration);
    }
}

/// Serves one request a connection, and so many at once that those who watch can't use up the daemon's descriptors.
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
            // How it ended is the matter of the one who asked.
            let ended = timeout(LONGEST_CONNECTION, connection).await;
            tracing::trace!(?ended, "a connection to the metrics ended");
            drop(place);
        });
    }
}

/// Why the queue isn't worked off at present, if so.
fn unready(situation: Situation<'_>) -> Option<&str> {
    match (situation.trouble, situation.mode) {
        (Some(trouble), _) => Some(trouble),
        (None, Mode::Stopping | Mode::Stopped) => Some("stopping"),
        (None, Mode::PausedByOperator | Mode::PausedByFault) => Some(situation.why.unwrap_or("paused")),
        (None, Mode::Running) => None,
    }
}

fn gauges(situation: Situation<'_>, now: Now) -> Gauges {
    let Situation { mode, trouble, paces, cap, next_due, .. } = situation;
    Gauges {
        oldest_due_s: next_due.map_or(0, |due| (now.unix.seconds() - due).max(0)),
        pace: paces.commits,
        cap: f64::from(cap),
        paused_by_operator: mode == Mode::PausedByOperator,
        paused_by_fault: mode == Mode::PausedByFault,
        database_available: trouble.is_none(),
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Watched {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_health(&self, unready: Option<&str>, now: Instant) {
        let mut health = self.health();
        health.round_at = now;
        if health.unready.as_deref() != unready {
            health.unready = unready.map(str::to_owned);
        }
    }
}

async fn metrics(State(watched): State<Watched>) -> Response {
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], watched.metrics.render()).into_response()
}

/// Whether the daemon lives: its loop comes round.
async fn healthz(State(watched): State<Watched>) -> Response {
    let since = clock::now().instant.saturating_duration_since(watched.health().round_at);
    if since < LOOP_PATIENCE {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let text = format!("the work loop has not come round for {} s\n", since.as_secs());
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Whether the daemon works off the queue: it is neither paused nor waiting for the database nor stopping.
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
    use crate::queue::{Counts, Paces};

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

    async fn monitor() -> (Monitor, SocketAddr) {
        let monitor = Monitor::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = monitor.address();
        (monitor, address)
    }

    fn running(counts: &Counts) -> Situation<'_> {
        let paces = Paces { commits: 12.5, reads: 10.0 };
        Situation { counts, mode: Mode::Running, why: None, trouble: None, paces, cap: 20, next_due: None }
    }

    #[tokio::test]
    async fn what_the_daemon_is_at_is_shown_to_those_who_ask() {
        let (mut monitor, address) = monitor().await;
        let counts = [(submission::State::Pending, 3)].into_iter().collect();
        let now = clock::now();
        let situation = Situation { next_due: Some(now.unix.seconds() - 7), ..running(&counts) };
        monitor.round(Situation { mode: Mode::PausedByFault, ..situation }, now);
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
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
        assert_eq!(get(address, "/").await.0, 404);
    }

    #[tokio::test]
    async fn what_is_due_in_the_future_is_not_old() {
        let counts = Counts::default();
        let now = clock::now();
        let situation = Situation { next_due: Some(now.unix.seconds() + 60), ..running(&counts) };
        assert_eq!(gauges(situation, now).oldest_due_s, 0);
        assert!(!gauges(Situation { trouble: Some("full"), ..situation }, now).database_available);
    }

    #[tokio::test]
    async fn it_is_ready_while_it_works_and_says_why_when_it_does_not() {
        let (mut monitor, address) = monitor().await;
        assert_eq!(get(address, "/readyz").await, (503, "starting\n".to_owned()));
        let counts = Counts::default();
        let (now, running) = (clock::now(), running(&counts));
        let paused = Situation { mode: Mode::PausedByOperator, why: Some("maintenance"), ..running };
        let full = Situation { trouble: Some("the disk is full"), ..paused };
        let stopping = Situation { mode: Mode::Stopping, ..running };
        // Reading back alone is paused: commits go out.
        let reading = Situation { why: Some("reading back is paused"), ..running };
        for (situation, expected) in [
            (running, (200, "ok\n")),
            (paused, (503, "maintenance\n")),
            (full, (503, "the disk is full\n")),
            (stopping, (503, "stopping\n")),
            (reading, (200, "ok\n")),
        ] {
            monitor.round(situation, now);
            let (status, text) = get(address, "/readyz").await;
            assert_eq!((status, text.as_str()), expected, "{situation:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_never_ask_are_closed_and_keep_nobody_out() {
        let (_monitor, address) = monitor().await;
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
    async fn it_is_healthy_as_long_as_its_loop_comes_round() {
        let (mut monitor, address) = monitor().await;
        let counts = Counts::default();
        let now = clock::now();
        monitor.round(running(&counts), now);
        assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
        let earlier = now.instant.checked_sub(Duration::from_secs(40)).unwrap();
        monitor.round(running(&counts), Now { instant: earlier, ..now });
        let (status, text) = get(address, "/healthz").await;
        assert!(status == 503 && text.contains("has not come round for 40 s"), "{status} {text}");
    }
}
