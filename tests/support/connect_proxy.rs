//! An HTTP proxy that misbehaves as a test wants it: asked with CONNECT for a tunnel to whatever name, it leads to one place.

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

/// How one who asks for a tunnel is met.
#[derive(Debug, Clone)]
pub(crate) enum Reception {
    /// The tunnel is granted.
    Tunnel,
    /// The tunnel is granted once so many were asked for.
    TunnelOnceAsked(usize),
    /// The tunnel is granted to whoever brings this `Proxy-Authorization`, and refused with 407 otherwise.
    TunnelFor(&'static str),
    /// This is said, and the connection closed.
    Say(&'static str),
    /// The connection is closed without a word.
    Cut,
    /// Nothing happens, until the client closes the connection.
    Silence,
    /// The tunnel is granted, and cut at the first byte in it.
    CutAtFirstByte,
}

/// The proxy. Dropping it closes its socket and its connections.
pub(crate) struct ConnectProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    /// Where every tunnel leads.
    end: SocketAddr,
    distance: Distance,
    tls: Option<Arc<ServerConfig>>,
    state: Mutex<State>,
    /// Fires whenever a tunnel is asked for.
    changes: watch::Sender<()>,
}

struct State {
    reception: Reception,
    asked: Vec<String>,
    tunnels: usize,
}

impl ConnectProxy {
    /// A proxy whose tunnels lead to this port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        Self::on(Self::listener().await, port, None, Distance::default())
    }

    /// A proxy that is asked over TLS.
    pub(crate) async fn with_tls(port: u16, tls: Arc<ServerConfig>) -> Self {
        Self::on(Self::listener().await, port, Some(tls), Distance::default())
    }

    /// A socket for a proxy.
    pub(crate) async fn listener() -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
    }

    /// A proxy on a socket that listens already, so far away.
    pub(crate) fn on(listener: TcpListener, port: u16, tls: Option<Arc<ServerConfig>>, distance: Distance) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Mutex::new(State { reception: Reception::Tunnel, asked: Vec::new(), tunnels: 0 });
        let shared = Arc::new(Shared {
            end: (Ipv4Addr::LOCALHOST, port).into(),
            distance,
            tls,
            state,
            changes: watch::Sender::new(()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// How whoever asks is met from now on.
    pub(crate) fn receive(&self, reception: Reception) {
        self.shared.state().reception = reception;
    }

    /// Its host and port, as messages name it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its URL, if it is asked in plain HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests for a tunnel so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.state().asked.clone()
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
        // A connection that breaks is what many a test is about.
        connections.spawn(async move { serve(stream, &shared).await.unwrap_or_default() });
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    match (shared.tls.clone(), shared.distance.is_none()) {
        (Some(tls), _) => meet(TlsAcceptor::from(tls).accept(stream).await?, shared).await,
        (None, true) => meet(stream, shared).await,
        (None, false) => meet(far_away(stream, shared.distance), shared).await,
    }
}

async fn meet(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> io::Result<()> {
    const REFUSAL: &str = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
    let head = read_head(&mut stream).await?;
    let reception = {
        let mut state = shared.state();
        state.asked.push(head.clone());
        state.reception.clone()
    };
    shared.changes.send_replace(());
    let said = match reception {
        Reception::Tunnel => return tunnel(stream, shared).await,
        Reception::TunnelOnceAsked(count) => {
            let mut asked = shared.changes.subscribe();
            while shared.state().asked.len() < count {
                asked.changed().await.unwrap();
            }
            return tunnel(stream, shared).await;
        }
        Reception::TunnelFor(authorization) => {
            if head.contains(&format!("\r\nProxy-Authorization: {authorization}\r\n")) {
                return tunnel(stream, shared).await;
            }
            REFUSAL
        }
        Reception::CutAtFirstByte => {
            grant(&mut stream, shared).await?;
            stream.read_u8().await?;
            ""
        }
        Reception::Silence => return tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop),
        Reception::Cut => "",
        Reception::Say(words) => words,
    };
    stream.write_all(said.as_bytes()).await?;
    stream.shutdown().await
}

async fn grant(stream: &mut (impl AsyncWrite + Unpin), shared: &Shared) -> io::Result<()> {
    shared.state().tunnels += 1;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    stream.flush().await
}

async fn tunnel(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> io::Result<()> {
    let mut end = TcpStream::connect(shared.end).await?;
    end.set_nodelay(true)?;
    grant(&mut stream, shared).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut end).await.map(drop)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
