//! Is the database whole? Of the structure after an unclean stop, beside the daemon's work; of everything, on request.

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
use super::state_counts::DIFFERENCES;
use super::untrusted_text::UntrustedText;

/// Of each kind of damage, so many are told.
const MOST_FINDINGS: usize = 10;
/// A check looks this often, in SQLite's own steps, whether it is to give up.
const STEPS: i32 = 1000;

/// What must be so in a queue besides its structure: a query for what is otherwise, and what to say of it.
const INVARIANTS: [(&str, &str); 9] = [
    (DIFFERENCES, "state_counts disagrees with the rows: "),
    (
        "SELECT certificate_id FROM submissions s
          WHERE state NOT IN (SELECT state FROM state_counts)",
        "a state that there isn't: ",
    ),
    (
        "SELECT certificate_id FROM submissions s
          WHERE state = 'in_flight' AND NOT EXISTS (SELECT 1 FROM requests r
                 WHERE r.certificate_id = s.certificate_id AND r.kind = 'commit' AND r.finished_at IS NULL)",
        "in flight without a request on its way: ",
    ),
    (
        "SELECT certificate_id FROM requests r
          WHERE finished_at IS NULL AND kind = 'commit' AND NOT EXISTS (SELECT 1 FROM submissions s
                 WHERE s.certificate_id = r.certificate_id AND s.state = 'in_flight')",
        "a commit on its way for a submission that isn't in flight: ",
    ),
    (
        "SELECT certificate_id FROM submissions WHERE state = 'submitted' AND (order_id IS NULL OR resolved_by IS NULL)",
        "submitted without an order, or without who established it: ",
    ),
    (
        "SELECT max(number) FROM requests
          HAVING max(number) > coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0)",
        "the numbers of requests could restart below: ",
    ),
    (
        "SELECT certificate_id FROM submissions GROUP BY certificate_id HAVING count(*) > 1",
        "in the queue more than once: ",
    ),
    (
        "SELECT certificate_id FROM requests WHERE finished_at IS NULL GROUP BY certificate_id HAVING count(*) > 1",
        "more than one request on its way: ",
    ),
    (
        "SELECT certificate_id FROM submissions s
          WHERE (tries > 0 OR state = 'submitted' AND resolved_by <> 'operator') AND NOT EXISTS (SELECT 1 FROM requests r
                 WHERE r.certificate_id = s.certificate_id)",
        "sent, by its row, and without any request on record: ",
    ),
];

/// Checks the structure of a database, a table at a time, on a connection of its own: nobody waits for it, and the
/// write-ahead log grows only for as long as one table takes. What it found; none, if it was told to give up before.
///
/// # Errors
/// When the database can't be read, for another reason than damage.
pub async fn inspect(path: &Path, give_up: Arc<AtomicBool>) -> Result<Option<Vec<String>>, QueueError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let found = quick_check(options, give_up).await;
    match found {
        Err(error) if primary_code(&error) == Some(INTERRUPT) => Ok(None),
        found => found.or_else(|error| damage(&error)).map(Some),
    }
}

/// Damage that SQLite met before it could tell of it as a finding is one too.
fn damage(error: &sqlx::Error) -> Result<Vec<String>, QueueError> {
    let error = QueueError::about("checking the database", error);
    if let QueueError::Damaged(Fault { detail, .. }) = error { Ok(vec![detail]) } else { Err(error) }
}

async fn quick_check(options: SqliteConnectOptions, give_up: Arc<AtomicBool>) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = options.connect().await?;
    let goes_on = move || !give_up.load(Ordering::Relaxed);
    connection.lock_handle().await?.set_progress_handler(STEPS, goes_on);
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await?;
    let mut findings = Vec::new();
    for table in tables {
        let check = format!("PRAGMA quick_check(\"{}\")", table.replace('"', "\"\""));
        let verdicts: Vec<UntrustedText> = sqlx::query_scalar(AssertSqlSafe(check)).fetch_all(&mut connection).await?;
        findings.extend(complaints(verdicts));
    }
    connection.close().await?;
    Ok(findings)
}

fn complaints(verdicts: Vec<UntrustedText>) -> impl Iterator<Item = String> {
    verdicts.into_iter().map(|verdict| verdict.to_string()).filter(|verdict| verdict != "ok").take(MOST_FINDINGS)
}

impl Queue {
    /// Checks everything: the structure with every index, the rules, and what must be so between rows. What is not as it
    /// should be, a sentence each. It reads the whole database, and nobody has to wait for it.
    ///
    /// # Errors
    /// When the database can't be read, for another reason than damage.
    pub async fn check_integrity(&mut self) -> Result<Vec<String>, QueueError> {
        let mark = RestoreMarker::look(self.path())?;
        let mut findings = self.structure().await.or_else(|error| damage(&error))?;
        match self.flaws().await {
            Ok(flaws) => findings.extend(flaws.iter().map(ToString::to_string)),
            Err(QueueError::Damaged(Fault { detail, .. })) if findings.is_empty() => return Ok(vec![detail]),
            Err(QueueError::Damaged(_)) => return Ok(findings),
            Err(error) => return Err(error),
        }
        for (query, words) in INVARIANTS {
            findings.extend(self.broken(query, words).await?);
        }
        match self.gap(mark).await {
            // A copy that lies somewhere has no mark, and may be whole.
            Ok(None | Some(RestoreGap::Unmarked { .. })) => {}
            Ok(Some(gap)) => findings.push(gap.to_string()),
            Err(error) => findings.extend(unanswered(error)?),
        }
        Ok(findings)
    }

    async fn structure(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let verdicts = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut self.connection).await?;
        Ok(complaints(verdicts).collect())
    }

    /// The rows for which this isn't so.
    async fn broken(&mut self, query: &'static str, words: &str) -> Result<Vec<String>, QueueError> {
        let found: Result<Vec<UntrustedText>, _> = sqlx::query_scalar(query).fetch_all(&mut self.connection).await;
        match found {
            Ok(found) => Ok(found.iter().take(MOST_FINDINGS).map(|found| format!("{words}{found}")).collect()),
            Err(error) => unanswered(QueueError::about("checking the rows", &error)),
        }
    }
}

/// Where a table or a column is missing, or damaged, which is told already, not all can be asked.
fn unanswered(error: QueueError) -> Result<Vec<String>, QueueError> {
    if matches!(error, QueueError::Failed(_) | QueueError::Damaged(_)) {
        return Ok(Vec::new());
    }
    Err(error)
}
