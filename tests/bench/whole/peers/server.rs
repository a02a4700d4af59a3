//! The stand-in, in a thread of its own: what it does doesn't wait for what measures.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use certcommit::simulator::{Options, Simulator};
use tokio::sync::oneshot;

use super::CAP;

/// A running stand-in.
pub(super) struct Server {
    pub(super) simulator: Arc<Simulator>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One that throttles what is over the cap, as the real one does.
    pub(super) fn start(latency: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (started, simulator) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let options = Options { latency, rate_limit: Some(CAP), ..Options::default() };
                started.send(Arc::new(Simulator::start(options).await.unwrap())).unwrap();
                stopped.await.unwrap_or_default();
            });
        });
        Self { simulator: simulator.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until so many orders stand, or until nothing has arrived for this long.
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

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap_or_default();
    }
}
