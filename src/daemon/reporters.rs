//! The reporters: the service manager, the progress bar and the metrics. The event loop updates them in each round.

use tokio::sync::watch;
use tokio::time::Instant;

use super::Progress;
use super::following::FollowReport;
use super::metrics_server::MetricsServer;
use super::status_snapshot::StatusSnapshot;
use super::systemd::ServiceManager;
use crate::clock::Now;
use crate::queue::Completed;

/// The reporters.
pub(super) struct Reporters {
    service_manager: ServiceManager,
    progress: watch::Sender<Progress>,
    metrics: Option<MetricsServer>,
}

impl Reporters {
    pub(super) fn new(
        service_manager: ServiceManager,
        progress: watch::Sender<Progress>,
        metrics: Option<MetricsServer>,
    ) -> Self {
        Self { service_manager, progress, metrics }
    }

    /// The daemon starts work, or has reloaded its configuration.
    pub(super) fn ready(&mut self) {
        self.service_manager.ready();
    }

    /// The daemon reads its configuration again; [`ready`](Self::ready) follows.
    pub(super) fn reloading(&mut self) {
        self.service_manager.reloading();
    }

    /// The daemon is stopping.
    pub(super) fn stopping(&mut self) {
        self.service_manager.stopping();
    }

    /// One round of the event loop, which alone calls this: the watchdog must notice a loop that hangs.
    pub(super) fn publish(&mut self, snapshot: StatusSnapshot<'_>, now: Now) {
        self.service_manager.publish(snapshot, now.instant);
        if let Some(metrics) = &mut self.metrics {
            metrics.publish(snapshot, now);
        }
    }

    /// When the watchdog needs the next round.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        self.service_manager.next_wakeup()
    }

    /// A batch found this progress.
    pub(super) fn progressed(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    /// The orders were counted, or looked at.
    pub(super) fn followed(&self, report: &FollowReport) {
        if let Some(metrics) = &self.metrics {
            metrics.followed(report);
        }
    }

    /// A request ended.
    pub(super) fn request_ended(&self, completed: &Completed) {
        if let Some(metrics) = &self.metrics {
            metrics.request_ended(completed);
        }
    }
}
