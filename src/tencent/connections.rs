//! The connections to the API.
//!
//! HTTP/1.1 matches replies to requests by their order alone. If a middlebox sends a reply twice, the copy looks like
//! the reply to the next request on that connection, and so does each reply after it. So a connection is lent to one
//! request at a time, and is reused only if its reply appears to be that request's own.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::failure::describe;
use super::http;
use super::proxy::{Attempt, why_unsent};
use super::reply_dedup::SeenReplies;
use super::settings::{ClientSettings, InvalidEndpoint};
use super::trust_roots;
use crate::clock;

/// Below the server's idle timeout of about 60 s, so that it doesn't close a connection under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// The connections to one endpoint.
#[derive(Debug)]
pub(super) struct Connections {
    settings: ClientSettings,
    /// Set up once: reading the certificate authorities takes longer than a request, and all connections share the TLS
    /// sessions.
    tls: rustls::ClientConfig,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    /// Connections that are not lent out, the most recently used last.
    idle: VecDeque<Connection>,
    replies: SeenReplies,
    opened: u64,
    /// Incremented whenever all connections are dropped.
    generation: u64,
}

/// A connection. The first request establishes it; a later one establishes it again if the server closed it.
#[derive(Debug)]
pub(super) struct Connection {
    /// A client of its own, whose pool holds only this connection.
    pub(super) http: reqwest::Client,
    number: u64,
    generation: u64,
    last_used: Instant,
}

/// Why a reply isn't trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    /// It is a copy of an earlier reply.
    #[error("the reply has the RequestId of an earlier one, so it belongs to another request")]
    Repeated,
    /// While the request was in flight, another connection received a reply that wasn't its own.
    #[error(
        "replies came to the wrong requests while this one was in flight, so its reply may belong to another request"
    )]
    Crossed,
}

impl Connections {
    /// Sets up TLS; opens no connection yet.
    ///
    /// # Errors
    /// When TLS can't be set up on this machine, or the proxy can't be used.
    pub(super) fn new(settings: ClientSettings) -> Result<Self, InvalidEndpoint> {
        let connections =
            Self { tls: trust_roots::tls().map_err(InvalidEndpoint::Tls)?, settings, pool: Mutex::default() };
        connections.build()?;
        Ok(connections)
    }

    /// Lends a connection to one request. It is closed unless [`keep`](Self::keep) takes it back.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn lend(&self) -> Result<Connection, InvalidEndpoint> {
        let now = clock::now().instant;
        let (number, generation) = {
            let mut pool = self.pool();
            pool.close_idle(now);
            if let Some(connection) = pool.idle.pop_back() {
                return Ok(connection);
            }
            pool.opened += 1;
            (pool.opened, pool.generation)
        };
        Ok(Connection { http: self.build()?, number, generation, last_used: now })
    }

    /// Takes a connection back after a reply with this request ID. After a reply without one, it is closed: a copy of
    /// that reply couldn't be recognized.
    ///
    /// # Errors
    /// When the reply may belong to another request; the connection is closed then.
    pub(super) fn keep(&self, mut connection: Connection, request_id: Option<&str>) -> Result<(), Doubt> {
        let mut pool = self.pool();
        if let Some(original) = request_id.and_then(|id| pool.replies.record(id, connection.number)) {
            if original != connection.number {
                // The copies come from a middlebox that serves several connections.
                pool.generation += 1;
                pool.idle.clear();
            }
            return Err(Doubt::Repeated);
        }
        if connection.generation != pool.generation {
            return Err(Doubt::Crossed);
        }
        if request_id.is_some() {
            connection.last_used = clock::now().instant;
            pool.idle.push_back(connection);
        }
        Ok(())
    }

    /// Why a request never departed. `target` is the API's `HOST:PORT`.
    pub(super) async fn why_unsent(&self, error: reqwest::Error, target: &str) -> String {
        let Some(proxy) = &self.settings.proxy else { return describe(error) };
        let attempt = Attempt { proxy, target, tls: &self.tls, timeout: self.settings.connect_timeout };
        why_unsent(&attempt, error).await
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&self) -> Result<reqwest::Client, InvalidEndpoint> {
        let ClientSettings { endpoint, proxy, connect_timeout, request_timeout, .. } = &self.settings;
        let mut builder = http::client(*connect_timeout, *request_timeout)
            .https_only(!endpoint.starts_with("http:"))
            .tls_backend_preconfigured(self.tls.clone())
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1);
        if let Some(proxy) = proxy {
            let accepted = proxy.for_client().ok_or_else(|| InvalidEndpoint::Proxy(proxy.to_string()))?;
            builder = builder.proxy(accepted);
        }
        builder.build().map_err(|error| InvalidEndpoint::Tls(describe(error)))
    }
}

impl Pool {
    fn close_idle(&mut self, now: Instant) {
        while self.idle.front().is_some_and(|oldest| now.duration_since(oldest.last_used) >= IDLE_TIMEOUT) {
            self.idle.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::*;

    fn connections() -> Connections {
        Connections::new(ClientSettings {
            endpoint: "http://localhost".to_owned(),
            proxy: None,
            commit_action: Action::Commit,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            language: "en-US".to_owned(),
        })
        .unwrap()
    }

    /// The numbers of the connections that the next `count` requests would get.
    fn numbers(connections: &Connections, count: usize) -> Vec<u64> {
        let lent: Vec<_> = (0..count).map(|_| connections.lend().unwrap()).collect();
        lent.iter().map(|connection| connection.number).collect()
    }

    #[tokio::test]
    async fn the_most_recently_used_connection_is_lent_next_and_to_one_request_at_a_time() {
        let connections = connections();
        let (one, two) = (connections.lend().unwrap(), connections.lend().unwrap());
        assert_eq!(connections.keep(one, Some("a")), Ok(()));
        assert_eq!(connections.keep(two, Some("b")), Ok(()));
        assert_eq!(numbers(&connections, 3), [2, 1, 3]);
    }

    #[tokio::test]
    async fn a_connection_is_kept_only_after_a_reply_whose_copy_could_be_recognized() {
        let connections = connections();
        drop(connections.lend().unwrap());
        assert_eq!(connections.keep(connections.lend().unwrap(), None), Ok(()));
        assert_eq!(numbers(&connections, 1), [3]);
    }

    #[tokio::test]
    async fn a_copy_on_the_same_connection_closes_that_connection_alone() {
        let connections = connections();
        let other = connections.lend().unwrap();
        let lend = || connections.lend().unwrap();
        assert_eq!(connections.keep(lend(), Some("a")), Ok(()));
        assert_eq!(connections.keep(lend(), Some("a")), Err(Doubt::Repeated));
        assert_eq!(connections.keep(other, Some("b")), Ok(()));
        assert_eq!(numbers(&connections, 2), [1, 3]);
    }

    #[tokio::test]
    async fn a_copy_on_another_connection_closes_all_and_puts_what_is_in_flight_in_doubt() {
        let connections = connections();
        let [idle, other, in_flight] = [(); 3].map(|()| connections.lend().unwrap());
        assert_eq!(connections.keep(idle, Some("a")), Ok(()));
        assert_eq!(connections.keep(other, Some("a")), Err(Doubt::Repeated));
        assert_eq!(connections.keep(in_flight, Some("b")), Err(Doubt::Crossed));
        let next = connections.lend().unwrap();
        assert_eq!(next.number, 4);
        assert_eq!(connections.keep(next, Some("c")), Ok(()), "later replies are trusted");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_before_the_server_closes_it() {
        let connections = connections();
        assert_eq!(connections.keep(connections.lend().unwrap(), Some("a")), Ok(()));
        tokio::time::advance(IDLE_TIMEOUT).await;
        assert_eq!(numbers(&connections, 1), [2]);
    }
}
