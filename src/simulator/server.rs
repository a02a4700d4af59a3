//! The running simulator, and how to change its behavior.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{self, Shared};
use super::fault::{Fault, Mixture, ReadFault};
use super::issuance::Issuance;
use super::options::Options;
use super::service::Service;
use super::socket::Socket;

/// The running simulator. Dropping it closes its socket and its connections.
pub struct Simulator {
    pub(super) shared: Arc<Shared>,
    socket: Socket,
}

impl Simulator {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let address = options.listen;
        let shared = Arc::new(Shared::new(Service::new(options)));
        let served = Arc::clone(&shared);
        let socket = Socket::bind(address, move |stream| connection::serve(stream, Arc::clone(&served))).await?;
        Ok(Self { shared, socket })
    }

    /// The endpoint, such as `http://127.0.0.1:34567`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.socket.address())
    }

    /// The secret ID and the secret key that it accepts.
    #[must_use]
    pub fn credentials(&self) -> (String, String) {
        let account = self.shared.service().account.clone();
        (account.secret_id, account.secret_key)
    }

    /// Closes the socket and all connections, and keeps the state: from now on, connections are refused.
    pub async fn pause_listening(&self) {
        self.socket.close().await;
    }

    /// Listens again, at the same endpoint. Does nothing if it is listening.
    ///
    /// # Errors
    /// When the address was taken in the meantime.
    pub async fn resume_listening(&self) -> io::Result<()> {
        self.socket.reopen().await
    }

    /// Closes the socket and all connections for good.
    pub async fn stop(self) {
        self.pause_listening().await;
    }

    /// Accepts these credentials from now on, and no others.
    pub fn set_credentials(&self, secret_id: &str, secret_key: &str) {
        let mut service = self.shared.service();
        service.account.secret_id = secret_id.to_owned();
        service.account.secret_key = secret_key.to_owned();
    }

    /// Changes latency and jitter.
    pub fn set_latency(&self, latency: Duration, jitter: Duration) {
        let mut service = self.shared.service();
        service.options.latency = latency;
        service.options.jitter = jitter;
    }

    /// Changes the limit of commits.
    pub fn set_rate_limit(&self, limit: Option<u32>) {
        self.shared.service().options.rate_limit = limit;
    }

    /// Changes the limit of reads.
    pub fn set_read_rate_limit(&self, limit: Option<u32>) {
        self.shared.service().options.read_rate_limit = limit;
    }

    /// Answers every request with this error code, until it is cleared with `None`.
    pub fn outage(&self, code: Option<&str>) {
        self.shared.service().outage = code.map(str::to_owned);
    }

    /// Adds random faults to the commits of certificates without a script.
    pub fn mixture(&self, mixture: Mixture) {
        self.shared.service().mixture = mixture;
    }

    /// Lets a CA decide about the orders on a schedule.
    pub fn issue(&self, issuance: Issuance) {
        self.shared.service().issuance = Some(issuance);
    }

    /// Sets the status and the order of a certificate. The count of its orders stays.
    pub fn set_certificate(&self, id: &str, status: i64, order_id: Option<&str>) {
        let mut service = self.shared.service();
        let certificate = service.certificates.entry(id.to_owned()).or_default();
        certificate.status = status;
        certificate.order_id = order_id.map(str::to_owned);
        certificate.ordered_at = None;
    }

    /// Scripts the next commits of a certificate, one fault each, after those scripted before.
    pub fn script_commits(&self, id: &str, faults: Vec<Fault>) {
        self.shared.service().commit_scripts.entry(id.to_owned()).or_default().append(faults);
    }

    /// Scripts every commit of a certificate after those scripted one by one.
    pub fn script_commits_forever(&self, id: &str, fault: Fault) {
        self.shared.service().commit_scripts.entry(id.to_owned()).or_default().forever(fault);
    }

    /// Scripts the next reads of a certificate, one fault each, after those scripted before.
    pub fn script_reads(&self, id: &str, faults: Vec<ReadFault>) {
        self.shared.service().read_scripts.entry(id.to_owned()).or_default().append(faults);
    }

    /// Scripts every read of a certificate after those scripted one by one.
    pub fn script_reads_forever(&self, id: &str, fault: ReadFault) {
        self.shared.service().read_scripts.entry(id.to_owned()).or_default().forever(fault);
    }

    /// Answers with this error code whenever the status of this certificate is asked for together with others or alone.
    pub fn refuse_lists_with(&self, id: &str, code: &str) {
        self.shared.service().unlistable = Some((id.to_owned(), code.to_owned()));
    }

    /// Removes the scripts of a certificate.
    pub fn clear_scripts(&self, id: &str) {
        let mut service = self.shared.service();
        service.commit_scripts.remove(id);
        service.read_scripts.remove(id);
    }
}
