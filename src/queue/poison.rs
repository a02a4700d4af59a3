//! Rows that no rule would have let in, for instance since a trigger was dropped when they came: each is set aside, and
//! must not keep the others from going on.

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::savepoint;
use crate::clock::Now;

/// A row that can't be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// The submission's id.
    pub submission: i64,
    /// What is wrong with it, in a sentence of the rules or like one.
    pub sentence: String,
    /// Whether it is canceled now; if not, it stays as it is.
    pub canceled: bool,
}

/// Cancels a pending row, so that it isn't tried again and again. What the rules wouldn't let pass is cleared; for the
/// rest of what happened to it there is `requests`.
pub(super) async fn set_aside(
    connection: &mut SqliteConnection,
    submission: i64,
    sentence: String,
    now: Now,
) -> Result<Poison, QueueError> {
    savepoint::begin(connection).await?;
    let canceled = cancel(connection, submission, &sentence, now).await;
    savepoint::end(connection, &canceled).await?;
    match canceled {
        Ok(canceled) => Ok(Poison { submission, sentence, canceled }),
        Err(QueueError::Refused(_)) => Ok(Poison { submission, sentence, canceled: false }),
        Err(error) => Err(error),
    }
}

async fn cancel(
    connection: &mut SqliteConnection,
    submission: i64,
    sentence: &str,
    now: Now,
) -> Result<bool, QueueError> {
    let cleared = sqlx::query(
        "UPDATE submissions
            SET verify_type = CASE WHEN verify_type IN ('DNS_AUTO', 'DNS', 'FILE', 'DNS_PROXY', 'FILE_PROXY') THEN verify_type END,
                reference = CASE WHEN typeof(reference) = 'text' AND length(reference) <= 128
                                  AND length(CAST(reference AS BLOB)) <= 512 AND instr(CAST(reference AS BLOB), x'00') = 0
                                 THEN reference END,
                due_at = ?1, updated_at = ?1, finished_at = NULL, tries = 0, order_id = NULL, status = NULL, request_id = NULL,
                error_code = NULL, error_message = NULL, reason = NULL, resolved_by = NULL
          WHERE id = ?2 AND state = 'pending'",
    )
    .bind(now.unix.seconds())
    .bind(submission)
    .execute(&mut *connection)
    .await
    .map_err(QueueError::of("setting a row aside"))?;
    sqlx::query("UPDATE submissions SET state = 'canceled', reason = ? WHERE id = ? AND state = 'pending'")
        .bind(format!("it can't be sent: {sentence}"))
        .bind(submission)
        .execute(connection)
        .await
        .map_err(QueueError::of("setting a row aside"))?;
    Ok(cleared.rows_affected() == 1)
}
