//! How the simulator behaves.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the simulator behaves from the start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// From the arrival of a request to its reply.
    pub latency: Duration,
    /// Up to this much is added to the latency, evenly distributed.
    pub jitter: Duration,
    /// Commits in any second, for each action. Further ones get `RequestLimitExceeded`, and don't count.
    pub rate_limit: Option<u32>,
    /// Reads in any second.
    pub read_rate_limit: Option<u32>,
    /// The secret ID that it accepts.
    pub secret_id: String,
    /// The secret key that it accepts.
    pub secret_key: String,
    /// Whether certificates that were not set up are unknown. Otherwise they are free ones, not yet committed.
    pub strict: bool,
    /// Determines jitter and random faults.
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
