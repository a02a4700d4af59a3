//! The start: credentials, the lock and the database, and what the last run left.

use std::io;
use std::net::SocketAddr;

use super::credentials::{CredentialSource, CredentialStore};
use super::live_page::PageServer;
use super::metrics_server::MetricsServer;
use super::reload::Reloading;
use super::restore_check;
use super::systemd::ServiceManager;
use crate::clock;
use crate::config::{ActionName, DatabaseSettings, Settings};
use crate::logging::LogEvent;
use crate::queue::{
    DaemonLock, DepartureMarker, Departures, FileIdentity, Opening, Queue, QueueError, Recovered, RestoreMarker, Run,
    RuntimeDirectories,
};
use crate::tencent::{Action, Client, CredentialsError, InvalidEndpoint, Proxy, ProxyError, Route, find_route};

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

/// A daemon that is ready to run, and hasn't sent anything yet.
#[derive(Debug)]
pub struct Daemon {
    pub(super) settings: Settings,
    pub(super) queue: Queue,
    pub(super) marker: RestoreMarker,
    /// None if there is no place for it.
    pub(super) departures: Option<DepartureMarker>,
    pub(super) run: Run,
    pub(super) client: Client,
    pub(super) credentials: CredentialStore,
    pub(super) service_manager: ServiceManager,
    pub(super) metrics: Option<MetricsServer>,
    pub(super) reloading: Option<Reloading>,
    /// Whether the last run didn't end in good order.
    pub(super) ended_badly: bool,
    pub(super) recovered: Recovered,
    /// Held until the daemon ends.
    pub(super) lock: DaemonLock,
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
        self.metrics.as_ref().map(MetricsServer::address)
    }

    /// Where a browser on this machine finds the page about the queue, if it is served there.
    #[must_use]
    pub fn page_address(&self) -> Option<String> {
        self.metrics.as_ref()?.page_address()
    }
}

/// Prepares a run: takes the lock, opens and migrates the database, and settles what the last run left. If the source of the
/// credentials doesn't respond, the run waits for it. `runtime` is where the departure markers are.
///
/// # Errors
/// See [`StartError`].
pub async fn start(
    settings: Settings,
    source: CredentialSource,
    runtime: &RuntimeDirectories,
) -> Result<Daemon, StartError> {
    let credentials = CredentialStore::obtain(source).await?;
    let route = api_route(&settings)?;
    let client = Client::new(client_settings(&settings, route.clone().proxy()))?;
    let service_manager = ServiceManager::of_environment();
    let metrics = match settings.metrics.listen {
        Some(address) => Some(listen(address, &settings).await?),
        None => None,
    };
    let (lock, mut queue) = open(&settings.database).await?;
    let path = queue.path().to_owned();
    let mut marker = RestoreMarker::open(&path)?;
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
    if let Route::Through(_) = &route {
        tracing::info!("requests go through the proxy {route}");
    }
    if !credentials.is_empty() {
        tracing::info!("the credentials come from {}", credentials.describe(clock::now().instant));
    }
    let last = queue.last_run().await?;
    let departures = runtime.departures(queue.files());
    let may_be_restored = restore_check::check(&mut queue, &mut marker, &departures, last, clock::now().unix).await?;
    let ended_badly = last.is_some_and(|last| !last.in_good_order);
    queue.begin_run(&run).await?;
    // The file may have another history than the marker.
    let departures = if may_be_restored { Departures::default() } else { departures };
    let recovered = queue.recover(&run, clock::now(), &[], &departures, &settings.policy()).await?;
    if recovered.never_sent > 0 {
        tracing::info!(
            count = recovered.never_sent,
            "{} submissions were claimed and never sent when the last run ended; they are pending again",
            recovered.never_sent,
        );
    }
    if recovered.in_doubt > 0 {
        let when = if may_be_restored { "when this copy was made" } else { "when the last run ended" };
        tracing::warn!(
            event = LogEvent::InDoubt.as_str(),
            count = recovered.in_doubt,
            "{} submissions were in flight {when}; they are in doubt and are read back before anything else",
            recovered.in_doubt,
        );
    }
    let departures = create_marker(runtime, queue.files(), &run);
    // The clock of the last run, or of the program that enqueued, may have been ahead.
    queue.follow_clock(clock::now()).await?;
    queue.shorten_busy_timeout().await?;
    Ok(Daemon {
        settings,
        queue,
        marker,
        departures,
        run,
        client,
        credentials,
        service_manager,
        metrics,
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
        // A link was changed in between: the lock belongs to another database.
        return Err(QueueError::Replaced(database.path.clone()));
    }
    if let Some(kind) = queue.unsafe_filesystem() {
        tracing::warn!(
            "{} is on a filesystem ({kind}) that another program or the machine's host serves, as \
             database.unsafe_filesystem allows: nothing on the other side may open the queue, and locks hold only if \
             whoever serves it makes them hold",
            queue.path().display(),
        );
    }
    Ok((lock, queue))
}

/// Starts the marker of this run. Without it, the daemon works as well, and a crash costs more readbacks.
fn create_marker(runtime: &RuntimeDirectories, database: &FileIdentity, run: &Run) -> Option<DepartureMarker> {
    match runtime.create(database, &run.id) {
        Ok(marker) => {
            tracing::debug!("the departure marker is {}", marker.path().display());
            Some(marker)
        }
        Err(error) => {
            tracing::info!(
                "no directory in memory is fit for the departure marker ({error}), so after a crash, everything that was \
                 claimed is read back before it is sent"
            );
            None
        }
    }
}

async fn listen(address: SocketAddr, settings: &Settings) -> Result<MetricsServer, StartError> {
    let page = PageServer::new(settings.metrics.page, settings.database.clone(), settings.rate.per_second);
    let listening = MetricsServer::listen(address, page).await;
    let metrics = listening.map_err(|reason| StartError::Metrics { address, reason })?;
    let page = metrics.page_address().map(|page| format!(", and a page about the queue on {page}"));
    tracing::info!("metrics are served on http://{}/metrics{}", metrics.address(), page.unwrap_or_default());
    Ok(metrics)
}

/// The route to the API, from the settings and the environment.
///
/// # Errors
/// When the proxy that is named there can't be used.
pub fn api_route(settings: &Settings) -> Result<Route, ProxyError> {
    // A value that isn't text becomes an invalid URL, which is refused.
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    find_route(&settings.api.proxy, &settings.api.endpoint, &variable)
}

/// The settings of the client.
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
