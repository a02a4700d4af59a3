//! One connection of the API: it carries out what the service decides about each request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::reply::Silence;
use super::request::Incoming;
use super::service::Service;
use super::socket::serve_http;
use crate::clock;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    service: Mutex<Service>,
    /// Fires at each arrival and each order.
    pub(super) changes: watch::Sender<()>,
    /// How many connections were opened so far.
    pub(super) connections: AtomicU64,
    /// Orders that will be placed after their connection was cut.
    late_orders: Mutex<JoinSet<()>>,
}

impl Shared {
    pub(super) fn new(service: Service) -> Self {
        Self {
            service: Mutex::new(service),
            changes: watch::Sender::new(()),
            connections: AtomicU64::new(0),
            late_orders: Mutex::new(JoinSet::new()),
        }
    }

    pub(super) fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place_later(self: &Arc<Self>, id: String, wait: Duration) {
        let shared = Arc::downgrade(self);
        self.late_orders().spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(shared) = shared.upgrade() {
                // The connection was cut, so nobody gets a refusal.
                shared.service().place_order(&id, clock::now().instant).unwrap_or_default();
                shared.changes.send_replace(());
            }
        });
    }

    fn late_orders(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.late_orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a connection until it ends or is cut.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let cut = Arc::new(Notify::new());
    let router = {
        let cut = Arc::clone(&cut);
        let reply = move |headers: HeaderMap, body: Bytes| {
            let (shared, cut) = (Arc::clone(&shared), Arc::clone(&cut));
            async move { reply(&shared, number, &cut, &headers, &body).await }
        };
        Router::new().route("/", post(reply))
    };
    tokio::select! {
        () = serve_http(stream, router) => {}
        () = cut.notified() => {}
    }
}

async fn reply(shared: &Arc<Shared>, connection: u64, cut: &Notify, headers: &HeaderMap, body: &[u8]) -> Response {
    let plan = {
        let request = Incoming::new(headers, body);
        let mut service = shared.service();
        // Read the time under the lock, so that arrivals are in order.
        let now = clock::now();
        service.receive(&request, connection, now)
    };
    if let Some((id, wait)) = plan.late_order {
        shared.place_later(id, wait);
    }
    shared.changes.send_replace(());
    if !plan.wait.is_zero() {
        tokio::time::sleep(plan.wait).await;
    }
    match plan.delivery.into_response() {
        Ok(response) => return response,
        Err(Silence::Cut) => cut.notify_one(),
        Err(Silence::Hang) => {}
    }
    std::future::pending().await
}
