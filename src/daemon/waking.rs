//! Being woken by others' changes. Where the log can't be watched, the loop looks for them by itself, a little later.

use std::future::pending;
use std::path::Path;

use super::worker::Worker;
use crate::queue::WalWatcher;

/// What wakes the loop.
#[derive(Debug)]
pub(super) struct Waking(Option<WalWatcher>);

impl Waking {
    pub(super) fn new(database: &Path) -> Self {
        Self(match WalWatcher::on(database) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::info!(
                    "the queue's files can't be watched ({error}); changes are looked for ten times a second"
                );
                None
            }
        })
    }

    /// Waits for a change; for ever, if none can be noticed. Cancelling this loses nothing.
    pub(super) async fn noticed(&mut self) {
        let Some(watch) = &self.0 else { return pending().await };
        if let Err(error) = watch.noticed().await {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &std::io::Error) {
        tracing::warn!(
            "the queue's files can't be watched any more ({error}); changes are looked for ten times a second"
        );
        self.0 = None;
    }
}

impl Worker {
    /// Whether nothing is at hand. While something is, turns come often enough to see what others do.
    pub(super) fn is_idle(&self) -> bool {
        let holds_nothing = self.commits.held().chain(self.reads.held()).next().is_none();
        holds_nothing && self.desk.is_free() && self.trouble.is_none()
    }
}
