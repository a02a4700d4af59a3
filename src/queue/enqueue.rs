//! Adds submissions to the queue.

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use crate::submission::{CertificateId, VerifyType};

/// So many are inserted with one statement.
const AT_ONCE: usize = 500;

/// Anyone may enqueue, so a certificate may be in the queue already.
const INSERT: &str =
    "INSERT OR IGNORE INTO submissions (certificate_id, verify_type, priority, reference, due_at)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, coalesce(value ->> 4, CAST(strftime('%s', 'now') AS INTEGER))
       FROM json_each(?) ORDER BY key";

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

/// The result of enqueueing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enqueued {
    /// Submissions that are new.
    pub new: u64,
    /// Submissions that were already in the queue; they stay as they are.
    pub known: u64,
    /// The places of submissions that a rule rejected, from 0, with the rule's sentence.
    pub refused: Vec<(usize, String)>,
}

impl Queue {
    /// Enqueues in one transaction. Submissions that are already in the queue stay as they are.
    ///
    /// # Errors
    /// When the database fails; then nothing is enqueued.
    pub async fn enqueue<'a>(
        &mut self,
        submissions: impl IntoIterator<Item = &'a NewSubmission>,
    ) -> Result<Enqueued, QueueError> {
        let submissions: Vec<&NewSubmission> = submissions.into_iter().collect();
        self.write("enqueueing", async |connection| insert_all(connection, &submissions).await).await
    }
}

/// Inserts these, and notes which of them a rule rejects.
pub(super) async fn insert_all(
    connection: &mut SqliteConnection,
    submissions: &[&NewSubmission],
) -> Result<Enqueued, QueueError> {
    let mut enqueued = Enqueued::default();
    for (index, part) in submissions.chunks(AT_ONCE).enumerate() {
        match insert(connection, part).await {
            Ok(new) => enqueued.count(new, part.len()),
            Err(QueueError::Refused(_)) => {
                for (place, submission) in part.iter().enumerate() {
                    match insert(connection, &[submission]).await {
                        Ok(new) => enqueued.count(new, 1),
                        Err(QueueError::Refused(sentence)) => {
                            enqueued.refused.push((index * AT_ONCE + place, sentence))
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(enqueued)
}

impl Enqueued {
    /// Counts `all`, of which so many are new.
    fn count(&mut self, new: u64, all: usize) {
        self.new += new;
        self.known += u64::try_from(all).unwrap_or_default().saturating_sub(new);
    }
}

/// Inserts these with one statement. Returns how many are new.
async fn insert(connection: &mut SqliteConnection, submissions: &[&NewSubmission]) -> Result<u64, QueueError> {
    let rows: Value = submissions.iter().map(|submission| to_json(submission)).collect();
    let inserted = sqlx::query(INSERT).bind(rows.to_string()).execute(connection).await;
    inserted.map(|done| done.rows_affected()).map_err(QueueError::of("enqueueing"))
}

fn to_json(submission: &NewSubmission) -> Value {
    let NewSubmission { certificate_id, verify_type, priority, due_at, reference } = submission;
    json!([certificate_id.as_str(), verify_type.map(VerifyType::as_str), priority, reference, due_at])
}
