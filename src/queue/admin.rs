//! What people do with the queue through the commands. Each is plain SQL that they could write themselves.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, QueryBuilder, Sqlite};

use super::connection::Queue;
use super::error::QueueError;
use crate::submission::{CertificateId, State, VerifyType};

/// A submission to enqueue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubmission {
    /// The certificate.
    pub certificate_id: CertificateId,
    /// How its domain is to be validated.
    pub verify_type: Option<VerifyType>,
    /// 0 to 3; higher goes first.
    pub priority: u8,
    /// Not before, in unix seconds; now if left out.
    pub due_at: Option<i64>,
    /// The caller's own key.
    pub reference: Option<String>,
}

/// How an enqueueing went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enqueued {
    /// Submissions that are new.
    pub new: u64,
    /// Submissions that the queue had already; they are as they were.
    pub known: u64,
    /// Submissions that a rule refused, with the rule's sentence.
    pub refused: Vec<(CertificateId, String)>,
}

/// Which submissions are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Ids(Vec<CertificateId>),
    /// All in the state that have this error code.
    ErrorCode(String),
    /// All in the state that have this reference.
    Reference(String),
    /// All in the state.
    All,
}

/// What a change of submissions did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shifted {
    /// How many were moved.
    pub moved: u64,
    /// Those that were named and are in none of the states, or not in the queue; each once.
    pub unmoved: Vec<CertificateId>,
}

/// An operator's decision on a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The order stands, under this number.
    Submitted(String),
    /// It is not to be placed.
    Failed,
    /// It is to be sent (again).
    Pending,
}

impl Queue {
    /// Enqueues in one transaction. What the queue has already stays as it is.
    ///
    /// # Errors
    /// When the database fails; then nothing of this batch is enqueued.
    pub async fn enqueue(&mut self, batch: &[NewSubmission]) -> Result<Enqueued, QueueError> {
        let failed = QueueError::of("enqueueing");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let mut enqueued = Enqueued::default();
        for submission in batch {
            match insert(&mut transaction, submission).await {
                Ok(0) => enqueued.known += 1,
                Ok(_) => enqueued.new += 1,
                Err(QueueError::Refused(sentence)) => {
                    enqueued.refused.push((submission.certificate_id.clone(), sentence));
                }
                Err(error) => return Err(error),
            }
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(enqueued)
    }

    /// Moves the selected submissions that are in one of the states `from` to another.
    ///
    /// # Errors
    /// When the database fails, or a rule rejects it; then nothing is moved.
    pub async fn shift(&mut self, selection: &Selection, from: &[State], to: State) -> Result<Shifted, QueueError> {
        let failed = QueueError::of("changing submissions");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let mut shifted = Shifted::default();
        let key = match selection {
            Selection::Ids(ids) => {
                let mut seen = HashSet::new();
                for id in ids.iter().filter(|id| seen.insert(id.as_str())) {
                    match shift_by(&mut transaction, Some(("certificate_id", id.as_str())), from, to).await? {
                        0 => shifted.unmoved.push(id.clone()),
                        moved => shifted.moved += moved,
                    }
                }
                return transaction.commit().await.map_err(failed).map(|()| shifted);
            }
            Selection::ErrorCode(code) => Some(("error_code", code.as_str())),
            Selection::Reference(reference) => Some(("reference", reference.as_str())),
            Selection::All => None,
        };
        shifted.moved = shift_by(&mut transaction, key, from, to).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(shifted)
    }

    /// Carries out an operator's decision on a submission that is held or in doubt. False: it is neither.
    ///
    /// # Errors
    /// When the database fails, or a rule rejects it.
    pub async fn resolve(&mut self, id: &CertificateId, resolution: &Resolution) -> Result<bool, QueueError> {
        let failed = QueueError::of("resolving a submission");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let hold = "UPDATE submissions SET state = 'held' WHERE certificate_id = ? AND state = 'in_doubt'";
        sqlx::query(hold).bind(id.as_str()).execute(&mut *transaction).await.map_err(&failed)?;
        let statement = match resolution {
            Resolution::Submitted(order_id) => sqlx::query(
                "UPDATE submissions SET state = 'submitted', order_id = ?, resolved_by = 'operator', error_code = NULL,
                        error_message = NULL, reason = 'decided by hand' WHERE certificate_id = ? AND state = 'held'",
            )
            .bind(order_id),
            Resolution::Failed => sqlx::query(
                "UPDATE submissions SET state = 'failed', reason = 'decided by hand' WHERE certificate_id = ? AND state = 'held'",
            ),
            Resolution::Pending => {
                sqlx::query("UPDATE submissions SET state = 'pending' WHERE certificate_id = ? AND state = 'held'")
            }
        };
        let resolved = statement.bind(id.as_str()).execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(resolved.rows_affected() == 1)
    }

    /// Pauses or resumes. Resuming ends either kind of pause and asks for a probe at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_paused(&mut self, paused: bool, reason: Option<&str>) -> Result<(), QueueError> {
        sqlx::query("UPDATE control SET paused = ?, pause_reason = ?, probe_requested = ?")
            .bind(paused)
            .bind(reason.filter(|_| paused))
            .bind(!paused)
            .execute(&mut self.connection)
            .await
            .map_err(QueueError::of(if paused { "pausing" } else { "resuming" }))?;
        Ok(())
    }
}

async fn insert(connection: &mut SqliteConnection, submission: &NewSubmission) -> Result<u64, QueueError> {
    let inserted = sqlx::query(
        "INSERT OR IGNORE INTO submissions (certificate_id, verify_type, priority, reference, due_at)
         VALUES (?, ?, ?, ?, coalesce(?, CAST(strftime('%s', 'now') AS INTEGER)))",
    )
    .bind(submission.certificate_id.as_str())
    .bind(submission.verify_type.map(VerifyType::as_str))
    .bind(submission.priority)
    .bind(&submission.reference)
    .bind(submission.due_at)
    .execute(connection)
    .await
    .map_err(QueueError::of("enqueueing"))?;
    Ok(inserted.rows_affected())
}

/// Moves submissions by the value of a column; all of them without one.
async fn shift_by(
    connection: &mut SqliteConnection,
    key: Option<(&'static str, &str)>,
    from: &[State],
    to: State,
) -> Result<u64, QueueError> {
    let mut query = QueryBuilder::<Sqlite>::new("UPDATE submissions SET state = ");
    query.push_bind(to.as_str());
    if to == State::InDoubt {
        // Read at once. When it is sent again is the queue's own rule: at once, or when it was wanted.
        query.push(", due_at = CAST(strftime('%s', 'now') AS INTEGER)");
    }
    query.push(" WHERE (");
    let mut states = query.separated(" OR ");
    for state in from {
        // As a word of the statement: there is an index of what failed alone.
        states.push(format_args!("state = '{}'", state.as_str()));
    }
    query.push(")");
    if let Some((column, value)) = key {
        query.push(" AND ").push(column).push(" = ").push_bind(value.to_owned());
    }
    let moved = query.build().execute(connection).await.map_err(QueueError::of("changing submissions"))?;
    Ok(moved.rows_affected())
}
