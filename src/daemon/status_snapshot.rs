//! A snapshot of what the daemon is doing, for its reporters.

use crate::cause::Incident;
use crate::queue::{Counts, Mode, Paces};

/// A snapshot of one round of the event loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatusSnapshot<'a> {
    /// Submissions by state.
    pub(super) counts: &'a Counts,
    /// Its mode.
    pub(super) mode: Mode,
    /// What stops commits or readbacks, the first to act on first.
    pub(super) incidents: &'a [Incident],
    /// Why the database doesn't work, during an outage.
    pub(super) outage: Option<&'a Incident>,
    /// The present pace, in requests a second.
    pub(super) paces: Paces,
    /// The most commits a second.
    pub(super) cap: u32,
    /// When the next submission is due, in unix seconds.
    pub(super) next_due: Option<i64>,
}
