//! The connections. HTTP/1.1 tells answers apart by their order alone: when something on the way sends one twice, the
//! second copy looks like the answer to the next request on that connection, and each one after it like the answer to the
//! request after its own.
//!
//! So a connection is lent to one request at a time, and comes back only when its answer is known to be this request's, as
//! far as it can be known: no request ever waits for a connection on which an answer is still to be judged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::client::{InvalidEndpoint, Settings};
use super::failure::describe;
use super::proxy::failure::Asking;
use super::reply_dedup::{Answers, Origin};
use super::trust_roots;
use crate::clock;

/// Below the server's idle timeout of about 60 s, so that it doesn't close a connection under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// The connections to one endpoint.
#[derive(Debug)]
pub(super) struct Connections {
    settings: Settings,
    tls: rustls::ClientConfig,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Those that are lent to nobody, the one that was used last at the end.
    idle: VecDeque<Connection>,
    answers: Answers,
    /// How many there were so far.
    opened: u64,
    /// How often all were given up.
    given_up: u64,
}

/// A connection, or the place for one: it is set up by the first request, and again when the server has closed it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Of its own, so that nobody else is given its connection.
    pub(super) http: reqwest::Client,
    number: u64,
    /// How often all had been given up when it was lent.
    given_up: u64,
    used: Instant,
}

/// Why an answer isn't believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    /// An earlier one had its request ID.
    #[error("the answer had the RequestId of an earlier one, so it is not this request's")]
    Repeated,
    /// Another answer came to a request on another connection than its own while this one was on its way.
    #[error("answers came to the wrong requests while this one was on its way, so its answer may be another's")]
    Crossed,
}

impl Connections {
    /// No connections yet.
    ///
    /// # Errors
    /// When TLS can't be set up on this machine.
    pub(super) fn new(settings: Settings) -> Result<Self, InvalidEndpoint> {
        let connections = Self { tls: tls()?, settings, book: Mutex::default() };
        connections.build()?;
        Ok(connections)
    }

    /// A connection for one request. It is closed unless [`keep`](Self::keep) takes it back.
    pub(super) fn lend(&self) -> Result<Connection, InvalidEndpoint> {
        let now = clock::now().instant;
        let (number, given_up) = {
            let mut book = self.book();
            book.close_idle(now);
            if let Some(connection) = book.idle.pop_back() {
                return Ok(connection);
            }
            book.opened += 1;
            (book.opened, book.given_up)
        };
        Ok(Connection { http: self.build()?, number, given_up, used: now })
    }

    /// Takes a connection back after an answer with this request ID, if that is believed. What brought an answer without
    /// one is given up: a second copy of it couldn't be told.
    pub(super) fn keep(&self, mut connection: Connection, request_id: Option<&str>) -> Result<(), Doubt> {
        let now = clock::now().instant;
        let mut book = self.book();
        let origin = request_id.map(|id| book.answers.origin(id, connection.number));
        if let Some(Origin::Earlier(number)) = origin {
            if number != connection.number {
                // It isn't one connection that is out of step, but something that serves several.
                book.given_up += 1;
                book.idle.clear();
            }
            return Err(Doubt::Repeated);
        }
        if connection.given_up != book.given_up {
            return Err(Doubt::Crossed);
        }
        if origin == Some(Origin::New) {
            connection.used = now;
            book.idle.push_back(connection);
        }
        Ok(())
    }

    /// Why a request never departed.
    pub(super) async fn why_unsent(&self, error: reqwest::Error, target: &str) -> String {
        let Some(proxy) = &self.settings.proxy else { return describe(error) };
        let mut tls = self.tls.clone();
        tls.alpn_protocols.clear();
        Asking { proxy, target, tls: &Arc::new(tls), patience: self.settings.connect_timeout }.why_unsent(error).await
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&self) -> Result<reqwest::Client, InvalidEndpoint> {
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .referer(false)
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!self.settings.endpoint.starts_with("http:"))
            .tls_backend_preconfigured(self.tls.clone())
            .tcp_nodelay(true)
            .connect_timeout(self.settings.connect_timeout)
            .timeout(self.settings.request_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1);
        if let Some(proxy) = &self.settings.proxy {
            builder = builder.proxy(proxy.of_client()?);
        }
        builder.build().map_err(|error| InvalidEndpoint::Tls(describe(error)))
    }
}

impl Book {
    fn close_idle(&mut self, now: Instant) {
        while self.idle.front().is_some_and(|oldest| now.duration_since(oldest.used) >= IDLE_TIMEOUT) {
            self.idle.pop_front();
        }
    }
}

/// TLS with the platform's certificate authorities. It is set up once: reading them takes longer than a request, and the
/// connections share what they remember of the server.
fn tls() -> Result<rustls::ClientConfig, InvalidEndpoint> {
    install_crypto();
    // The verifier's only error: nobody to trust.
    let invalid = |_: rustls::Error| InvalidEndpoint::Tls(trust_roots::why_none());
    let builder = rustls::ClientConfig::builder();
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(builder.crypto_provider())).map_err(invalid)?;
    let mut tls = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

pub(super) fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread has just installed it.
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::*;

    fn connections() -> Connections {
        Connections::new(Settings {
            endpoint: "http://localhost".to_owned(),
            proxy: None,
            commit_action: Action::Commit,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            language: "en-US".to_owned(),
        })
        .unwrap()
    }

    /// The numbers of the connections that the next so many requests would get.
    fn numbers(connections: &Connections, count: usize) -> Vec<u64> {
        let lent: Vec<_> = (0..count).map(|_| connections.lend().unwrap()).collect();
        lent.iter().map(|connection| connection.number).collect()
    }

    #[tokio::test]
    async fn the_one_that_was_used_last_is_lent_next_and_to_one_request_at_a_time() {
        let connections = connections();
        let (one, two) = (connections.lend().unwrap(), connections.lend().unwrap());
        assert_eq!(connections.keep(one, Some("a")), Ok(()));
        assert_eq!(connections.keep(two, Some("b")), Ok(()));
        assert_eq!(numbers(&connections, 3), [2, 1, 3]);
    }

    #[tokio::test]
    async fn one_is_given_up_unless_it_brought_an_answer_that_can_be_told_from_others() {
        let connections = connections();
        drop(connections.lend().unwrap());
        assert_eq!(connections.keep(connections.lend().unwrap(), None), Ok(()));
        assert_eq!(numbers(&connections, 1), [3]);
    }

    #[tokio::test]
    async fn an_answer_that_the_connection_brought_before_concerns_that_connection_alone() {
        let connections = connections();
        let other = connections.lend().unwrap();
        let lend = || connections.lend().unwrap();
        assert_eq!(connections.keep(lend(), Some("a")), Ok(()));
        assert_eq!(connections.keep(lend(), Some("a")), Err(Doubt::Repeated));
        assert_eq!(connections.keep(other, Some("b")), Ok(()));
        assert_eq!(numbers(&connections, 2), [1, 3]);
    }

    #[tokio::test]
    async fn an_answer_that_another_connection_brought_before_gives_up_all_and_doubts_what_is_on_the_way() {
        let connections = connections();
        let [idle, other, on_the_way] = [(); 3].map(|()| connections.lend().unwrap());
        assert_eq!(connections.keep(idle, Some("a")), Ok(()));
        assert_eq!(connections.keep(other, Some("a")), Err(Doubt::Repeated));
        assert_eq!(connections.keep(on_the_way, Some("b")), Err(Doubt::Crossed));
        let next = connections.lend().unwrap();
        assert_eq!(next.number, 4);
        assert_eq!(connections.keep(next, Some("c")), Ok(()), "what is sent afterwards is believed");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_idle_for_long_is_closed() {
        let connections = connections();
        assert_eq!(connections.keep(connections.lend().unwrap(), Some("a")), Ok(()));
        tokio::time::advance(IDLE_TIMEOUT).await;
        assert_eq!(numbers(&connections, 1), [2]);
    }
}
