//! How late this machine is: the limit is promised while delays vary by less than `rate.guard`, and a busy machine
//! makes them vary, too.

use std::time::Duration;

use certcommit::clock;
use tokio::sync::watch;
use tokio::time::sleep_until;

/// By how much the timers of the current runtime were late at most, from now on.
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
