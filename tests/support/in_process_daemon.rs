//! A daemon in the test's own process.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use certcommit::cause::Cause;
use certcommit::config::Settings;
use certcommit::daemon::{self, CredentialSource, Daemon, Ended, Progress, Stop, Until};
use certcommit::queue::{QueueError, RuntimeDirectories};
use certcommit::submission::State;
use certcommit::tencent::Credentials;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Bench;

/// How long a test waits at most.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Waits for a future, and panics after [`TIMEOUT`].
pub(crate) async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    within(TIMEOUT, what, wait).await
}

/// Waits for a future, and panics after this long.
pub(crate) async fn within<T>(timeout: Duration, what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(timeout, wait).await {
        Ok(done) => done,
        Err(_) => panic!("waited {timeout:?} for {what}"),
    }
}

/// A daemon that runs until it is stopped.
pub(crate) struct Running {
    stop: watch::Sender<Stop>,
    progress: watch::Receiver<Progress>,
    metrics: Option<SocketAddr>,
    task: JoinHandle<Result<Ended, QueueError>>,
}

impl Bench {
    fn credentials(&self) -> CredentialSource {
        let (secret_id, secret_key) = self.simulator.credentials();
        CredentialSource::of(Credentials { secret_id, secret_key: secret_key.into(), token: None })
    }

    async fn daemon(&self) -> Daemon {
        self.daemon_with(self.credentials()).await
    }

    /// A daemon with this source of credentials.
    async fn daemon_with(&self, source: CredentialSource) -> Daemon {
        daemon::start(self.load_settings(), source, &RuntimeDirectories::default()).await.unwrap()
    }

    /// Starts a daemon.
    pub(crate) async fn start(&self) -> Running {
        Self::running(self.daemon().await)
    }

    /// Starts a daemon with this source of credentials.
    pub(crate) async fn start_with(&self, source: CredentialSource) -> Running {
        Self::running(self.daemon_with(source).await)
    }

    fn running(daemon: Daemon) -> Running {
        let (stop, stop_requests) = watch::channel(Stop::No);
        let (progress_sender, progress) = watch::channel(Progress::default());
        let metrics = daemon.metrics_address();
        Running {
            stop,
            progress,
            metrics,
            task: tokio::spawn(daemon.run(Until::Stopped, stop_requests, progress_sender)),
        }
    }

    /// Runs a daemon until nothing is left to do.
    pub(crate) async fn run_until_empty(&self) -> Ended {
        self.run_until_empty_with(|_| {}).await
    }

    /// Runs a daemon until nothing is left to do, with settings that a configuration file couldn't have.
    pub(crate) async fn run_until_empty_with(&self, change: impl FnOnce(&mut Settings)) -> Ended {
        let mut settings = self.load_settings();
        change(&mut settings);
        let daemon = daemon::start(settings, self.credentials(), &RuntimeDirectories::default()).await.unwrap();
        let (_stop, stop_requests) = watch::channel(Stop::No);
        let (progress_sender, _progress) = watch::channel(Progress::default());
        in_time("the end of the queue", daemon.run(Until::Empty, stop_requests, progress_sender)).await.unwrap()
    }
}

impl Running {
    /// Where its metrics are served.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics.expect("metrics.listen is set")
    }

    /// Waits until the daemon's progress meets the condition.
    pub(crate) async fn until(&mut self, what: &str, condition: impl FnMut(&Progress) -> bool) -> Progress {
        in_time(what, self.progress.wait_for(condition)).await.expect("the daemon runs").clone()
    }

    /// Waits until this many rows are in this state.
    pub(crate) async fn until_count(&mut self, state: State, count: i64) {
        self.until(&format!("{count} {state}"), |progress| progress.counts.of(state) == count).await;
    }

    /// Waits until the queue is paused, and returns the cause.
    pub(crate) async fn until_paused(&mut self) -> Cause {
        self.until("a pause", |progress| progress.paused.is_some()).await.paused.expect("the queue is paused").cause
    }

    /// Asks the daemon to stop.
    pub(crate) fn request_stop(&self, stop: Stop) {
        self.stop.send_replace(stop);
    }

    /// Stops the daemon, and waits for its end.
    pub(crate) async fn stop(self, stop: Stop) -> Ended {
        self.request_stop(stop);
        in_time("the daemon's end", self.task).await.unwrap().unwrap()
    }
}
