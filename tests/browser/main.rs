//! The report in a browser, in a file and live: Chromium from the distribution, driven by WebDriver. `tests/README.md` lists what
//! these tests need.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod driver;
mod live;
mod looking;
mod report;
#[path = "../support/mod.rs"]
mod support;
