//! What is done for the database beside the work.

use tokio::time::Instant;

use super::inspection::Inspection;
use super::pruning::Pruning;
use crate::config::Settings;

/// Pruning, and the check after a run that ended badly.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) pruning: Pruning,
    pub(super) inspection: Inspection,
}

impl Upkeep {
    pub(super) fn new(settings: &Settings, ended_badly: bool, now: Instant) -> Self {
        let path = settings.database.path.clone();
        Self {
            pruning: Pruning::new(settings.retention.requests, now),
            inspection: if ended_badly { Inspection::begin(path) } else { Inspection::default() },
        }
    }
}
