//! The API of Tencent Cloud's SSL service: signing, wire format, the one error table, the HTTP client and
//! the sources of credentials.
//!
//! Signing, wire format and error table are pure. The client makes one request for one call: nothing here
//! retries, waits or follows a redirect; what to do about an outcome is decided in
//! [`submission`](crate::submission).

mod client;
mod clock_skew;
mod connections;
mod credentials;
mod departure;
mod errors;
mod failure;
mod proxy;
mod reply_dedup;
mod signing;
mod trust_roots;
mod wire;

pub use client::{Client, Exchange, InvalidEndpoint, Settings};
pub use clock_skew::ClockSkew;
pub use credentials::{
    Credentials, CredentialsError, DMI, Found, Passed, Place, Role, Source, find_credentials, parse_credentials,
    tccli_file, vendor_files,
};
pub use errors::{Class, ERROR_TABLE, classify_code, code_label};
pub use proxy::{Proxy, ProxyError, Way, find_way};
pub use signing::{CanonicalRequest, Scope, authorization};
pub use wire::{Action, CONTENT_TYPE, VERSION, commit_outcome, read_outcome};

#[cfg(test)]
mod wire_tests;
