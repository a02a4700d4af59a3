//! What is done for the database beside the work.

use std::path::PathBuf;

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
    /// With a check of the database at this path, if one is needed.
    pub(super) fn new(settings: &Settings, to_inspect: Option<PathBuf>, now: Instant) -> Self {
        Self {
            pruning: Pruning::new(settings.retention.requests, now),
            inspection: to_inspect.map(Inspection::begin).unwrap_or_default(),
        }
    }
}
