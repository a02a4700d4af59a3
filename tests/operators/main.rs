//! certcommit with the tools of operators: systemd's tools and journal, Prometheus's `promtool`, `jq`, a terminal.
//! `tests/README.md` lists what these tests need.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod journal;
mod metrics;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod units;
