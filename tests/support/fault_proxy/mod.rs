//! A reverse proxy in front of the simulator that breaks connections and replies as a test scripts it. It forwards each
//! request unchanged, so the order is really placed.

mod connection;
mod message;
mod script;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use certcommit::simulator::Simulator;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig};

use super::network_distance::Distance;
use message::{Message, read_message};
pub(crate) use script::{Act, Answer, Greeting, Reply, ReplyScript};

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The number of its connection, from 1.
    pub(crate) connection: usize,
    pub(crate) certificate_id: String,
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
}

/// The proxy. Dropping it closes its socket and its connections.
pub(crate) struct FaultProxy {
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
    /// Fires to close idle connections.
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
    endless_bytes: usize,
}

impl FaultProxy {
    /// A proxy that speaks plain HTTP.
    pub(crate) async fn start(simulator: &Simulator) -> Self {
        Self::on(listener().await, simulator, None, Distance::default())
    }

    /// A proxy that speaks TLS.
    pub(crate) async fn with_tls(simulator: &Simulator, tls: Arc<ServerConfig>) -> Self {
        Self::on(listener().await, simulator, Some(tls), Distance::default())
    }

    /// A proxy at this distance, on a socket that already listens.
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
            endless_bytes: 0,
        };
        let shared = Arc::new(Shared {
            upstream: simulator.endpoint().trim_start_matches("http://").to_owned(),
            distance,
            state: Mutex::new(state),
            changes: watch::Sender::new(()),
            hang_up: watch::Sender::new(()),
        });
        let accepting = tokio::spawn(connection::accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its endpoint, if it speaks plain HTTP.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how new connections are handled.
    pub(crate) fn greet(&self, greeting: Greeting) {
        self.shared.state().greeting = greeting;
    }

    /// Changes the TLS server, and so the certificate, of new connections.
    pub(crate) fn set_tls(&self, tls: Arc<ServerConfig>) {
        self.shared.state().tls = Some(tls);
    }

    /// Scripts the next commit of this certificate; several calls script several commits in order.
    pub(crate) fn script(&self, id: &str, answer: Answer) {
        self.shared.state().scripts.entry(id.to_owned()).or_default().push_back(answer);
    }

    /// Closes the connections that have no request in flight.
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

    /// The TLS version of each connection.
    pub(crate) fn tls_versions(&self) -> Vec<ProtocolVersion> {
        self.shared.state().tls_versions.clone()
    }

    /// The requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// How many bytes of endless replies were sent.
    pub(crate) fn endless_bytes(&self) -> usize {
        self.shared.state().endless_bytes
    }

    /// The commits of this certificate so far.
    pub(crate) fn commits_of(&self, id: &str) -> Vec<Received> {
        let commits = self.received().into_iter();
        commits.filter(|request| request.is_commit() && request.certificate_id == id).collect()
    }

    /// Waits until the condition holds. It is checked at each request, and when a connection opens or closes.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !condition(self) {
            changes.changed().await.unwrap();
        }
    }
}

impl Drop for FaultProxy {
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

    /// Waits until the condition holds.
    async fn until(&self, condition: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !condition(&self.state()) {
            changes.changed().await.unwrap();
        }
    }

    /// Records a request, and returns what to do with it.
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
