//! The lines that `certcommit check` prints: a label, and what was found.

use std::fmt::Display;
use std::io::{self, StdoutLock, Write as _};

use crate::escaping::printable;

/// The column where the text begins.
const LABEL_WIDTH: usize = 15;
/// Longer lines are truncated. Paths and stored texts in them can contain anything.
const MAX_CHARS: usize = 4096;

pub(super) struct Report(StdoutLock<'static>);

impl Report {
    pub(super) fn new() -> Self {
        Self(io::stdout().lock())
    }

    /// Prints a line; one without a label continues the line before.
    pub(super) fn line(&mut self, label: &str, text: impl Display) -> io::Result<()> {
        writeln!(self.0, "{label:LABEL_WIDTH$}{}", printable(&text.to_string(), MAX_CHARS))
    }
}
