//! The route to the API: direct, or through a proxy.
//!
//! A proxy learns the API's name and nothing of what is sent: requests go through a tunnel, in TLS. What fails before the
//! tunnel and TLS are established was not sent.

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
