//! The documentation is true: its tables, links, commands and examples are checked against the code.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod architecture;
mod catalogues;
mod examples;
mod names;
mod pages;
mod references;
mod runbook;
#[path = "../support/mod.rs"]
mod support;
