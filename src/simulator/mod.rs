//! A simulator of Tencent Cloud's SSL API, in process, for the `demo` command and the tests.
//!
//! It speaks HTTP/1.1 on loopback, checks signatures, counts rates as the server does, keeps each certificate's status and
//! order, fails on demand, and records every arrival. Without a script it behaves well. It doesn't guess what the
//! documentation leaves open: without an [`Issuance`], no status moves on by itself. Nothing in the daemon imports it.

mod arrivals;
mod certificate;
mod connection;
mod fault;
mod issuance;
mod metadata;
mod options;
mod reply;
mod request;
mod server;
mod service;
mod socket;
#[cfg(test)]
mod tests;
mod traffic;

pub use arrivals::{Arrival, per_second, rate, worst_second};
pub use fault::{Fault, Mixture, ReadFault};
pub use issuance::Issuance;
pub use metadata::MetadataService;
pub use options::Options;
pub use server::Simulator;
