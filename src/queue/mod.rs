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
mod gap;
mod integrity;
mod lock;
mod mark;
mod open;
mod operate;
mod outlook;
mod overview;
mod place;
mod poison;
mod prune;
mod rebuild;
mod record;
mod recount;
mod recover;
mod repair;
mod report;
mod request;
mod run;
mod savepoint;
mod schema;
mod shown;
mod turn;
mod watch;
mod words;

pub use backup::Backup;
pub use claim::{Claim, Claims};
pub use error::{QueueError, SALVAGE};
pub use gap::Gap;
pub use integrity::inspect;
pub use lock::{DaemonLock, daemon_lives};
pub use mark::Mark;
pub use open::{Opening, Queue};
pub use operate::{Enqueued, NewSubmission, Resolution, Selection};
pub use overview::{ErrorCount, MINUTES, Oldest, Overview};
pub use place::Place;
pub use poison::Poison;
pub use prune::Pruned;
pub use record::Record;
pub use recover::Recovered;
pub use repair::{Repaired, Saved, repair};
pub use report::{Counts, DaemonRow, HistoryLine, SubmissionLine};
pub use request::{Finished, RequestKind};
pub use run::{Control, Heartbeat, Mode, Run};
pub use schema::Flaw;
pub use shown::Shown;
pub use turn::{Turn, TurnReport};
pub use watch::Watch;

#[cfg(test)]
mod tests;
