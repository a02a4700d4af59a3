//! The route to the API: direct, or through a proxy.
//!
//! A proxy learns the API's name, but nothing of the requests: they go through a tunnel, in TLS. A request that fails
//! before the tunnel and TLS are established was not sent.

mod connect_probe;
mod diagnosis;
mod environment;
mod find;
mod route;
#[cfg(test)]
mod tests;

pub(super) use diagnosis::{Attempt, why_unsent};
pub use find::find_route;
pub use route::{Proxy, ProxyError, Route};
