//! The promises of certcommit, shown from outside: the daemon's own code, and the program itself, against a
//! stand-in for the API that remembers what arrived. A file a promise; submissions are enqueued with the SQL that
//! operators use, and nothing sleeps to synchronise.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod alert_rules;
mod configuration;
mod credentials;
mod enqueue_command;
mod environment_errors;
mod layers;
mod log_events;
mod monitoring;
mod pause;
mod rate_limit;
mod readback;
mod recovery;
mod reload;
mod retries;
mod shutdown;
mod status_command;
mod submission;
#[path = "../support/mod.rs"]
mod support;
mod user_triggers;
