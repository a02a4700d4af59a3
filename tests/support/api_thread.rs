//! A runtime with one thread of its own.

use std::future::Future;

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// The thread. What runs in it ends with this.
pub(super) struct ApiThread(Option<Runtime>);

impl ApiThread {
    pub(super) fn start() -> Self {
        Self(Some(Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()))
    }

    /// Runs something there, to its end.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime().spawn(work).await.unwrap()
    }

    /// While the guard lives, tasks and sockets are made there.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime().enter()
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until the end")
    }
}

impl Drop for ApiThread {
    /// A runtime that is dropped waits for its thread, which an asynchronous test may not.
    fn drop(&mut self) {
        self.0.take().map(Runtime::shutdown_background).unwrap_or_default();
    }
}
