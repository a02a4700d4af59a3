//! All SQL, and the files of the database.
//!
//! The rules of the queue are triggers in the database (`migrations/`), and bind everyone, this module too. No transaction is
//! open across anything but SQL. What happens to a row is decided in [`submission`](crate::submission), and when it is sent
//! in [`daemon`](crate::daemon).
//!
//! | what | files, those that build on others first |
//! | --- | --- |
//! | a queue as a whole | `open`, `repair`, `backup`, `integrity`, `application_id`, `connection` |
//! | the daemon's work | `batch`, `recover`, `claim`, `complete`, `prune`, `clock_step`, `run` |
//! | what operators do and see | `admin`, `status`, `history`, `state_counts`, `counts` |
//! | the schema | `schema/`: `rebuild`, `comparison`, `objects`, `tokens`, `migrations` |
//! | files | `files/`: `daemon_lock`, `restore_marker`, `file_identity`, `shared_file`, `location`, `permission`, `filesystem` |
//! | errors | `result_code`, `error` |

mod admin;
mod application_id;
mod backup;
mod batch;
mod claim;
mod clock_step;
mod complete;
mod connection;
mod counts;
mod due;
mod error;
mod evidence;
mod files;
mod history;
mod integrity;
mod open;
mod partial_results;
mod paths;
mod postpone;
mod prune;
mod recover;
mod rejected_write;
mod repair;
mod request;
mod restore_gap;
mod result_code;
mod run;
mod savepoint;
mod schema;
mod snapshot;
mod state_counts;
mod status;
mod untrusted_text;

pub use admin::{Enqueued, NewSubmission, Resolution, Selection, Shifted};
pub use backup::Backup;
pub use batch::{Turn, TurnReport};
pub use claim::{Claim, Claims};
pub use complete::Record;
pub use connection::Queue;
pub use counts::{Counts, Paces};
pub use error::{Fault, QueueError, SALVAGE, SchemaVersions};
pub use files::daemon_lock::{DaemonLock, daemon_lives};
pub use files::file_identity::FileIdentity;
pub use files::location::Target;
pub use files::restore_marker::RestoreMarker;
pub use files::wal_watcher::WalWatcher;
pub use history::{HistoryLine, SubmissionLine};
pub use integrity::inspect;
pub use open::Opening;
pub use prune::Pruned;
pub use recover::Recovered;
pub use rejected_write::RejectedWrite;
pub use repair::{Repaired, Saved, repair};
pub use request::{Finished, RequestKind};
pub use restore_gap::RestoreGap;
pub use run::{Control, Heartbeat, LastRun, Mode, Run};
pub use schema::comparison::Flaw;
pub use status::{DaemonRow, ErrorCount, MINUTES, Oldest, Status};
pub use untrusted_text::UntrustedText;

#[cfg(test)]
mod tests;
