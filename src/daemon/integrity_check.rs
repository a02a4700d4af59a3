//! After a run that ended badly, the database is checked in the background: a check of millions of rows takes minutes, and
//! nothing waits for it.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{JoinError, JoinHandle};

use crate::queue::{Fault, QueueError, inspect};

/// The findings; none if the check was stopped before its end.
pub(super) type Findings = Result<Option<Vec<String>>, QueueError>;

/// A check, if one is under way.
#[derive(Debug, Default)]
pub(super) struct IntegrityCheck {
    task: Option<JoinHandle<Findings>>,
    give_up: Arc<AtomicBool>,
}

impl IntegrityCheck {
    /// Begins to check the database at this path.
    pub(super) fn begin(path: PathBuf) -> Self {
        let give_up = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&give_up);
        Self { task: Some(tokio::spawn(async move { inspect(&path, stop).await })), give_up }
    }

    /// Waits for its end; for ever if none is under way. Cancelling this loses nothing.
    pub(super) async fn done(&mut self) -> Findings {
        let Some(task) = &mut self.task else { return pending().await };
        let findings = task.await;
        self.task = None;
        findings.unwrap_or_else(failed)
    }

    /// Stops it, finished or not.
    pub(super) async fn end(&mut self) -> Result<(), JoinError> {
        self.give_up.store(true, Ordering::Relaxed);
        match self.task.take() {
            Some(task) => task.await.map(drop),
            None => Ok(()),
        }
    }
}

fn failed(error: JoinError) -> Findings {
    Err(QueueError::Failed(Fault { what: Some("checking the database"), detail: error.to_string() }))
}
