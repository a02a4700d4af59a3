//! All SQL: opening and checking the database, migrations, claims, records, recovery and reports.
//!
//! The rules of the queue stand in the database itself, as triggers (`migrations/`), and hold everyone, this
//! module too. No transaction is open across anything but SQL. What becomes of a row is decided in
//! [`submission`](crate::submission), when it is sent in [`daemon`](crate::daemon).

mod admin;
mod backup;
mod batch;
mod claim;
mod clock_step;
mod complete;
mod daemon_lock;
mod due;
mod error;
mod evidence;
mod file_identity;
mod filesystem;
mod integrity;
mod location;
mod open;
mod partial_results;
mod permission;
mod postpone;
mod prune;
mod rebuild;
mod recover;
mod rejected_write;
mod repair;
mod report;
mod request;
mod restore_gap;
mod restore_marker;
mod run;
mod savepoint;
mod schema;
mod shared_file;
mod snapshot;
mod sql_tokens;
mod state_counts;
mod status;
mod time_left;
mod untrusted_text;
mod wal_watcher;

pub use admin::{Enqueued, NewSubmission, Resolution, Selection, Shifted};
pub use backup::Backup;
pub use batch::{Turn, TurnReport};
pub use claim::{Claim, Claims};
pub use complete::Record;
pub use daemon_lock::{DaemonLock, daemon_lives};
pub use error::{QueueError, SALVAGE};
pub use file_identity::FileIdentity;
pub use integrity::inspect;
pub use location::Target;
pub use open::{Opening, Queue};
pub use permission::Denial;
pub use prune::Pruned;
pub use recover::Recovered;
pub use rejected_write::RejectedWrite;
pub use repair::{Repaired, Saved, repair};
pub use report::{Counts, DaemonRow, HistoryLine, SubmissionLine};
pub use request::{Finished, RequestKind};
pub use restore_gap::RestoreGap;
pub use restore_marker::RestoreMarker;
pub use run::{Control, Heartbeat, LastRun, Mode, Run};
pub use schema::Flaw;
pub use status::{ErrorCount, MINUTES, Oldest, Status};
pub use time_left::Paces;
pub use untrusted_text::UntrustedText;
pub use wal_watcher::WalWatcher;

#[cfg(test)]
mod tests;
