//! certcommit as a systemd service: the units, and the notifications. `tests/systemd` tests it with a running systemd.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod sd_notify;
#[path = "../support/mod.rs"]
mod support;
mod units;
