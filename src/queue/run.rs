//! A run of the daemon: the rows `daemon`, which it writes, and `control`, which people write.

use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use super::untrusted_text::UntrustedText;
use crate::clock::{Now, UnixMillis, millis};
use crate::named_enum::named_enum;

/// One run of the daemon, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Random; in `daemon.run_id` and in every request of this run.
    pub id: String,
    /// When it started.
    pub started: Now,
}

impl Run {
    /// Monotonic milliseconds from the start of the run.
    #[must_use]
    pub fn millis_at(&self, now: Now) -> i64 {
        millis(now.instant.duration_since(self.started.instant))
    }
}

named_enum! {
    /// What the daemon is doing, as `daemon.mode` says it.
    pub enum Mode {
        /// Sends what is due.
        Running = "running",
        /// `control.paused` is set.
        PausedByOperator = "paused_by_operator",
        /// A failure that isn't specific to one submission; the daemon probes.
        PausedByFault = "paused_by_fault",
        /// Waits for the requests on the way.
        Stopping = "stopping",
        /// Ended in good order.
        Stopped = "stopped",
    }
}

/// What the `daemon` row says.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// What the daemon is doing.
    pub mode: Mode,
    /// Why, if it isn't simply running.
    pub why: Option<String>,
    /// Commits a second at present.
    pub pace: f64,
}

/// What people ask of the daemon, in the row `control`.
#[derive(Debug, Clone, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct Control {
    /// No commits go out.
    pub paused: bool,
    /// Why.
    pub pause_reason: Option<UntrustedText>,
    /// End a pause by fault with a probe at once.
    pub probe_requested: bool,
}

/// Whose the queue is.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Holder {
    run_id: Option<UntrustedText>,
    pid: Option<UntrustedText>,
}

impl Holder {
    /// Checks that the queue is still this run's: a daemon that started on the same file, for instance after the lock
    /// file was unlinked, took it over.
    pub(super) fn check(self, run: &Run) -> Result<(), QueueError> {
        if self.run_id.is_some_and(|id| id.as_str() == run.id) {
            return Ok(());
        }
        let holder = self.pid.map_or("an unknown process".to_owned(), |pid| format!("process {pid}"));
        Err(QueueError::Held { path: "the queue".into(), holder })
    }
}

/// The last run on a database, or on what it is a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct LastRun {
    /// Whether it said at its end that it stopped. A copy that was made while it ran doesn't have that.
    pub in_good_order: bool,
    /// When it was last heard of, in unix seconds.
    pub heard_of: i64,
}

impl Queue {
    /// The last run; none if there was none yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_run(&mut self) -> Result<Option<LastRun>, QueueError> {
        sqlx::query_as(
            "SELECT mode IS 'stopped' AS in_good_order, CAST(coalesce(heartbeat_at, 0) AS INTEGER) AS heard_of
               FROM daemon WHERE run_id IS NOT NULL",
        )
        .fetch_optional(&mut self.connection)
        .await
        .map_err(QueueError::of("looking for how the last run ended"))
    }

    /// Begins a run: the `daemon` row says so from now on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_run(&mut self, run: &Run) -> Result<(), QueueError> {
        let at = run.started.unix.seconds();
        sqlx::query(
            "UPDATE daemon SET run_id = ?, pid = ?, version = ?, started_at = ?, heartbeat_at = ?, mode = 'running', why = NULL",
        )
        .bind(&run.id)
        .bind(i64::from(std::process::id()))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(at)
        .bind(at)
        .execute(&mut self.connection)
        .await
        .map_err(QueueError::of("beginning the run"))?;
        Ok(())
    }
}

/// Checks that the queue is still this run's.
pub(super) async fn check(connection: &mut SqliteConnection, run: &Run) -> Result<(), QueueError> {
    let holder: Holder = sqlx::query_as("SELECT run_id, pid FROM daemon")
        .fetch_one(connection)
        .await
        .map_err(QueueError::of("checking the run"))?;
    holder.check(run)
}

/// Takes a request to probe off.
pub(super) async fn accept_probe(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    sqlx::query("UPDATE control SET probe_requested = 0")
        .execute(connection)
        .await
        .map_err(QueueError::of("reading the controls"))?;
    Ok(())
}

/// Writes the `daemon` row.
pub(super) async fn beat(
    connection: &mut SqliteConnection,
    heartbeat: &Heartbeat,
    now: UnixMillis,
) -> Result<(), QueueError> {
    sqlx::query("UPDATE daemon SET heartbeat_at = ?, mode = ?, why = ?, pace = ?")
        .bind(now.seconds())
        .bind(heartbeat.mode.as_str())
        .bind(&heartbeat.why)
        .bind(heartbeat.pace)
        .execute(connection)
        .await
        .map_err(QueueError::of("writing the heartbeat"))?;
    Ok(())
}
