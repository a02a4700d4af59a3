//! The queue at a glance, for `status`. The cost of its queries barely depends on the length of the queue.

use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::counts::Counts;
use super::due_order::PRIORITIES;
use super::error::QueueError;
use super::failures::FailedGroup;
use super::run::{Control, Mode};
use super::snapshot::{Snapshot, snapshot};
use super::stored_cause::{Parameters, stored_cause};
use super::untrusted_text::UntrustedText;
use crate::cause::{Cause, Incident, Probes};
use crate::clock::UnixMillis;
use crate::submission::Standing;

/// A daemon writes its row every ten seconds; one that hasn't for this many seconds is silent.
const SILENT_AFTER: i64 = 35;

/// How many minutes the status covers.
pub const MINUTES: usize = 30;

/// An upper bound of commits and readbacks per second, which limits how many requests are read.
const MAX_REQUESTS_PER_SECOND: i64 = 30;
/// The submissions with one error code are counted up to this number.
const MAX_COUNTED: i64 = 10_000;
/// How many error codes are read.
const MAX_CODES: i64 = 50;
/// How many of them are shown.
const CODES_SHOWN: i64 = 5;
/// So many requests are looked through for one that was refused for its rate.
const NEWEST_REQUESTS: i64 = 2_000;
/// How many groups of submissions are shown of each code.
const GROUPS_SHOWN: i64 = 3;

/// Of the submissions with the lowest id in each open state, the one that was created first.
pub(super) const OLDEST: &str =
    "SELECT certificate_id, state, CAST(created_at AS INTEGER) AS created_at FROM submissions WHERE id IN (
               SELECT min(id) FROM submissions WHERE state = 'pending' UNION ALL
               SELECT min(id) FROM submissions WHERE state = 'in_flight' UNION ALL
               SELECT min(id) FROM submissions WHERE state = 'in_doubt') ORDER BY 3, id LIMIT 1";

/// The latest due time, from the end of each range of the indexes on it.
pub(super) const LAST_DUE: &str = "WITH RECURSIVE priorities(priority) AS (
               SELECT 0 UNION ALL SELECT priority + 1 FROM priorities WHERE priority + 1 < ?1)
             SELECT CAST(max(due) AS INTEGER) FROM (
               SELECT (SELECT max(due_at) FROM submissions WHERE state = 'pending' AND priority = priorities.priority) AS due
                 FROM priorities
               UNION ALL SELECT max(due_at) FROM submissions WHERE state = 'in_doubt')";

/// Anyone may write this row; values of a wrong type must not make the query fail.
const DAEMON: &str = "SELECT run_id, CAST(pid AS INTEGER) AS pid, version, CAST(started_at AS INTEGER) AS started_at,
               CAST(heartbeat_at AS INTEGER) AS heartbeat_at, mode, why, why_code, why_parameters,
               CAST(pace AS REAL) AS pace FROM daemon";

/// So many rows at most: anyone may write them.
const INCIDENTS: &str =
    "SELECT code, parameters, why, CAST(since AS INTEGER) AS since, CAST(probes AS INTEGER) AS probes,
               CAST(last_probe_at AS INTEGER) AS last_probe_at, CAST(next_probe_at AS INTEGER) AS next_probe_at
              FROM incidents ORDER BY position LIMIT 10";

/// Steps from code to code in the index, and counts each up to a limit. The null at the end is for submissions without a
/// code.
pub(super) const FREQUENT_ERRORS: &str = "WITH RECURSIVE codes(code) AS (
               SELECT min(error_code) FROM submissions WHERE state = 'failed'
               UNION ALL
               SELECT (SELECT min(error_code) FROM submissions WHERE state = 'failed' AND error_code > code)
                 FROM codes WHERE code IS NOT NULL LIMIT ?2)
             SELECT code, min(n, ?1) AS count, n > ?1 AS at_least FROM (
               SELECT code, (SELECT count(*) FROM (
                        SELECT 1 FROM submissions WHERE state = 'failed' AND error_code IS code LIMIT ?1 + 1)) AS n
                 FROM codes)
              WHERE n > 0 ORDER BY n DESC, code LIMIT ?3";

/// The largest groups of submissions with an error code, among so many of them, that share the server's words, the verify type
/// and the reference. Words that differ only in the certificate's ID are the same.
pub(super) const LARGEST_GROUPS: &str = "SELECT ?1 AS error_code, words AS error_message, verify_type, reference, count(*) AS count,
               CAST(min(updated_at) AS INTEGER) AS since
              FROM (SELECT replace(error_message, certificate_id, 'ID') AS words, verify_type, reference, updated_at FROM submissions
                     WHERE state = 'failed' AND error_code IS ?1 LIMIT ?2)
             GROUP BY words, verify_type, reference ORDER BY count(*) DESC, words, reference, verify_type LIMIT ?3";

/// Reads backwards from the newest request. The submissions that changed in that time may be many more, after a large
/// enqueue.
pub(super) const PER_MINUTE: &str = "SELECT max(0, (?1 - finished_at) / 60000) AS ago, count(*) FROM requests
              WHERE number > (SELECT max(number) FROM requests) - ?2 AND finished_at > ?1 - ?3
                AND outcome IN ('submitted', 'committed') GROUP BY 1";

/// The server's code of the newest commit that it refused for its rate, among the newest requests.
pub(super) const THROTTLED_WITH: &str = "SELECT error_code FROM requests
              WHERE number > (SELECT max(number) FROM requests) - ?1 AND outcome = 'throttled' AND kind = 'commit'
              ORDER BY number DESC LIMIT 1";

/// The daemon's last heartbeat, or the newest time of its newest requests, whichever is later.
pub(super) const LAST_WRITE: &str = "SELECT max(coalesce((SELECT CAST(heartbeat_at AS INTEGER) * 1000 FROM daemon), 0),
               coalesce((SELECT max(max(started_at, coalesce(finished_at, 0))) FROM requests
                          WHERE number > (SELECT max(number) FROM requests) - 100), 0))";

/// The queue at a glance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// Submissions by state.
    pub counts: Counts,
    /// Whether the stored counts are wrong; if so, these were counted row by row.
    pub miscounted: bool,
    /// The daemon's row.
    pub daemon: DaemonRow,
    /// What operators ask of the daemon.
    pub control: Control,
    /// What stops commits or readbacks, the first to act on first.
    pub incidents: Vec<IncidentRow>,
    /// The oldest open submission.
    pub oldest: Option<Oldest>,
    /// When the next submission is due, in unix seconds.
    pub next_due: Option<i64>,
    /// When the last open submission is due, in unix seconds.
    pub last_due: Option<i64>,
    /// The most frequent error codes of failed submissions.
    pub errors: Vec<ErrorCount>,
    /// How many followed orders wait for a person, by where they stand.
    pub waiting_orders: Vec<(Standing, i64)>,
    /// Submissions that succeeded in each of the last [`MINUTES`], the current minute last.
    pub per_minute: [i64; MINUTES],
    /// The server's code of the newest commit that it refused for its rate, if that was lately.
    pub throttled_with: Option<UntrustedText>,
    /// When the daemon last wrote anything, in unix milliseconds.
    pub last_write_at: Option<i64>,
}

/// What operators ask of the daemon, and what it does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Situation {
    /// What operators ask.
    pub control: Control,
    /// The daemon's row.
    pub daemon: DaemonRow,
    /// What stops commits or readbacks, the first to act on first.
    pub incidents: Vec<IncidentRow>,
}

/// The row `daemon`.
#[derive(Debug, Clone, PartialEq, Default, sqlx::FromRow)]
pub struct DaemonRow {
    /// The run that wrote it.
    pub run_id: Option<UntrustedText>,
    /// Its process.
    pub pid: Option<i64>,
    /// Its version.
    pub version: Option<UntrustedText>,
    /// When it started, in unix seconds.
    pub started_at: Option<i64>,
    /// When it last wrote, in unix seconds.
    pub heartbeat_at: Option<i64>,
    /// What it is doing.
    pub mode: UntrustedText,
    /// Why, as text.
    pub why: Option<UntrustedText>,
    /// The code of the cause.
    pub why_code: Option<UntrustedText>,
    /// The parameters of the cause.
    pub why_parameters: Option<Parameters>,
    /// Commits a second.
    pub pace: Option<f64>,
}

impl DaemonRow {
    /// Why it isn't running, if this version knows the cause; otherwise there is only the text.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        stored_cause(self.why_code.as_ref(), self.why_parameters.as_ref())
    }

    /// Whether a daemon that is alive, and has begun its run, has written nothing for too long. `now` in unix seconds.
    #[must_use]
    pub fn is_silent(&self, now: i64) -> bool {
        let has_begun = self.mode.as_str() != Mode::Stopped.as_str();
        has_begun && self.heartbeat_at.is_some_and(|at| now - at > SILENT_AFTER)
    }

    /// Whether it last wrote that an operator paused it.
    #[must_use]
    pub fn is_paused_by_operator(&self) -> bool {
        self.mode.as_str() == Mode::PausedByOperator.as_str()
    }

    /// Whether it last wrote that it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.mode.as_str() == Mode::Running.as_str()
    }
}

/// A row of `incidents`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct IncidentRow {
    /// The code of the cause.
    pub code: UntrustedText,
    /// The parameters of the cause.
    pub parameters: Option<Parameters>,
    /// The cause as text: all there is, if this version doesn't know the code.
    pub why: UntrustedText,
    /// Since when, in unix seconds.
    pub since: Option<i64>,
    /// How many probes found that it isn't over.
    pub probes: i64,
    /// When the last of them ended, in unix seconds.
    pub last_probe_at: Option<i64>,
    /// When the next one is due, in unix seconds.
    pub next_probe_at: Option<i64>,
}

/// The incidents besides the pause that operators ask for, which the daemon reports too.
pub fn besides<'a>(control: &Control, incidents: &'a [IncidentRow]) -> impl Iterator<Item = &'a IncidentRow> {
    let own = control.cause().map(|cause| cause.code());
    incidents.iter().filter(move |row| own != Some(row.code.as_str()))
}

impl IncidentRow {
    /// The cause, if this version knows it.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        stored_cause(Some(&self.code), self.parameters.as_ref())
    }

    /// What probes found.
    #[must_use]
    pub fn found(&self) -> Probes {
        Probes {
            failed: u32::try_from(self.probes).unwrap_or_default(),
            last: self.last_probe_at.map(UnixMillis::of_seconds),
            next: self.next_probe_at.map(UnixMillis::of_seconds),
        }
    }

    /// The incident, if this version knows its cause.
    #[must_use]
    pub fn incident(&self) -> Option<Incident> {
        let since = self.since.map(UnixMillis::of_seconds);
        Some(Incident { probes: self.found(), ..Incident::new(self.cause()?, since) })
    }
}

/// An open submission.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Oldest {
    /// The certificate.
    pub certificate_id: UntrustedText,
    /// Its state.
    pub state: UntrustedText,
    /// When it was enqueued, in unix seconds.
    pub created_at: i64,
}

/// How many submissions failed with an error code.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ErrorCount {
    /// The code; none for submissions that failed because of a readback or an operator's decision.
    pub code: Option<UntrustedText>,
    /// How many failed submissions have it.
    pub count: i64,
    /// Whether there may be more: counting stops at a limit.
    pub at_least: bool,
    /// The largest groups of them that share the server's words, the verify type and the reference, the largest first.
    #[sqlx(skip)]
    pub groups: Vec<FailedGroup>,
}

impl Queue {
    /// What operators ask of the daemon, and what it does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn situation(&mut self) -> Result<Situation, QueueError> {
        let control = snapshot(&mut self.connection).await?.state.control;
        let daemon = sqlx::query_as(DAEMON).fetch_one(&mut self.connection).await;
        let daemon = daemon.map_err(QueueError::of("reading the status"))?;
        Ok(Situation { control, daemon, incidents: incidents(&mut self.connection).await? })
    }

    /// The queue at a glance. `now` in unix seconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status(&mut self, now: i64) -> Result<Status, QueueError> {
        let failed = QueueError::of("reading the status");
        let Snapshot { state, counts, miscounted } = snapshot(&mut self.connection).await?;
        let counts = if miscounted { self.count().await? } else { counts };
        let oldest = self.oldest().await?;
        let connection = &mut self.connection;
        let daemon = sqlx::query_as(DAEMON).fetch_one(&mut *connection).await.map_err(&failed)?;
        let incidents = incidents(&mut *connection).await?;
        let last_due = sqlx::query_scalar(LAST_DUE).bind(PRIORITIES).fetch_one(&mut *connection);
        let last_due = last_due.await.map_err(&failed)?;
        let errors = sqlx::query_as(FREQUENT_ERRORS).bind(MAX_COUNTED).bind(MAX_CODES).bind(CODES_SHOWN);
        let mut errors: Vec<ErrorCount> = errors.fetch_all(&mut *connection).await.map_err(&failed)?;
        for error in &mut errors {
            let groups =
                sqlx::query_as(LARGEST_GROUPS).bind(error.code.as_deref()).bind(MAX_COUNTED).bind(GROUPS_SHOWN);
            error.groups = groups.fetch_all(&mut *connection).await.map_err(&failed)?;
        }
        let waiting_orders = self.count_standing(&Standing::FOR_A_PERSON).await?;
        let connection = &mut self.connection;
        let throttled_with = sqlx::query_scalar(THROTTLED_WITH).bind(NEWEST_REQUESTS).fetch_optional(&mut *connection);
        let throttled_with: Option<Option<UntrustedText>> = throttled_with.await.map_err(&failed)?;
        let last_write_at = sqlx::query_scalar(LAST_WRITE).fetch_one(&mut *connection).await.map_err(&failed)?;
        let minutes = i64::try_from(MINUTES).unwrap_or(i64::MAX);
        let succeeded: Vec<(i64, i64)> = sqlx::query_as(PER_MINUTE)
            .bind(now.saturating_mul(1000))
            .bind(minutes * 60 * MAX_REQUESTS_PER_SECOND)
            .bind(minutes * 60_000)
            .fetch_all(connection)
            .await
            .map_err(failed)?;
        let mut per_minute = [0; MINUTES];
        for (ago, count) in succeeded {
            let slot = usize::try_from(ago).ok().and_then(|ago| per_minute.iter_mut().rev().nth(ago));
            if let Some(slot) = slot {
                *slot = count;
            }
        }
        let next_due = state.next_commit.into_iter().chain(state.next_readback).min();
        Ok(Status {
            counts,
            miscounted,
            daemon,
            control: state.control,
            incidents,
            oldest,
            next_due,
            last_due,
            errors,
            waiting_orders,
            per_minute,
            throttled_with: throttled_with.flatten(),
            last_write_at,
        })
    }

    /// When the oldest open submission was created, in unix seconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_open(&mut self) -> Result<Option<i64>, QueueError> {
        Ok(self.oldest().await?.map(|oldest| oldest.created_at))
    }

    async fn oldest(&mut self) -> Result<Option<Oldest>, QueueError> {
        let failed = QueueError::of("looking for the oldest submission");
        sqlx::query_as(OLDEST).fetch_optional(&mut self.connection).await.map_err(failed)
    }
}

async fn incidents(connection: &mut SqliteConnection) -> Result<Vec<IncidentRow>, QueueError> {
    sqlx::query_as(INCIDENTS).fetch_all(connection).await.map_err(QueueError::of("reading the status"))
}
