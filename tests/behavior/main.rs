//! The promises of certcommit, tested from outside: the daemon and the program against a simulator of the API that records
//! what arrives. Submissions are enqueued with the SQL that operators use. No test sleeps to synchronize.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod alert_rules;
mod configuration;
mod credentials;
mod diagnosis;
mod enqueue_command;
mod environment_errors;
mod following;
mod layers;
mod log_events;
mod monitoring;
mod no_text_matching;
mod pause;
mod rate_limit;
mod readback;
mod recovery;
mod reload;
mod report;
mod retries;
mod shutdown;
mod status_command;
mod submission;
#[path = "../support/mod.rs"]
mod support;
mod user_triggers;
