//! Integrity checks: of the structure, while the daemon works, after an unclean stop; of everything, on request.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::connection::{BUSY_TIMEOUT, Queue};
use super::error::{Fault, QueueError};
use super::files::restore_marker::RestoreMarker;
use super::restore_gap::RestoreGap;
use super::result_code::{INTERRUPT, primary_code};
use super::schema::rebuild::quoted;
use super::state_counts::DIFFERENCES;
use super::untrusted_text::UntrustedText;

/// How many findings of each kind are reported.
const MAX_FINDINGS: usize = 10;
/// How many virtual machine instructions SQLite runs before a check tests again whether to give up.
const INSTRUCTIONS: i32 = 1000;

/// The invariants between the rows of a queue: for each, a query for the rows that break it, and how a finding begins.
const INVARIANTS: [(&str, &str); 9] = [
    (DIFFERENCES, "state_counts disagrees with the rows: "),
    (
        "SELECT certificate_id FROM submissions s
          WHERE state NOT IN (SELECT state FROM state_counts)",
        "unknown state: ",
    ),
    (
        "SELECT certificate_id FROM submissions s
          WHERE state = 'in_flight' AND NOT EXISTS (SELECT 1 FROM requests r
                 WHERE r.certificate_id = s.certificate_id AND r.kind = 'commit' AND r.finished_at IS NULL)",
        "in flight without an unfinished request: ",
    ),
    (
        "SELECT certificate_id FROM requests r
          WHERE finished_at IS NULL AND kind = 'commit' AND NOT EXISTS (SELECT 1 FROM submissions s
                 WHERE s.certificate_id = r.certificate_id AND s.state = 'in_flight')",
        "an unfinished commit for a submission that isn't in flight: ",
    ),
    (
        "SELECT certificate_id FROM submissions WHERE state = 'submitted' AND (order_id IS NULL OR resolved_by IS NULL)",
        "submitted without an order, or without resolved_by: ",
    ),
    (
        "SELECT max(number) FROM requests
          HAVING max(number) > coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0)",
        "numbers of requests could be reused up to: ",
    ),
    (
        "SELECT certificate_id FROM submissions GROUP BY certificate_id HAVING count(*) > 1",
        "in the queue more than once: ",
    ),
    (
        "SELECT certificate_id FROM requests WHERE finished_at IS NULL GROUP BY certificate_id HAVING count(*) > 1",
        "more than one unfinished request: ",
    ),
    (
        "SELECT certificate_id FROM submissions s
          WHERE (tries > 0 OR state = 'submitted' AND resolved_by <> 'operator') AND NOT EXISTS (SELECT 1 FROM requests r
                 WHERE r.certificate_id = s.certificate_id)",
        "its row says that it was sent, but no request is on record: ",
    ),
];

/// Checks the structure of a database on a separate connection, one table at a time: it blocks nothing, and delays
/// checkpoints no longer than one table takes. Returns the findings; none if it gave up.
///
/// # Errors
/// When the database can't be read, for a reason other than damage.
pub async fn inspect(path: &Path, give_up: Arc<AtomicBool>) -> Result<Option<Vec<String>>, QueueError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    match quick_check(options, give_up).await {
        Err(error) if primary_code(&error) == Some(INTERRUPT) => Ok(None),
        found => found.or_else(damage).map(Some),
    }
}

/// Damage that makes SQLite fail before it can report a finding is a finding, too.
fn damage(error: sqlx::Error) -> Result<Vec<String>, QueueError> {
    let error = QueueError::of("checking the database")(error);
    if let QueueError::Damaged(Fault { detail, .. }) = error { Ok(vec![detail]) } else { Err(error) }
}

async fn quick_check(options: SqliteConnectOptions, give_up: Arc<AtomicBool>) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = options.connect().await?;
    let keep_going = move || !give_up.load(Ordering::Relaxed);
    connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, keep_going);
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await?;
    let mut findings = Vec::new();
    for table in tables {
        let check = AssertSqlSafe(format!("PRAGMA quick_check({})", quoted(&table)));
        findings.extend(findings_in(sqlx::query_scalar(check).fetch_all(&mut connection).await?));
    }
    connection.close().await?;
    Ok(findings)
}

fn findings_in(verdicts: Vec<UntrustedText>) -> impl Iterator<Item = String> {
    verdicts.into_iter().map(|verdict| verdict.to_string()).filter(|verdict| verdict != "ok").take(MAX_FINDINGS)
}

impl Queue {
    /// Checks everything: the structure with every index, the schema, and the invariants between rows. Returns a sentence for
    /// each finding. It reads the whole database, and blocks nothing.
    ///
    /// # Errors
    /// When the database can't be read, for a reason other than damage.
    pub async fn check_integrity(&mut self) -> Result<Vec<String>, QueueError> {
        // Before the database, because a running daemon makes more requests.
        let marker = RestoreMarker::look(self.path())?;
        let structure = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut self.connection).await;
        let mut findings = structure.map(|verdicts| findings_in(verdicts).collect()).or_else(damage)?;
        match self.flaws().await {
            Ok(flaws) => findings.extend(flaws.iter().map(ToString::to_string)),
            Err(QueueError::Damaged(Fault { detail, .. })) if findings.is_empty() => return Ok(vec![detail]),
            Err(QueueError::Damaged(_)) => return Ok(findings),
            Err(error) => return Err(error),
        }
        for (query, prefix) in INVARIANTS {
            let limited = AssertSqlSafe(format!("{query} LIMIT {MAX_FINDINGS}"));
            let broken = sqlx::query_scalar(limited).fetch_all(&mut self.connection).await;
            let broken: Vec<UntrustedText> =
                default_if_unreadable(broken.map_err(QueueError::of("checking the rows")))?;
            findings.extend(broken.iter().map(|row| format!("{prefix}{row}")));
        }
        match default_if_unreadable(self.gap(marker).await)? {
            // A copy has no marker, and may be intact.
            None | Some(RestoreGap::Unmarked { .. }) => {}
            Some(gap) => findings.push(gap.to_string()),
        }
        Ok(findings)
    }
}

/// A query fails if a table or a column is missing or damaged; that is already among the findings.
fn default_if_unreadable<T: Default>(result: Result<T, QueueError>) -> Result<T, QueueError> {
    if let Err(QueueError::Failed(_) | QueueError::Damaged(_)) = result { Ok(T::default()) } else { result }
}
