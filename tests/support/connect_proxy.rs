//! An HTTP proxy that handles `CONNECT` as a test scripts it. All its tunnels lead to one port, whatever name is requested.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::network_distance::{Distance, far_away};

/// How the proxy replies to a request for a tunnel.
#[derive(Debug, Clone)]
pub(crate) enum TunnelReply {
    Grant,
    /// It grants the tunnel once this many were requested.
    GrantAfterRequests(usize),
    /// It grants the tunnel to a client with this `Proxy-Authorization`, and refuses others with 407.
    GrantTo(&'static str),
    /// It sends this and closes the connection.
    Send(&'static str),
    /// It closes the connection without a reply.
    Close,
    /// It does nothing until the client closes the connection.
    Hang,
    /// It grants the tunnel, and closes it at the first byte.
    GrantThenClose,
}

/// The proxy. Dropping it closes its socket and its connections.
pub(crate) struct ConnectProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    /// Where every tunnel leads.
    target: SocketAddr,
    distance: Distance,
    tls: Option<Arc<ServerConfig>>,
    state: Mutex<State>,
    /// Fires whenever a tunnel is requested.
    changes: watch::Sender<()>,
}

struct State {
    reply: TunnelReply,
    requests: Vec<String>,
    tunnels: usize,
}

impl ConnectProxy {
    /// A proxy whose tunnels lead to this local port.
    pub(crate) async fn to(port: u16) -> Self {
        Self::on(Self::listener().await, port, None, Distance::default())
    }

    /// A proxy that speaks TLS itself.
    pub(crate) async fn with_tls(port: u16, tls: Arc<ServerConfig>) -> Self {
        Self::on(Self::listener().await, port, Some(tls), Distance::default())
    }

    /// A socket for a proxy.
    pub(crate) async fn listener() -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
    }

    /// A proxy at this distance, on a socket that already listens.
    pub(crate) fn on(listener: TcpListener, port: u16, tls: Option<Arc<ServerConfig>>, distance: Distance) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Mutex::new(State { reply: TunnelReply::Grant, requests: Vec::new(), tunnels: 0 });
        let shared = Arc::new(Shared {
            target: (Ipv4Addr::LOCALHOST, port).into(),
            distance,
            tls,
            state,
            changes: watch::Sender::new(()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Changes the reply to requests for a tunnel.
    pub(crate) fn reply_with(&self, reply: TunnelReply) {
        self.shared.state().reply = reply;
    }

    /// Its host and port, as in messages.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its URL, if it speaks plain HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the tunnel requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }

    /// How many tunnels were granted so far.
    pub(crate) fn tunnels(&self) -> usize {
        self.shared.state().tunnels
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let shared = Arc::clone(&shared);
        // Errors are expected: many tests break connections.
        connections.spawn(async move { serve(stream, &shared).await.unwrap_or_default() });
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    match (shared.tls.clone(), shared.distance.is_none()) {
        (Some(tls), _) => handle(TlsAcceptor::from(tls).accept(stream).await?, shared).await,
        (None, true) => handle(stream, shared).await,
        (None, false) => handle(far_away(stream, shared.distance), shared).await,
    }
}

async fn handle(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> io::Result<()> {
    const REFUSAL: &str = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
    let head = read_head(&mut stream).await?;
    let reply = {
        let mut state = shared.state();
        state.requests.push(head.clone());
        state.reply.clone()
    };
    shared.changes.send_replace(());
    let bytes = match reply {
        TunnelReply::Grant => return tunnel(stream, shared).await,
        TunnelReply::GrantAfterRequests(count) => {
            let mut changes = shared.changes.subscribe();
            while shared.state().requests.len() < count {
                changes.changed().await.unwrap();
            }
            return tunnel(stream, shared).await;
        }
        TunnelReply::GrantTo(authorization) => {
            if head.contains(&format!("\r\nProxy-Authorization: {authorization}\r\n")) {
                return tunnel(stream, shared).await;
            }
            REFUSAL
        }
        TunnelReply::GrantThenClose => {
            grant(&mut stream, shared).await?;
            stream.read_u8().await?;
            ""
        }
        TunnelReply::Hang => return tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop),
        TunnelReply::Close => "",
        TunnelReply::Send(text) => text,
    };
    stream.write_all(bytes.as_bytes()).await?;
    stream.shutdown().await
}

async fn grant(stream: &mut (impl AsyncWrite + Unpin), shared: &Shared) -> io::Result<()> {
    shared.state().tunnels += 1;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    stream.flush().await
}

async fn tunnel(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> io::Result<()> {
    let mut target = TcpStream::connect(shared.target).await?;
    target.set_nodelay(true)?;
    grant(&mut stream, shared).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut target).await.map(drop)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
