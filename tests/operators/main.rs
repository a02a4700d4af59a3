//! What operators have at hand makes of certcommit: systemd's tools and its journal, Prometheus's `promtool`, `jq`, a
//! terminal. `tests/README.md` says what these tests need.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod journal;
mod metrics;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod units;
