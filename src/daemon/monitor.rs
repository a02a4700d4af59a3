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
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock;
use crate::metrics::Metrics;

/// The content type of Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The loop comes round at least every ten seconds, whatever there is to do.
const LOOP_PATIENCE: Duration = Duration::from_secs(30);

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
    server: Option<JoinHandle<()>>,
}

impl Monitor {
    /// A monitor that nobody watches yet.
    pub(super) fn new() -> Self {
        let health = Health { round_at: clock::now().instant, unready: Some("starting".to_owned()) };
        let watched = Watched { metrics: Arc::new(Metrics::new()), health: Arc::new(Mutex::new(health)) };
        Self { watched, server: None }
    }

    /// Lets others watch at this address.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub(super) async fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(self.watched.clone());
        self.server = Some(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!("metrics are no longer served: {error}");
            }
        }));
        Ok(address)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.watched.metrics
    }

    /// One round of the loop; and why it does not work off the queue at present, if so.
    pub(super) fn round(&self, now: Instant, unready: Option<&str>) {
        let mut health = self.watched.health();
        health.round_at = now;
        if health.unready.as_deref() != unready {
            health.unready = unready.map(str::to_owned);
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

impl Watched {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
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

    use super::*;

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
        let mut monitor = Monitor::new();
        let address = monitor.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        (monitor, address)
    }

    #[tokio::test]
    async fn metrics_are_shown_to_those_who_ask() {
        let (monitor, address) = monitor().await;
        monitor.metrics().submissions("pending", 3);
        let (status, text) = get(address, "/metrics").await;
        assert!(status == 200 && text.contains("certcommit_submissions{state=\"pending\"} 3"), "{status} {text}");
        assert_eq!(get(address, "/").await.0, 404);
    }

    #[tokio::test]
    async fn it_is_ready_while_it_works_and_says_why_when_it_does_not() {
        let (monitor, address) = monitor().await;
        assert_eq!(get(address, "/readyz").await, (503, "starting\n".to_owned()));
        let now = clock::now().instant;
        monitor.round(now, None);
        assert_eq!(get(address, "/readyz").await, (200, "ok\n".to_owned()));
        monitor.round(now, Some("paused: maintenance"));
        assert_eq!(get(address, "/readyz").await, (503, "paused: maintenance\n".to_owned()));
    }

    #[tokio::test]
    async fn it_is_healthy_as_long_as_its_loop_comes_round() {
        let (monitor, address) = monitor().await;
        let now = clock::now().instant;
        monitor.round(now, Some("paused"));
        assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
        monitor.round(now.checked_sub(Duration::from_secs(40)).unwrap(), None);
        let (status, text) = get(address, "/healthz").await;
        assert!(status == 503 && text.contains("has not come round for 40 s"), "{status} {text}");
    }
}
