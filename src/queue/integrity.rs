//! Is the database whole? Of the structure after an unclean stop, beside the daemon's work; of everything, on request.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::error::{QueueError, is_interrupted};
use super::open::{BUSY_TIMEOUT, MIGRATIONS, Queue};
use super::shown::Shown;

/// Of each kind of damage, so many are told.
const MOST_FINDINGS: usize = 10;
/// A check looks this often, in SQLite's own steps, whether it is to give up.
const STEPS: i32 = 1000;

/// What must be so in a queue besides its structure: a query for what is otherwise, and what to say of it.
const INVARIANTS: [(&str, &str); 6] = [
    (
        "SELECT n.state || ': ' || n.count || ', and ' || (SELECT count(*) FROM submissions s WHERE s.state = n.state)
           FROM state_counts n WHERE n.count <> (SELECT count(*) FROM submissions s WHERE s.state = n.state)",
        "state_counts says otherwise than the rows: ",
    ),
    (
        "SELECT certificate_id FROM submissions s
          WHERE state NOT IN ('pending', 'in_flight', 'in_doubt', 'submitted', 'failed', 'held', 'canceled')",
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
        Err(error) if is_interrupted(&error) => Ok(None),
        found => found.or_else(|error| damage(&error)).map(Some),
    }
}

/// Damage that SQLite met before it could tell of it as a finding is one too.
fn damage(error: &sqlx::Error) -> Result<Vec<String>, QueueError> {
    let error = QueueError::about("checking the database", error);
    if let QueueError::Damaged { detail, .. } = error { Ok(vec![detail]) } else { Err(error) }
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
        let verdicts: Vec<Shown> = sqlx::query_scalar(AssertSqlSafe(check)).fetch_all(&mut connection).await?;
        findings.extend(complaints(verdicts));
    }
    connection.close().await?;
    Ok(findings)
}

fn complaints(verdicts: Vec<Shown>) -> impl Iterator<Item = String> {
    verdicts.into_iter().map(|verdict| verdict.to_string()).filter(|verdict| verdict != "ok").take(MOST_FINDINGS)
}

impl Queue {
    /// Checks everything: the structure with every index, the rules, and what must be so between rows. What is not as it
    /// should be, a sentence each. It reads the whole database, and nobody has to wait for it.
    ///
    /// # Errors
    /// When the database can't be read, for another reason than damage.
    pub async fn check_integrity(&mut self) -> Result<Vec<String>, QueueError> {
        self.everything().await.or_else(|error| damage(&error))
    }

    async fn everything(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let verdicts = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut self.connection).await?;
        let mut findings: Vec<String> = complaints(verdicts).collect();
        findings.extend(self.missing_rules().await?);
        for (query, words) in INVARIANTS {
            let found: Vec<Shown> = sqlx::query_scalar(query).fetch_all(&mut self.connection).await?;
            findings.extend(found.iter().take(MOST_FINDINGS).map(|found| format!("{words}{found}")));
        }
        Ok(findings)
    }

    /// Tables, views, indexes and rules that are not there as certcommit made them. What somebody added is theirs.
    async fn missing_rules(&mut self) -> Result<Vec<String>, sqlx::Error> {
        const SCHEMA: &str =
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
        let mut model = SqliteConnection::connect("sqlite::memory:").await?;
        MIGRATIONS.run(&mut model).await?;
        let expected: Vec<(String, String, String)> = sqlx::query_as(SCHEMA).fetch_all(&mut model).await?;
        let found: Vec<(String, String, String)> = sqlx::query_as(SCHEMA).fetch_all(&mut self.connection).await?;
        let missing = expected.iter().filter(|object| !found.contains(object)).map(|(kind, name, _)| {
            let there = found.iter().any(|(_, other, _)| other == name);
            format!("the {kind} {name} is {}", if there { "altered" } else { "missing" })
        });
        Ok(missing.collect())
    }
}
