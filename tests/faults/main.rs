//! The faults that happen to a daemon in production, one by one, and what becomes of the work: nothing lost, nothing
//! committed twice unknowingly, the limit kept, a clear log line, and work that goes on by itself once the fault is over.
//!
//! `tests/README.md` has the table of faults, the tools that these tests need, and the long forms.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod api;
mod backup;
mod clock;
mod database;
mod disk;
mod dump_restore;
mod hostile_input;
mod log;
mod maintenance;
mod network;
mod power;
mod processes;
mod queue_file;
mod secrets;
mod sigkill;
#[path = "../support/mod.rs"]
mod support;
