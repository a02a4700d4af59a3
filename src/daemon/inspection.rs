//! After a run that ended badly, the database is checked beside the work: a check of millions of rows takes minutes,
//! and what is due doesn't wait for it.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{JoinError, JoinHandle};

use super::worker::Worker;
use crate::logging::LogEvent;
use crate::queue::{Fault, QueueError, inspect};

type Findings = Result<Option<Vec<String>>, QueueError>;

/// A check that may be under way.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    task: Option<JoinHandle<Findings>>,
    give_up: Arc<AtomicBool>,
}

impl Inspection {
    /// Begins to check the database at this path.
    pub(super) fn begin(path: PathBuf) -> Self {
        let give_up = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&give_up);
        Self { task: Some(tokio::spawn(async move { inspect(&path, told).await })), give_up }
    }

    /// Waits for its end; for ever, if none is under way. Cancelling this loses nothing.
    async fn done(&mut self) -> Result<Findings, JoinError> {
        let Some(task) = &mut self.task else { return pending().await };
        let findings = task.await;
        self.task = None;
        findings
    }

    /// Ends it, whether it is through or not.
    async fn end(&mut self) -> Result<(), JoinError> {
        self.give_up.store(true, Ordering::Relaxed);
        match self.task.take() {
            Some(task) => task.await.map(drop),
            None => Ok(()),
        }
    }
}

impl Worker {
    pub(super) async fn inspected(inspection: &mut Inspection) -> Findings {
        inspection.done().await.unwrap_or_else(failed)
    }

    /// A database that is damaged is not worked on any further.
    pub(super) fn after_inspection(&mut self, findings: Findings) {
        match findings {
            Ok(None) => {}
            Ok(Some(findings)) if findings.is_empty() => {
                tracing::info!("the last run did not end in good order; the database was checked, and is whole");
            }
            Ok(Some(findings)) => {
                let path = self.place.database().to_owned();
                let error = QueueError::Corrupt { path, detail: findings.join("; ") };
                tracing::error!(event = LogEvent::DatabaseUnavailable.as_str(), "{}", error.with_remedy());
                self.exit.fatal.get_or_insert(error);
            }
            Err(error) => tracing::warn!(
                "the last run did not end in good order, and the database could not be checked: {error}. Check it with: \
                 certcommit check --integrity"
            ),
        }
    }

    /// Its connection must not keep the last checkpoint from being made.
    pub(super) async fn end_inspection(&mut self) {
        if let Err(error) = self.upkeep.inspection.end().await {
            tracing::warn!("the check of the database ended by itself: {error}");
        }
    }
}

fn failed(error: JoinError) -> Findings {
    Err(QueueError::Failed(Fault { what: Some("checking the database"), detail: error.to_string() }))
}
