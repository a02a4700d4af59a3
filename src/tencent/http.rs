//! What all HTTP clients here have in common: one call is one HTTP/1.1 request on the wire. They retry nothing, follow no
//! redirect, and use no proxy unless one is set.

use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

/// A builder for a client with these properties.
pub(super) fn client(connect_timeout: Duration, timeout: Duration) -> ClientBuilder {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread has just installed it.
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    }
    reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .referer(false)
        .retry(reqwest::retry::never())
        .redirect(Policy::none())
        .connect_timeout(connect_timeout)
        .timeout(timeout)
}
