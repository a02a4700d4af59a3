//! A snapshot of what the daemon is doing, for its reporters.

use crate::cause::Cause;
use crate::queue::{Counts, Mode, Paces};

/// A snapshot of one round of the event loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatusSnapshot<'a> {
    /// Submissions by state.
    pub(super) counts: &'a Counts,
    /// Its mode.
    pub(super) mode: Mode,
    /// Why commits or readbacks are paused, if they are.
    pub(super) cause: Option<&'a Cause>,
    /// Why the database doesn't work, during an outage.
    pub(super) outage: Option<&'a Cause>,
    /// The present pace, in requests a second.
    pub(super) paces: Paces,
    /// The most commits a second.
    pub(super) cap: u32,
    /// When the next submission is due, in unix seconds.
    pub(super) next_due: Option<i64>,
}
