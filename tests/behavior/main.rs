//! The promises of certcommit, shown from outside: the daemon's own code, and the program itself, against a
//! stand-in for the API that remembers what arrived. A file a promise; submissions are enqueued with the SQL that
//! operators use, and nothing sleeps to synchronise.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod alerting;
mod configuration;
mod credentials;
mod doubting;
mod glancing;
mod layers;
mod logging;
mod pacing;
mod pausing;
mod recovering;
mod refusing;
mod reloading;
mod retrying;
mod starting;
mod stopping;
mod submitting;
#[path = "../support/mod.rs"]
mod support;
mod watching;
