//! Records: the outcome of a request, and what becomes of its submission, written by compare-and-set.

use sqlx::sqlite::SqliteConnection;

use super::claim::Claim;
use super::error::QueueError;
use super::request::Finished;
use crate::clock::{UnixMillis, millis};
use crate::submission::{CertificateId, Change, State};

/// A result to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The request's number.
    pub request: i64,
    /// The submission's id.
    pub submission: i64,
    /// The certificate.
    pub certificate_id: CertificateId,
    /// The state that the submission is expected in. If somebody moved it since, it stays.
    pub from: State,
    /// How the request ended.
    pub finished: Finished,
    /// What becomes of the submission.
    pub change: Option<Change>,
}

impl Record {
    /// The record of a claim's request.
    #[must_use]
    pub fn of(claim: &Claim, finished: Finished, change: Option<Change>) -> Self {
        Self {
            request: claim.request,
            submission: claim.submission,
            certificate_id: claim.certificate_id.clone(),
            from: claim.row.state,
            finished,
            change,
        }
    }
}

/// Writes a record. One that is written already, since a COMMIT that failed landed all the same, stays.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    record: &Record,
    now: UnixMillis,
) -> Result<(), QueueError> {
    let finished = &record.finished;
    let completed = sqlx::query(
        "UPDATE requests SET finished_at = ?, run_ms = ?, outcome = ?, http_status = ?, error_code = ?, request_id = ?,
                order_id = ?, status = ?, duration_ms = ?
          WHERE number = ? AND finished_at IS NULL",
    )
    .bind(finished.at.0)
    .bind(finished.run_ms)
    .bind(finished.outcome)
    .bind(finished.http_status)
    .bind(&finished.error_code)
    .bind(&finished.request_id)
    .bind(&finished.order_id)
    .bind(finished.status)
    .bind(millis(finished.duration))
    .bind(record.request)
    .execute(&mut *connection)
    .await
    .map_err(QueueError::of("completing a request"))?;
    match &record.change {
        Some(change) if completed.rows_affected() == 1 => apply(connection, record, change, now).await,
        Some(_) | None => Ok(()),
    }
}

async fn apply(
    connection: &mut SqliteConnection,
    record: &Record,
    change: &Change,
    now: UnixMillis,
) -> Result<(), QueueError> {
    let due_at = if change.due_in.is_zero() { now.seconds() } else { now.plus(change.due_in).seconds_rounded_up() };
    let statement = if change.to == record.from {
        sqlx::query("UPDATE submissions SET due_at = ?, reason = ?, updated_at = ? WHERE id = ? AND state = ?")
            .bind(due_at)
            .bind(&change.reason)
    } else {
        let (code, message) = change.error.clone().unzip();
        let submitted = change.to == State::Submitted;
        let is_final = !change.to.is_open() && change.to != State::Held;
        sqlx::query(
            "UPDATE submissions SET state = ?, tries = tries + ?, due_at = ?, order_id = coalesce(?, order_id),
                    status = coalesce(?, status), request_id = coalesce(?, request_id),
                    error_code = CASE WHEN ? THEN NULL ELSE coalesce(?, error_code) END,
                    error_message = CASE WHEN ? THEN NULL ELSE coalesce(?, error_message) END,
                    reason = ?, resolved_by = ?, finished_at = ?, updated_at = ?
              WHERE id = ? AND state = ?",
        )
        .bind(change.to.as_str())
        .bind(i64::from(change.spends_try))
        .bind(due_at)
        .bind(&change.order_id)
        .bind(change.status)
        .bind(&change.request_id)
        .bind(submitted)
        .bind(code)
        .bind(submitted)
        .bind(message)
        .bind(&change.reason)
        .bind(change.resolved_by.map(crate::submission::ResolvedBy::as_str))
        .bind(is_final.then(|| now.seconds()))
    };
    statement
        .bind(now.seconds())
        .bind(record.submission)
        .bind(record.from.as_str())
        .execute(connection)
        .await
        .map_err(QueueError::of("recording an outcome"))?;
    Ok(())
}
