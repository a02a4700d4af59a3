//! A daemon that is ready to run.

use std::net::SocketAddr;

use super::credentials::CredentialStore;
use super::metrics_server::MetricsServer;
use super::reload::Reloading;
use super::systemd::ServiceManager;
use crate::config::Settings;
use crate::queue::{DaemonLock, Queue, Recovered, RestoreMarker, Run};
use crate::tencent::Client;

/// A daemon that is ready to run, and hasn't sent anything yet.
#[derive(Debug)]
pub struct Daemon {
    pub(super) settings: Settings,
    pub(super) queue: Queue,
    pub(super) marker: RestoreMarker,
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
}
