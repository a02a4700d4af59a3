//! How much of the file has been read.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error for a file of so many bytes. Nothing is drawn if that isn't a terminal.
pub(super) fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {elapsed}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
