//! The API of Tencent Cloud's SSL service: signing, wire format, the error table, the HTTP client, and the providers of
//! credentials.
//!
//! Signing, wire format and error table are pure. The client makes one request for each call: nothing here retries, waits or
//! follows a redirect. [`submission`](crate::submission) decides what an outcome means for a submission.

mod client;
mod clock_skew;
mod connections;
mod credentials;
mod departure;
mod errors;
mod failure;
mod http;
mod proxy;
mod reply_dedup;
mod settings;
mod signing;
mod statuses;
mod trust_roots;
mod wire;

pub use client::{Client, Exchange, StatusesRead};
pub use clock_skew::ClockSkew;
pub use credentials::{Credentials, CredentialsError, Found, Source, find_credentials, parse_credentials};
pub use errors::{ERROR_TABLE, classify_code, code_label};
pub use proxy::{Proxy, ProxyError, Route, find_route};
pub use settings::{ClientSettings, InvalidEndpoint};
pub use signing::{CanonicalRequest, Scope, authorization};
pub use statuses::{MOST_AT_ONCE, SeenStatus};
pub use wire::{Action, CONTENT_TYPE, VERSION, outcome};

#[cfg(test)]
mod wire_tests;
