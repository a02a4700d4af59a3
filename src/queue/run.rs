//! A run of the daemon: the row `daemon`, which it writes, and the row `control`, which operators write.

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use super::stored_cause::{Parameters, stored_cause};
use super::untrusted_text::UntrustedText;
use crate::cause::{Cause, Incident, PauseCause, Quote};
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
    /// What the daemon is doing, as shown in `daemon.mode`.
    pub enum Mode {
        /// Sends what is due.
        Running = "running",
        /// `control.paused` is set.
        PausedByOperator = "paused_by_operator",
        /// A failure that isn't specific to one submission; the daemon probes.
        PausedByFault = "paused_by_fault",
        /// Waits for the requests in flight.
        Stopping = "stopping",
        /// Ended cleanly.
        Stopped = "stopped",
    }
}

/// What the `daemon` row says.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// What the daemon is doing.
    pub mode: Mode,
    /// What stops commits or readbacks, the first to act on first.
    pub incidents: Vec<Incident>,
    /// Commits a second at present.
    pub pace: f64,
}

/// What operators ask of the daemon, in the row `control`.
#[derive(Debug, Clone, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct Control {
    /// No commits are sent.
    pub paused: bool,
    /// Why, as text.
    pub pause_reason: Option<UntrustedText>,
    /// The code of the cause, if certcommit paused it.
    pub pause_code: Option<UntrustedText>,
    /// The parameters of the cause.
    pub pause_parameters: Option<Parameters>,
    /// End a pause by fault by probing at once.
    pub probe_requested: bool,
    /// Since when it is paused, in unix seconds.
    pub paused_at: Option<i64>,
    /// When `certcommit verify --pending` last marked everything pending to be read back, in unix seconds.
    pub verified_at: Option<i64>,
}

impl Control {
    /// Why it is paused, if it is. A text without a known code is an operator's.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        let stored = || stored_cause(self.pause_code.as_ref(), self.pause_parameters.as_ref());
        let reason = || self.pause_reason.as_deref().map(Into::into);
        self.paused.then(|| stored().unwrap_or_else(|| PauseCause::ByOperator { reason: reason() }.into()))
    }

    /// Why and since when it is paused, if it is.
    #[must_use]
    pub fn incident(&self) -> Option<Incident> {
        self.cause().map(|cause| Incident::new(cause, self.paused_at.map(UnixMillis::of_seconds)))
    }
}

/// Which run holds the queue.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Holder {
    run_id: Option<UntrustedText>,
    pid: Option<UntrustedText>,
}

impl Holder {
    /// Checks that this run still holds the queue: another daemon takes it over if it starts on the same file, for instance
    /// because the lock file was deleted.
    pub(super) fn check(self, run: &Run) -> Result<(), QueueError> {
        if self.run_id.is_some_and(|id| id.as_str() == run.id) {
            return Ok(());
        }
        let holder = self.pid.map_or("an unknown process".to_owned(), |pid| format!("process {pid}"));
        Err(QueueError::Held { path: "the queue".into(), holder })
    }
}

/// The last run on a database, or on the original of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct LastRun {
    /// Whether it recorded that it stopped. A copy made while it ran lacks that record.
    pub in_good_order: bool,
    /// Its last heartbeat, in unix seconds.
    pub heard_of: i64,
}

impl Queue {
    /// The last run, if there was one.
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
        .map_err(QueueError::of("looking for the last run"))
    }

    /// Begins a run, and records it in the `daemon` row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_run(&mut self, run: &Run) -> Result<(), QueueError> {
        let at = run.started.unix.seconds();
        sqlx::query(
            "UPDATE daemon SET run_id = ?, pid = ?, version = ?, started_at = ?, heartbeat_at = ?, mode = 'running',
                    why = NULL, why_code = NULL, why_parameters = NULL; DELETE FROM incidents",
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

/// Checks that this run still holds the queue.
pub(super) async fn check(connection: &mut SqliteConnection, run: &Run) -> Result<(), QueueError> {
    let holder: Holder = sqlx::query_as("SELECT run_id, pid FROM daemon")
        .fetch_one(connection)
        .await
        .map_err(QueueError::of("checking the run"))?;
    holder.check(run)
}

/// Clears a request to probe.
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
    let why = heartbeat.incidents.first().map(|incident| &incident.cause);
    let incidents: Vec<Value> = heartbeat.incidents.iter().map(to_json).collect();
    sqlx::query(
        "UPDATE daemon SET heartbeat_at = ?1, mode = ?2, why = ?3, why_code = ?4, why_parameters = ?5, pace = ?6;
         DELETE FROM incidents;
         INSERT INTO incidents (position, code, parameters, why, since, probes, last_probe_at, next_probe_at)
           SELECT key, value ->> 'code', value ->> 'parameters', value ->> 'why', value ->> 'since', value ->> 'probes',
                  value ->> 'last', value ->> 'next' FROM jsonb_each(?7)",
    )
    .bind(now.seconds())
    .bind(heartbeat.mode.as_str())
    .bind(why.map(Cause::to_string))
    .bind(why.map(Cause::code))
    .bind(why.and_then(Cause::parameters))
    .bind(heartbeat.pace)
    .bind(Value::from(incidents).to_string())
    .execute(connection)
    .await
    .map_err(QueueError::of("writing the heartbeat"))?;
    Ok(())
}

/// The columns of an incident.
fn to_json(Incident { cause, since, probes }: &Incident) -> Value {
    json!({ "code": cause.code(), "parameters": cause.parameters(), "why": cause.to_string(), "probes": probes.failed,
            "since": since.map(UnixMillis::seconds), "last": probes.last.map(UnixMillis::seconds),
            "next": probes.next.map(UnixMillis::seconds_rounded_up) })
}

/// Pauses. An operator's text is stored verbatim; certcommit's own includes the remedy, for those who read it with SQL. A
/// queue whose schema has no codes yet, such as a copy made before a migration, gets only the text.
pub(super) async fn pause(connection: &mut SqliteConnection, cause: &Cause) -> Result<(), sqlx::Error> {
    if let Cause::Pause(PauseCause::ByOperator { reason }) = cause {
        return write_pause(connection, reason.as_ref().map(Quote::to_string), None).await;
    }
    let text = format!("{cause}. What to do: {}", cause.remedy());
    let has_codes = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('control') WHERE name = 'pause_code')";
    let has_codes: bool = sqlx::query_scalar(has_codes).fetch_one(&mut *connection).await?;
    write_pause(connection, Some(text), Some(cause).filter(|_| has_codes)).await
}

/// Resumes, and asks for a probe at once.
pub(super) async fn resume(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE control SET paused = 0, pause_reason = NULL, probe_requested = 1").execute(connection).await?;
    Ok(())
}

async fn write_pause(
    connection: &mut SqliteConnection,
    text: Option<String>,
    cause: Option<&Cause>,
) -> Result<(), sqlx::Error> {
    let update = sqlx::query("UPDATE control SET paused = 1, pause_reason = ?, probe_requested = 0").bind(text);
    update.execute(&mut *connection).await?;
    // In this order: a trigger clears the previous code when the text changes.
    if let Some(cause) = cause {
        let code = sqlx::query("UPDATE control SET pause_code = ?, pause_parameters = ?").bind(cause.code());
        code.bind(cause.parameters()).execute(connection).await?;
    }
    Ok(())
}
