//! The start: the lock, the database, what an earlier run left, and whether the database is the one that it was.

use std::io;
use std::net::SocketAddr;

use tokio::sync::watch;

use super::keys::{CredentialSource, Keys};
use super::monitor::Monitor;
use super::reload::Reloading;
use super::restoration;
use super::supervisor::Supervisor;
use super::worker::Worker;
use super::{Ended, Progress, RunError, Stop, Until};
use crate::clock;
use crate::config::{ActionName, DatabaseSettings, Settings};
use crate::logging::LogEvent;
use crate::queue::{DaemonLock, Opening, Queue, QueueError, Recovered, RestoreMarker, Run};
use crate::tencent::{Action, Client, CredentialsError, InvalidEndpoint, Proxy, ProxyError, Route, find_route};

/// A daemon that has what it needs and has not begun to send.
#[derive(Debug)]
pub struct Daemon {
    pub(super) settings: Settings,
    pub(super) queue: Queue,
    pub(super) mark: RestoreMarker,
    pub(super) run: Run,
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) supervisor: Supervisor,
    pub(super) monitor: Option<Monitor>,
    pub(super) reloading: Option<Reloading>,
    /// Whether the last run ended otherwise than in good order.
    pub(super) ended_badly: bool,
    pub(super) recovered: Recovered,
    /// Held until the daemon ends.
    pub(super) lock: DaemonLock,
}

/// Why the daemon can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The endpoint.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The address of the metrics.
    #[error("metrics.listen: {address} can't be listened on: {reason}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
    },
}

/// Prepares a run: takes the lock, opens and migrates the database, and settles what an earlier run left. Credentials
/// that can't be asked for at present are waited for later, by the run itself.
///
/// # Errors
/// See [`StartError`].
pub async fn start(settings: Settings, source: CredentialSource) -> Result<Daemon, StartError> {
    let keys = Keys::obtain(source).await?;
    let way = way_to_api(&settings)?;
    let client = Client::new(client_settings(&settings, way.clone().proxy()))?;
    let supervisor = Supervisor::of_environment();
    let monitor = match settings.metrics.listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let (lock, mut queue) = open(&settings.database).await?;
    let path = queue.path().to_owned();
    let mut mark = RestoreMarker::open(&path)?;
    let run = Run { id: format!("{:016x}", fastrand::u64(..)), started: clock::now() };
    tracing::info!(
        event = LogEvent::Started.as_str(),
        version = env!("CARGO_PKG_VERSION"),
        run_id = run.id,
        pid = std::process::id(),
        database = %path.display(),
        endpoint = settings.api.endpoint,
        rate = settings.rate.per_second,
        "started certcommit {}, on {}, at most {} requests a second to {}",
        env!("CARGO_PKG_VERSION"),
        path.display(),
        settings.rate.per_second,
        settings.api.endpoint,
    );
    if let Route::Through(_) = &way {
        tracing::info!("requests go through the proxy {way}");
    }
    if keys.source().is_some() {
        tracing::info!("the credentials come from {}", keys.describe(clock::now().instant));
    }
    let last = queue.last_run().await?;
    restoration::notice(&mut queue, &mut mark, last, clock::now().unix).await?;
    let ended_badly = last.is_some_and(|last| !last.in_good_order);
    queue.begin_run(&run).await?;
    let recovered = queue.recover(&run, clock::now(), &[], &settings.policy()).await?;
    if recovered.in_doubt > 0 {
        tracing::warn!(
            event = LogEvent::InDoubt.as_str(),
            count = recovered.in_doubt,
            "{} submissions were in flight when the last run ended; they are in doubt and are read back before anything else",
            recovered.in_doubt,
        );
    }
    // The last run, or whoever enqueued, may have had a clock that was ahead.
    queue.follow_clock(clock::now()).await?;
    queue.shorten_busy_timeout().await?;
    Ok(Daemon {
        settings,
        queue,
        mark,
        run,
        client,
        keys,
        supervisor,
        monitor,
        reloading: None,
        ended_badly,
        recovered,
        lock,
    })
}

async fn open(database: &DatabaseSettings) -> Result<(DaemonLock, Queue), QueueError> {
    let lock = DaemonLock::acquire(database).await?;
    let queue = Queue::open(database, Opening::Daemon(&lock)).await?;
    if queue.path() != lock.database() {
        // A link that was led elsewhere in between: the lock is another database's.
        return Err(QueueError::Replaced(database.path.clone()));
    }
    if let Some(kind) = queue.unsafe_filesystem() {
        tracing::warn!(
            "{} lies on a filesystem ({kind}) that another program or the machine's host serves, as \
             database.unsafe_filesystem allows: nothing on the other side may open the queue, and locks hold only if \
             whoever serves it makes them hold",
            queue.path().display(),
        );
    }
    Ok((lock, queue))
}

async fn listen(address: SocketAddr) -> Result<Monitor, StartError> {
    let monitor = Monitor::listen(address).await.map_err(|reason| StartError::Metrics { address, reason })?;
    tracing::info!("metrics are served on http://{}/metrics", monitor.address());
    Ok(monitor)
}

/// The way to the API, by the settings and the environment.
///
/// # Errors
/// When the proxy that is named there can't be used.
pub fn way_to_api(settings: &Settings) -> Result<Route, ProxyError> {
    // What is no text is no URL either, and is to be refused.
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    find_route(&settings.api.proxy, &settings.api.endpoint, &variable)
}

/// The client's part of the settings.
#[must_use]
pub fn client_settings(settings: &Settings, proxy: Option<Proxy>) -> crate::tencent::ClientSettings {
    crate::tencent::ClientSettings {
        endpoint: settings.api.endpoint.clone(),
        proxy,
        commit_action: match settings.api.action {
            ActionName::CommitCertificateInformation => Action::Commit,
            ActionName::CertificateOrderSubmit => Action::OrderSubmit,
        },
        connect_timeout: settings.api.connect_timeout,
        request_timeout: settings.api.request_timeout,
        language: settings.api.language.to_string(),
    }
}

impl Daemon {
    /// A daemon that reloads its configuration when it is asked to.
    #[must_use]
    pub fn reloading(self, reloading: Reloading) -> Self {
        Self { reloading: Some(reloading), ..self }
    }

    /// Where its metrics are served, if they are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.monitor.as_ref().map(Monitor::address)
    }

    /// Runs until it is told to stop, or until nothing is left to do.
    ///
    /// # Errors
    /// When another daemon took the queue over, or its file was replaced; nothing more is sent then. Other errors
    /// of the database are waited out.
    pub async fn run(
        self,
        until: Until,
        stop: watch::Receiver<Stop>,
        progress: watch::Sender<Progress>,
    ) -> Result<Ended, RunError> {
        Worker::new(self, until, stop, progress).run().await
    }
}
