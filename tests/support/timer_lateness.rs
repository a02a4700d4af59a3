//! How late this machine's timers are. The rate limit is promised only while delays vary by less than `rate.guard`, and a busy
//! machine adds to that.

use std::time::Duration;

use certcommit::clock;
use tokio::sync::watch;
use tokio::time::sleep_until;

/// Measures the greatest lateness of the current runtime's timers from now on.
pub(crate) fn lateness() -> watch::Receiver<Duration> {
    const TICK: Duration = Duration::from_millis(5);
    let (sender, lateness) = watch::channel(Duration::ZERO);
    tokio::spawn(async move {
        while !sender.is_closed() {
            let due = clock::now().instant + TICK;
            sleep_until(due).await;
            let late = clock::now().instant.duration_since(due);
            sender.send_if_modified(|worst| std::mem::replace(worst, late.max(*worst)) < late);
        }
    });
    lateness
}
