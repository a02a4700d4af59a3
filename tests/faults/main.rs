//! The faults that a daemon meets in production, one by one. Each time, nothing is lost, nothing is committed twice
//! unknowingly, the limit holds, the log says what happened, and the work resumes by itself once the fault is over.
//!
//! `tests/README.md` has the table of faults, the required tools, and the long runs.

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
