//! A way to the API that a test bends: it hands each request on to the stand-in unchanged, so that the order is really
//! placed, and hands the reply back as the test's script wants it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use certcommit::simulator::Simulator;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig};

use super::line::{Distance, far_away};

/// How a new connection is met.
#[derive(Debug, Clone)]
pub(crate) enum Greeting {
    /// Requests are served.
    Serve,
    /// It is accepted and closed.
    Cut,
    /// It is accepted, and nothing more happens.
    Silence,
    /// It is told this before anything was read, and is the client's to close.
    Say(Vec<u8>),
}

/// The stand-in's reply.
pub(crate) struct Reply {
    /// Status line and headers, with the empty line.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn whole(&self) -> Vec<u8> {
        [self.head.as_slice(), self.body.as_slice()].concat()
    }
}

/// A step of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    /// What the last answer on this connection was, once more.
    Again,
    /// Byte by byte, with this pause before each.
    Slowly(Vec<u8>, Duration),
    /// Again and again, with this pause between.
    Forever(Vec<u8>, Duration),
    Wait(Duration),
    /// Nothing, until so many connections were accepted.
    UntilConnections(usize),
    /// Nothing, until so many requests came.
    UntilRequests(usize),
    /// Nothing more, as long as the client waits.
    Hang,
    Close,
}

/// How the API's reply is told to the client.
pub(crate) type Retelling = fn(&Reply) -> Vec<Act>;

/// What becomes of one request. After the last step, the connection is kept for the next request.
pub(crate) enum Answer {
    /// The API gets the request, and its reply goes back like this.
    Forwarded(Retelling),
    /// The API never gets it.
    Kept(Vec<Act>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The number of its connection, from 1.
    pub(crate) connection: usize,
    pub(crate) certificate_id: String,
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
}

/// The proxy. Dropping it closes its socket and its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    distance: Distance,
    state: Mutex<State>,
    /// Fires at each request, and when a connection opens or closes.
    changes: watch::Sender<()>,
    /// Fires when idle connections are to be closed.
    hang_up: watch::Sender<()>,
}

struct State {
    greeting: Greeting,
    tls: Option<Arc<ServerConfig>>,
    scripts: HashMap<String, VecDeque<Answer>>,
    connections: usize,
    closed: usize,
    tls_versions: Vec<ProtocolVersion>,
    received: Vec<Received>,
    poured: usize,
}

impl Proxy {
    /// A proxy that speaks plain HTTP.
    pub(crate) async fn start(simulator: &Simulator) -> Self {
        Self::on(listener().await, simulator, None, Distance::default())
    }

    /// A proxy that speaks TLS.
    pub(crate) async fn with_tls(simulator: &Simulator, tls: Arc<ServerConfig>) -> Self {
        Self::on(listener().await, simulator, Some(tls), Distance::default())
    }

    /// A proxy on a socket that listens already, so far away.
    pub(crate) fn on(
        listener: TcpListener,
        simulator: &Simulator,
        tls: Option<Arc<ServerConfig>>,
        distance: Distance,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let state = State {
            greeting: Greeting::Serve,
            tls,
            scripts: HashMap::new(),
            connections: 0,
            closed: 0,
            tls_versions: Vec::new(),
            received: Vec::new(),
            poured: 0,
        };
        let shared = Arc::new(Shared {
            upstream: simulator.endpoint().trim_start_matches("http://").to_owned(),
            distance,
            state: Mutex::new(state),
            changes: watch::Sender::new(()),
            hang_up: watch::Sender::new(()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its endpoint, if it speaks plain HTTP.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How connections are met from now on.
    pub(crate) fn greet(&self, greeting: Greeting) {
        self.shared.state().greeting = greeting;
    }

    /// The server, with its certificate, that new connections meet from now on.
    pub(crate) fn set_tls(&self, tls: Arc<ServerConfig>) {
        self.shared.state().tls = Some(tls);
    }

    /// What becomes of the next commit of this certificate, after those scripted before.
    pub(crate) fn script(&self, id: &str, answer: Answer) {
        self.shared.state().scripts.entry(id.to_owned()).or_default().push_back(answer);
    }

    /// Closes the connections on which no request is under way.
    pub(crate) fn close_idle(&self) {
        self.shared.hang_up.send_replace(());
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// How many of them are open.
    pub(crate) fn open(&self) -> usize {
        let state = self.shared.state();
        state.connections - state.closed
    }

    /// The version of TLS of each connection.
    pub(crate) fn tls_versions(&self) -> Vec<ProtocolVersion> {
        self.shared.state().tls_versions.clone()
    }

    /// The requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// How many bytes of answers without an end the connections took.
    pub(crate) fn poured(&self) -> usize {
        self.shared.state().poured
    }

    /// The commits of this certificate so far.
    pub(crate) fn commits_of(&self, id: &str) -> Vec<Received> {
        let commits = self.received().into_iter();
        commits.filter(|request| request.is_commit() && request.certificate_id == id).collect()
    }

    /// Waits until this is so, asking at each request, and when a connection opens or closes.
    pub(crate) async fn until(&self, so: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !so(self) {
            changes.changed().await.unwrap();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Received {
    fn is_commit(&self) -> bool {
        self.head.contains("x-tc-action: commitcertificateinformation\r\n")
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits until this is so.
    async fn until(&self, so: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !so(&self.state()) {
            changes.changed().await.unwrap();
        }
    }

    /// Takes note of a request, and says what becomes of it.
    fn receive(&self, message: &Message, connection: usize) -> Answer {
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        let certificate_id = body["CertificateId"].as_str().unwrap().to_owned();
        let head = String::from_utf8(message.head.clone()).unwrap().to_lowercase();
        let received = Received { connection, certificate_id, head };
        let mut state = self.state();
        let script = if received.is_commit() { state.scripts.get_mut(&received.certificate_id) } else { None };
        let answer = script.and_then(VecDeque::pop_front);
        state.received.push(received);
        drop(state);
        self.changes.send_replace(());
        answer.unwrap_or(Answer::Forwarded(|reply| vec![Act::Send(reply.whole())]))
    }

    async fn forward(&self, message: &Message) -> io::Result<Reply> {
        let mut upstream = TcpStream::connect(&self.upstream).await?;
        upstream.set_nodelay(true)?;
        upstream.write_all(&[message.head.as_slice(), message.body.as_slice()].concat()).await?;
        let reply = read_message(&mut upstream, &mut Vec::new()).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Reply { head: reply.head, body: reply.body })
    }
}

/// A socket on loopback.
async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let number = {
            let mut state = shared.state();
            state.connections += 1;
            state.connections
        };
        shared.changes.send_replace(());
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A connection that breaks is what many a test is about.
            serve(stream, number, &shared).await.unwrap_or_default();
            shared.state().closed += 1;
            shared.changes.send_replace(());
        });
    }
}

async fn serve(stream: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    let (greeting, tls) = {
        let state = shared.state();
        (state.greeting.clone(), state.tls.clone())
    };
    let mut stream = stream;
    match greeting {
        Greeting::Cut => return Ok(()),
        Greeting::Silence => return until_closed(&mut stream).await,
        Greeting::Say(words) => {
            stream.write_all(&words).await?;
            return until_closed(&mut stream).await;
        }
        Greeting::Serve => {}
    }
    match (tls, shared.distance.is_none()) {
        (None, true) => converse(stream, number, shared).await,
        (None, false) => converse(far_away(stream, shared.distance), number, shared).await,
        (Some(tls), true) => converse_in_tls(stream, tls, number, shared).await,
        (Some(tls), false) => converse_in_tls(far_away(stream, shared.distance), tls, number, shared).await,
    }
}

async fn converse_in_tls(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    tls: Arc<ServerConfig>,
    number: usize,
    shared: &Shared,
) -> io::Result<()> {
    let stream = TlsAcceptor::from(tls).accept(stream).await?;
    shared.state().tls_versions.extend(stream.get_ref().1.protocol_version());
    converse(stream, number, shared).await
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, number: usize, shared: &Shared) -> io::Result<()> {
    let mut hang_up = shared.hang_up.subscribe();
    let mut rest = Vec::new();
    let mut last = Vec::new();
    loop {
        let message = tokio::select! {
            message = read_message(&mut stream, &mut rest) => message?,
            _ = hang_up.changed() => None,
        };
        let Some(message) = message else {
            return stream.shutdown().await;
        };
        let acts = match shared.receive(&message, number) {
            Answer::Forwarded(acts) => acts(&shared.forward(&message).await?),
            Answer::Kept(acts) => acts,
        };
        for act in acts {
            match act {
                Act::Send(bytes) => {
                    send(&mut stream, &bytes).await?;
                    last = bytes;
                }
                Act::Again => send(&mut stream, &last).await?,
                Act::Slowly(bytes, pause) => {
                    for byte in bytes {
                        sleep(pause).await;
                        send(&mut stream, &[byte]).await?;
                    }
                }
                Act::Forever(bytes, pause) => loop {
                    send(&mut stream, &bytes).await?;
                    shared.state().poured += bytes.len();
                    sleep(pause).await;
                },
                Act::Wait(pause) => sleep(pause).await,
                Act::UntilConnections(count) => shared.until(|state| state.connections >= count).await,
                Act::UntilRequests(count) => shared.until(|state| state.received.len() >= count).await,
                Act::Hang => return until_closed(&mut stream).await,
                Act::Close => return stream.shutdown().await,
            }
        }
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Waits until the client closes the connection.
async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}

struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

/// Reads a message with a `Content-Length`; none, if the peer has no more. What comes after it stays in `rest`.
async fn read_message(stream: &mut (impl AsyncRead + Unpin), rest: &mut Vec<u8>) -> io::Result<Option<Message>> {
    loop {
        if let Some(message) = take_message(rest) {
            return Ok(Some(message));
        }
        if stream.read_buf(rest).await? == 0 {
            return Ok(None);
        }
    }
}

fn take_message(bytes: &mut Vec<u8>) -> Option<Message> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let head = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD)? + END_OF_HEAD.len();
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let whole = head + length.map_or(0, |length| length.trim().parse().unwrap());
    (bytes.len() >= whole).then(|| {
        let mut message: Vec<u8> = bytes.drain(..whole).collect();
        let body = message.split_off(head);
        Message { head: message, body }
    })
}
