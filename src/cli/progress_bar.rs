//! The progress bar of `run --until-empty` and `demo`.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use crate::daemon::Progress;
use crate::submission::State;

/// A bar on standard error. Nothing is drawn if that isn't a terminal.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Shows the progress until the daemon stops.
    pub(super) async fn follow(self, mut progress: watch::Receiver<Progress>) {
        while progress.changed().await.is_ok() {
            let now = progress.borrow_and_update().clone();
            self.show(&now);
        }
        self.0.finish_and_clear();
    }

    fn show(&self, progress: &Progress) {
        let count = |state| u64::try_from(progress.counts.of(state)).unwrap_or(0);
        let total: u64 = State::ALL.into_iter().map(count).sum();
        let open: u64 = State::ALL.into_iter().filter(|state| state.is_open()).map(count).sum();
        self.0.set_length(total);
        self.0.set_position(total - open);
        let (in_doubt, failed, held) = (count(State::InDoubt), count(State::Failed), count(State::Held));
        let paused =
            progress.paused.as_ref().map(|incident| format!("; paused: {}", incident.cause)).unwrap_or_default();
        self.0.set_message(format!("{in_doubt} in doubt, {failed} failed, {held} held{paused}"));
    }
}
