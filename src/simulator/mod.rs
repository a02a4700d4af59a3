//! A stand-in for Tencent Cloud's SSL API, in process, for the `demo` command and the tests.
//!
//! It speaks HTTP/1.1 on loopback, checks signatures, counts rates as the server does, keeps each
//! certificate's status and order, misbehaves on demand, and remembers every arrival. Without a script it
//! behaves well. It is no model of what the documentation leaves open: what a repeated commit gets, or when a
//! status moves on by itself. Nothing of the daemon imports it.

mod arrivals;
mod certificate;
mod fault;
mod metadata;
mod reply;
mod request;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod traffic;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use arrivals::{Arrival, per_second, rate, worst_second};
pub use fault::{Fault, Mixture, ReadFault};
pub use metadata::MetadataService;

use server::{Listener, Shared};
use state::State;

/// How the stand-in behaves from the start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// From the arrival of a request to its answer.
    pub latency: Duration,
    /// Up to this much is added to the latency, evenly distributed.
    pub jitter: Duration,
    /// Commits in any second, for each action. The others get `RequestLimitExceeded` and don't count.
    pub rate_limit: Option<u32>,
    /// Reads in any second.
    pub read_rate_limit: Option<u32>,
    /// The secret ID that it accepts.
    pub secret_id: String,
    /// The secret key that it accepts.
    pub secret_key: String,
    /// Whether a certificate that it wasn't told of is not found, rather than free and not yet committed.
    pub strict: bool,
    /// Decides jitter and random faults.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            rate_limit: Some(20),
            read_rate_limit: Some(10),
            secret_id: "simulated-id".to_owned(),
            secret_key: "simulated-key".to_owned(),
            strict: false,
            seed: 0,
        }
    }
}

/// The running stand-in. Dropping it closes its socket and its connections.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Mutex<Option<Listener>>,
}

impl Simulator {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(State::new(&options)));
        let (listener, address) = Listener::bind(options.listen, Arc::clone(&shared)).await?;
        Ok(Self { shared, address, listener: Mutex::new(Some(listener)) })
    }

    /// The endpoint, such as `http://127.0.0.1:34567`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The secret ID and key that it accepts.
    #[must_use]
    pub fn credentials(&self) -> (String, String) {
        let account = self.shared.state().account.clone();
        (account.secret_id, account.secret_key)
    }

    /// Closes the socket and all connections, and keeps the state: from now on, connections are refused.
    pub async fn pause_listening(&self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = listener {
            listener.close().await;
        }
    }

    /// Listens again, at the same endpoint. Does nothing if it is listening.
    ///
    /// # Errors
    /// When the address was taken in the meantime.
    pub async fn resume_listening(&self) -> io::Result<()> {
        if self.listener.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            let (listener, _) = Listener::bind(self.address, Arc::clone(&self.shared)).await?;
            *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
        }
        Ok(())
    }

    /// Closes the socket and all connections for good.
    pub async fn stop(self) {
        self.pause_listening().await;
    }

    /// Accepts these credentials from now on, and no others.
    pub fn set_credentials(&self, secret_id: &str, secret_key: &str) {
        let mut state = self.shared.state();
        state.account.secret_id = secret_id.to_owned();
        state.account.secret_key = secret_key.to_owned();
    }

    /// Changes latency and jitter.
    pub fn set_latency(&self, latency: Duration, jitter: Duration) {
        let mut state = self.shared.state();
        state.latency = latency;
        state.jitter = jitter;
    }

    /// Changes the limit of commits.
    pub fn set_rate_limit(&self, limit: Option<u32>) {
        self.shared.state().rate_limit = limit;
    }

    /// Changes the limit of reads.
    pub fn set_read_rate_limit(&self, limit: Option<u32>) {
        self.shared.state().read_rate_limit = limit;
    }

    /// Answers every request with this error code, until it is cleared with `None`.
    pub fn outage(&self, code: Option<&str>) {
        self.shared.state().outage = code.map(str::to_owned);
    }

    /// Mixes random faults into the commits of certificates without a script.
    pub fn mixture(&self, mixture: Mixture) {
        self.shared.state().mixture = mixture;
    }

    /// Sets what the service knows about a certificate. The count of its orders stays.
    pub fn set_certificate(&self, id: &str, status: i64, order_id: Option<&str>) {
        let mut state = self.shared.state();
        let certificate = state.certificates.entry(id.to_owned()).or_default();
        certificate.status = status;
        certificate.order_id = order_id.map(str::to_owned);
    }

    /// The next commits of this certificate meet these faults, one each, after those scripted before.
    pub fn script_commits(&self, id: &str, faults: Vec<Fault>) {
        self.shared.state().commit_scripts.entry(id.to_owned()).or_default().append(faults);
    }

    /// Every commit of this certificate meets this fault, once those scripted one by one are used up.
    pub fn script_commits_forever(&self, id: &str, fault: Fault) {
        self.shared.state().commit_scripts.entry(id.to_owned()).or_default().forever(fault);
    }

    /// The next reads of this certificate go like this, one each, after those scripted before.
    pub fn script_reads(&self, id: &str, faults: Vec<ReadFault>) {
        self.shared.state().read_scripts.entry(id.to_owned()).or_default().append(faults);
    }

    /// Every read of this certificate goes like this, once those scripted one by one are used up.
    pub fn script_reads_forever(&self, id: &str, fault: ReadFault) {
        self.shared.state().read_scripts.entry(id.to_owned()).or_default().forever(fault);
    }

    /// Forgets what was scripted for this certificate.
    pub fn clear_scripts(&self, id: &str) {
        let mut state = self.shared.state();
        state.commit_scripts.remove(id);
        state.read_scripts.remove(id);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.forget_late_orders();
    }
}
