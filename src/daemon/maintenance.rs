//! Maintenance of the database in the background: the check after a run that ended badly, and the pruning of old requests.

use std::path::PathBuf;

use tokio::time::Instant;

use super::integrity_check::{Findings, IntegrityCheck};
use super::pruning::Pruning;
use crate::clock::Now;
use crate::config::{Days, Settings};
use crate::logging::LogEvent;
use crate::queue::{PruneStep, Pruned, QueueError};

/// The check and the pruning.
#[derive(Debug)]
pub(super) struct Maintenance {
    database: PathBuf,
    check: IntegrityCheck,
    pruning: Pruning,
}

impl Maintenance {
    /// Maintenance of the database at this path; it is checked if the last run ended badly.
    pub(super) fn new(settings: &Settings, database: PathBuf, ended_badly: bool, now: Instant) -> Self {
        let check = if ended_badly { IntegrityCheck::begin(database.clone()) } else { IntegrityCheck::default() };
        Self { database, check, pruning: Pruning::new(settings.retention.requests.map(Days::duration), now) }
    }

    /// Applies other settings.
    pub(super) fn set(&mut self, settings: &Settings, now: Instant) {
        self.pruning.set(settings.retention.requests.map(Days::duration), now);
    }

    /// The step of pruning that is due, if one is.
    pub(super) fn due(&self, now: Now) -> Option<PruneStep> {
        self.pruning.due(now)
    }

    /// A step of pruning was done.
    pub(super) fn pruned(&mut self, pruned: Pruned, now: Instant) {
        self.pruning.after(pruned, now);
    }

    /// Waits for the end of the check; for ever if none is under way. Cancelling this loses nothing.
    pub(super) async fn checked(&mut self) -> Findings {
        self.check.done().await
    }

    /// Logs what the check found, and returns the error that ends the run if the database is damaged.
    pub(super) fn judge(&self, findings: Findings) -> Option<QueueError> {
        match findings {
            Ok(None) => None,
            Ok(Some(findings)) if findings.is_empty() => {
                tracing::info!("the last run did not end in good order; the database was checked, and is intact");
                None
            }
            Ok(Some(findings)) => {
                let error = QueueError::Corrupt { path: self.database.clone(), detail: findings.join("; ") };
                tracing::error!(
                    event = LogEvent::DatabaseUnavailable.as_str(),
                    cause = error.code(),
                    "{}",
                    error.with_remedy()
                );
                Some(error)
            }
            Err(error) => {
                tracing::warn!(
                    "the last run did not end in good order, and the database could not be checked: {error}. Check it \
                     with: certcommit check --integrity"
                );
                None
            }
        }
    }

    /// Stops the check, finished or not: its connection must not prevent the last checkpoint.
    pub(super) async fn end(&mut self) {
        if let Err(error) = self.check.end().await {
            tracing::warn!("the check of the database failed: {error}");
        }
    }
}
