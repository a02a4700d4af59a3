//! The SQL interface, used as an outsider uses it: a database that certcommit made, and a plain connection with
//! SQLite's own defaults. An invalid statement is refused with a sentence, and leaves every table as it was.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bookkeeping;
mod changing;
mod constants;
mod counting;
mod deleting;
mod enqueueing;
mod explaining;
mod outsider;
mod replacing;
mod requests;
mod transitions;
