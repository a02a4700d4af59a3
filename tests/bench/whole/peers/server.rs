//! The simulator in a thread of its own, so that the measurement doesn't delay it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{Options, Simulator};
use tokio::sync::oneshot;

use super::CAP;

const TICK: Duration = Duration::from_millis(5);

/// A running simulator.
pub(super) struct Server {
    pub(super) simulator: Arc<Simulator>,
    late: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A simulator that refuses requests over the cap, as the real API does.
    pub(super) fn start(latency: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (started, simulator) = std::sync::mpsc::channel();
        let late = Arc::new(AtomicU64::new(0));
        let lateness = Arc::clone(&late);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let options = Options { latency, rate_limit: Some(CAP), ..Options::default() };
                started.send(Arc::new(Simulator::start(options).await.unwrap())).unwrap();
                tokio::select! {
                    _ = stopped => {}
                    () = watch_lateness(&lateness) => {}
                }
            });
        });
        Self { simulator: simulator.recv().unwrap(), late, stop: Some(stop), thread: Some(thread) }
    }

    /// The longest delay of the simulator so far. Requests that arrive meanwhile are seen late and all at once, so figures are
    /// meaningful only if this is far below a second.
    pub(super) fn longest_hold_up(&self) -> Duration {
        Duration::from_micros(self.late.load(Ordering::Relaxed))
    }

    /// Waits until this many orders are placed, or until nothing has arrived for this long.
    pub(super) async fn until_orders(&self, orders: usize, quiet: Duration) {
        let mut seen = 0;
        while self.simulator.orders() < orders {
            let more = self.simulator.until(|simulator| simulator.arrivals().len() > seen);
            if tokio::time::timeout(quiet, more).await.is_err() {
                return;
            }
            seen = self.simulator.arrivals().len();
        }
    }
}

/// Wakes up often in the simulator's thread, and records the greatest lateness.
async fn watch_lateness(longest: &AtomicU64) {
    loop {
        let due = clock::now().instant + TICK;
        tokio::time::sleep_until(due).await;
        let late = clock::now().instant - due;
        longest.fetch_max(u64::try_from(late.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap_or_default();
    }
}
