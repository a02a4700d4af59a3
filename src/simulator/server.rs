//! Sockets: listening, one task a connection, and carrying out what was decided about a request.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::reply::Silence;
use super::request::Incoming;
use super::state::State;
use crate::clock;

/// How long to wait when the system has no descriptor for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Fires at each arrival and each order.
    changes: watch::Sender<()>,
    connections: AtomicU64,
    /// Orders to be placed after their connection was cut.
    late_orders: Mutex<JoinSet<()>>,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            changes: watch::Sender::new(()),
            connections: AtomicU64::new(0),
            late_orders: Mutex::new(JoinSet::new()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn tell_of_change(&self) {
        self.changes.send_replace(());
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn forget_late_orders(&self) {
        locked(&self.late_orders).abort_all();
    }

    fn place_later(self: &Arc<Self>, id: String, wait: Duration) {
        let shared = Arc::clone(self);
        locked(&self.late_orders).spawn(async move {
            tokio::time::sleep(wait).await;
            // A refusal has nobody left to be told to.
            shared.state().place_order(&id).unwrap_or_default();
            shared.changes.send_replace(());
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bound socket and its connections. All are closed when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens, and says where.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub(super) async fn bind(address: SocketAddr, shared: Arc<Shared>) -> io::Result<(Self, SocketAddr)> {
        // tokio sets SO_REUSEADDR, so an address that was listened on before can be bound again at once.
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(socket, shared, stopped));
        Ok((Self { stop: Some(stop), task }, address))
    }

    /// Closes the socket and its connections.
    pub(super) async fn close(mut self) {
        drop(self.stop.take());
        // An error means that the task was aborted: it is over, too.
        (&mut self.task).await.unwrap_or_default();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(socket: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
        }
    }
    drop(socket);
    connections.shutdown().await;
}

#[derive(Debug, Clone)]
struct Connection {
    shared: Arc<Shared>,
    number: u64,
    cut: Arc<Notify>,
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let connection = Connection { shared, number, cut: Arc::default() };
    let cut = Arc::clone(&connection.cut);
    let answer = move |headers: HeaderMap, body: Bytes| {
        let connection = connection.clone();
        async move { answer(&connection, &headers, &body).await }
    };
    let service = TowerToHyperService::new(Router::new().route("/", post(answer)));
    let http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = http => {}
        () = cut.notified() => {}
    }
}

async fn answer(connection: &Connection, headers: &HeaderMap, body: &[u8]) -> Response {
    let shared = &connection.shared;
    let plan = {
        let request = Incoming::new(headers, body);
        let mut state = shared.state();
        // Read under the lock, so that arrivals are in order.
        let now = clock::now();
        state.receive(&request, connection.number, now)
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
        Err(Silence::Cut) => connection.cut.notify_one(),
        Err(Silence::Hang) => {}
    }
    std::future::pending().await
}
