//! A listening socket that can be closed, and opened again at the same address.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// How long to wait when the system has no descriptor for a connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(20);

/// Serves one connection until it ends.
type Serve = dyn Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// The socket. Dropping it closes it and its connections.
pub(super) struct Socket {
    address: SocketAddr,
    serve: Arc<Serve>,
    accepting: Mutex<Option<Accepting>>,
}

/// The task that accepts connections. It ends when `stop` is dropped.
struct Accepting {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Socket {
    /// Listens.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub(super) async fn bind<F>(
        address: SocketAddr,
        serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let socket =
            Self { address, serve: Arc::new(move |stream| Box::pin(serve(stream))), accepting: Mutex::new(None) };
        socket.start(listener);
        Ok(socket)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket and its connections: from now on, connections are refused.
    pub(super) async fn close(&self) {
        let accepting = self.accepting().take();
        if let Some(Accepting { stop, task }) = accepting {
            drop(stop);
            // An error means that the runtime has already ended the task.
            task.await.unwrap_or_default();
        }
    }

    /// Listens again. Does nothing if it is listening.
    ///
    /// # Errors
    /// When the address was taken in the meantime.
    pub(super) async fn reopen(&self) -> io::Result<()> {
        if self.accepting().is_none() {
            // tokio sets SO_REUSEADDR, so the address can be bound again at once.
            self.start(TcpListener::bind(self.address).await?);
        }
        Ok(())
    }

    fn start(&self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, Arc::clone(&self.serve), stopped));
        *self.accepting() = Some(Accepting { stop, task });
    }

    fn accepting(&self) -> MutexGuard<'_, Option<Accepting>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, serve: Arc<Serve>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream));
                }
                Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Serves HTTP/1.1 on a connection.
pub(super) async fn serve_http(stream: TcpStream, router: Router) {
    if stream.set_nodelay(true).is_ok() {
        let http = http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        // An error means that the client broke the connection, as it may.
        http.await.unwrap_or_default();
    }
}
