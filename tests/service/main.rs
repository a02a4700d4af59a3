//! certcommit as a service of systemd: what the units say, and what the service manager is told. The whole of it, with
//! a systemd that runs, is shown by `tests/systemd`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod sd_notify;
#[path = "../support/mod.rs"]
mod support;
mod units;
