//! Submissions on their way into the queue, in a temporary database of their own: a file with a million lines takes little
//! memory, and nobody waits for a lock while it is read.

use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::connection::Queue;
use super::enqueue::{Enqueued, NewSubmission, insert_all};
use super::error::{Fault, QueueError};
use crate::submission::{CertificateId, VerifyType};

/// So many are read at a time.
const STEP: i64 = 5_000;
const ADD: &str = "INSERT OR IGNORE INTO staged (line, certificate_id, verify_type, priority, due_at, reference)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?) ORDER BY key";
const WHAT: &str = "keeping the lines in a temporary database";

/// A submission, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its line in a file, from 1.
    pub line: Option<u64>,
    /// The submission.
    pub submission: NewSubmission,
}

/// Submissions in the order in which they came, each certificate once.
#[derive(Debug)]
pub struct Staging {
    connection: SqliteConnection,
    distinct: u64,
}

#[derive(sqlx::FromRow)]
struct Row {
    position: i64,
    line: Option<i64>,
    certificate_id: String,
    verify_type: Option<String>,
    priority: u8,
    due_at: Option<i64>,
    reference: Option<String>,
}

impl Staging {
    /// An empty one. Its file is deleted when it is dropped.
    ///
    /// # Errors
    /// When the temporary directory can't be used.
    pub async fn new() -> Result<Self, QueueError> {
        // Without a name, SQLite makes a temporary file.
        let mut connection = SqliteConnectOptions::new().filename("").connect().await.map_err(QueueError::of(WHAT))?;
        sqlx::raw_sql(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
             CREATE TABLE staged (position INTEGER PRIMARY KEY, line INTEGER, certificate_id TEXT NOT NULL UNIQUE,
                                  verify_type TEXT, priority INTEGER NOT NULL, due_at INTEGER, reference TEXT)",
        )
        .execute(&mut connection)
        .await
        .map_err(QueueError::of(WHAT))?;
        Ok(Self { connection, distinct: 0 })
    }

    /// How many different certificates there are.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Adds these. Returns how many name a certificate that is there already; they are left out.
    ///
    /// # Errors
    /// When the temporary directory is full.
    pub async fn add(&mut self, submissions: &[Staged]) -> Result<u64, QueueError> {
        let rows: Value = submissions.iter().map(to_json).collect();
        let added = sqlx::query(ADD)
            .bind(rows.to_string())
            .execute(&mut self.connection)
            .await
            .map_err(QueueError::of(WHAT))?;
        self.distinct += added.rows_affected();
        Ok(u64::try_from(submissions.len()).unwrap_or_default().saturating_sub(added.rows_affected()))
    }

    /// The next ones after this position, and their last position.
    async fn after(&mut self, position: i64) -> Result<(Vec<Staged>, i64), QueueError> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM staged WHERE position > ? ORDER BY position LIMIT ?")
            .bind(position)
            .bind(STEP)
            .fetch_all(&mut self.connection)
            .await
            .map_err(QueueError::of(WHAT))?;
        let last = rows.last().map_or(position, |row| row.position);
        let staged = rows.into_iter().map(Staged::try_from).collect::<Result<_, _>>()?;
        Ok((staged, last))
    }
}

fn to_json(staged: &Staged) -> Value {
    let NewSubmission { certificate_id, verify_type, priority, due_at, reference } = &staged.submission;
    json!([staged.line, certificate_id.as_str(), verify_type.map(VerifyType::as_str), priority, due_at, reference])
}

impl TryFrom<Row> for Staged {
    type Error = QueueError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let altered = |error: String| QueueError::Failed(Fault { what: Some(WHAT), detail: error });
        let certificate_id: CertificateId = row.certificate_id.parse().map_err(|error| altered(format!("{error}")))?;
        let verify_type = row.verify_type.map(|text| text.parse::<VerifyType>()).transpose();
        let verify_type = verify_type.map_err(|error| altered(format!("{error}")))?;
        let Row { line, priority, due_at, reference, .. } = row;
        let submission = NewSubmission { certificate_id, verify_type, priority, due_at, reference };
        Ok(Self { line: line.and_then(|line| u64::try_from(line).ok()), submission })
    }
}

impl Queue {
    /// How many of these certificates are in the queue already.
    ///
    /// # Errors
    /// When a database fails.
    pub async fn known(&mut self, staging: &mut Staging) -> Result<u64, QueueError> {
        let (mut known, mut position) = (0, 0);
        loop {
            let (step, last) = staging.after(position).await?;
            if step.is_empty() {
                return Ok(known);
            }
            position = last;
            let ids: Vec<&str> = step.iter().map(|staged| staged.submission.certificate_id.as_str()).collect();
            let found: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM json_each(?) AS id
                  WHERE EXISTS (SELECT 1 FROM submissions WHERE certificate_id = id.value)",
            )
            .bind(Value::from(ids).to_string())
            .fetch_one(&mut self.connection)
            .await
            .map_err(QueueError::of("looking for known certificates"))?;
            known += u64::try_from(found).unwrap_or_default();
        }
    }

    /// Enqueues all of these in one transaction, or none if a rule rejects any. Returns what became of them, and those that
    /// were rejected, which [`Enqueued::refused`] counts from 0.
    ///
    /// # Errors
    /// When a database fails; then nothing is enqueued.
    pub async fn enqueue_all(&mut self, staging: &mut Staging) -> Result<(Enqueued, Vec<Staged>), QueueError> {
        let mut transaction = self.begin_writing("enqueueing").await?;
        let (mut enqueued, mut rejected, mut position) = (Enqueued::default(), Vec::new(), 0);
        loop {
            let (step, last) = staging.after(position).await?;
            if step.is_empty() {
                break;
            }
            position = last;
            let submissions: Vec<&NewSubmission> = step.iter().map(|staged| &staged.submission).collect();
            let Enqueued { new, known, refused } = insert_all(&mut transaction, &submissions).await?;
            enqueued.new += new;
            enqueued.known += known;
            for (place, sentence) in refused {
                enqueued.refused.push((rejected.len(), sentence));
                rejected.extend(step.get(place).cloned());
            }
        }
        if rejected.is_empty() {
            transaction.commit().await.map_err(QueueError::of("enqueueing"))?;
            return Ok((enqueued, rejected));
        }
        transaction.rollback().await.map_err(QueueError::of("enqueueing"))?;
        Ok((Enqueued { new: 0, known: 0, ..enqueued }, rejected))
    }
}
