//! All SQL, and the files of the database.
//!
//! The rules of the queue are triggers in the database (`migrations/`). They bind everyone, including this module. A
//! transaction never spans anything but SQL. [`submission`](crate::submission) decides what happens to a row, and
//! [`daemon`](crate::daemon) when it is sent.
//!
//! | what | files, each before those that it builds on |
//! | --- | --- |
//! | a queue as a whole | `open`, `repair`, `backup`, `integrity`, `application_id`, `connection` |
//! | the daemon's work | `session`, `batch`, `recover`, `partial_results`, `claim`, `due_order`, `recorded_evidence`, `postpone`, `complete`, `write_mode`, `savepoint`, `prune`, `clock_step`, `snapshot`, `run` |
//! | what operators do and see | `staging`, `enqueue`, `admin`, `status`, `report`, `history`, `failures`, `examination`, `restore_gap`, `state_counts`, `counts`, `stored_cause`, `untrusted_text` |
//! | the schema | `schema/`: `rebuild`, `comparison`, `objects`, `tokens`, `migrations` |
//! | files | `paths`, and `files/`: `wal_watcher`, `write_lock`, `space`, `daemon_lock`, `process`, `departure_marker`, `restore_marker`, `file_identity`, `shared_file`, `location`, `permission`, `filesystem` |
//! | errors | `result_code`, `error`, `rejected_write` |

mod admin;
mod application_id;
mod backup;
mod batch;
mod claim;
mod clock_step;
mod complete;
mod connection;
mod counts;
mod due_order;
mod enqueue;
mod error;
mod examination;
mod failures;
mod files;
mod following;
mod history;
mod integrity;
mod open;
mod partial_results;
mod paths;
mod postpone;
mod prune;
mod recorded_evidence;
mod recover;
mod rejected_write;
mod repair;
mod report;
mod restore_gap;
mod result_code;
mod run;
mod savepoint;
mod schema;
mod session;
mod snapshot;
mod staging;
mod state_counts;
mod status;
mod stored_cause;
mod untrusted_text;
mod write_mode;

pub use admin::{Resolution, Selection, Shifted};
pub use backup::Backup;
pub use batch::{BatchReport, BatchRequest, PruneStep};
pub use claim::{Claim, ClaimLimits};
pub use complete::Completed;
pub use connection::Queue;
pub use counts::{Counts, Paces};
pub use enqueue::{Enqueued, NewSubmission};
pub use error::{Fault, QueueError, SALVAGE, SchemaVersions};
pub use examination::obstacle;
pub use failures::FailedGroup;
pub use files::daemon_lock::{DaemonLock, daemon_lives, daemon_process};
pub use files::departure_marker::{DepartureMarker, Departures, NoMarker, RuntimeDirectories};
pub use files::file_identity::FileIdentity;
pub use files::location::Target;
pub use files::process::Process;
pub use files::restore_marker::RestoreMarker;
pub use files::wal_watcher::WalWatcher;
pub use following::{FollowCursor, Followed, Look};
pub use history::{HistoryLine, ReadbackCounts, SubmissionLine};
pub use integrity::inspect;
pub use open::Opening;
pub use prune::Pruned;
pub use recover::Recovered;
pub use rejected_write::RejectedWrite;
pub use repair::{Repaired, Saved, repair};
pub use report::{ReportFilter, ReportRequest, ReportRow, Story};
pub use restore_gap::RestoreGap;
pub use run::{Control, Heartbeat, LastRun, Mode, Run};
pub use schema::comparison::{Flaw, ForeignTrigger};
pub use session::Session;
pub use staging::{Staged, Staging};
pub use status::{DaemonRow, ErrorCount, IncidentRow, MINUTES, Oldest, Situation, Status, besides};
pub use stored_cause::Parameters;
pub use untrusted_text::UntrustedText;

#[cfg(test)]
mod tests;
