//! All SQL: opening and checking the database, migrations, claims, records, recovery and reports.
//!
//! The rules of the queue stand in the database itself, as triggers (`migrations/`), and hold everyone, this
//! module too. No transaction is open across anything but SQL. What becomes of a row is decided in
//! [`submission`](crate::submission), when it is sent in [`daemon`](crate::daemon).

mod backup;
mod candidate;
mod claim;
mod clock_step;
mod error;
mod evidence;
mod filesystem;
mod gap;
mod half_written;
mod integrity;
mod location;
mod lock;
mod mark;
mod open;
mod operate;
mod outlook;
mod overview;
mod permission;
mod place;
mod postpone;
mod prune;
mod rebuild;
mod record;
mod recount;
mod recover;
mod refused;
mod repair;
mod report;
mod request;
mod run;
mod savepoint;
mod schema;
mod shared_file;
mod shown;
mod time_left;
mod turn;
mod watch;
mod words;

pub use backup::Backup;
pub use claim::{Claim, Claims};
pub use error::{QueueError, SALVAGE};
pub use gap::Gap;
pub use integrity::inspect;
pub use location::Target;
pub use lock::{DaemonLock, daemon_lives};
pub use mark::Mark;
pub use open::{Opening, Queue};
pub use operate::{Enqueued, NewSubmission, Resolution, Selection, Shifted};
pub use overview::{ErrorCount, MINUTES, Oldest, Overview};
pub use permission::Denial;
pub use place::Place;
pub use prune::Pruned;
pub use record::Record;
pub use recover::Recovered;
pub use refused::RefusedWrite;
pub use repair::{Repaired, Saved, repair};
pub use report::{Counts, DaemonRow, HistoryLine, SubmissionLine};
pub use request::{Finished, RequestKind};
pub use run::{Control, Heartbeat, LastRun, Mode, Run};
pub use schema::Flaw;
pub use shown::Shown;
pub use time_left::Paces;
pub use turn::{Turn, TurnReport};
pub use watch::Watch;

#[cfg(test)]
mod tests;
