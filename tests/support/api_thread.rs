//! A runtime on its own thread, for the simulator.

use std::future::Future;

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// The thread. Dropping it stops all its tasks.
pub(super) struct ApiThread(Option<Runtime>);

impl ApiThread {
    pub(super) fn start() -> Self {
        Self(Some(Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()))
    }

    /// Runs a future on the thread to completion.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime().spawn(work).await.unwrap()
    }

    /// Tasks and sockets that are created while the guard exists belong to the thread.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime().enter()
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("the runtime exists until it is dropped")
    }
}

impl Drop for ApiThread {
    /// Dropping a runtime waits for its thread, which isn't allowed in an asynchronous test.
    fn drop(&mut self) {
        self.0.take().map(Runtime::shutdown_background).unwrap_or_default();
    }
}
