//! Records: the outcome of a request, and what becomes of its submission, written by compare-and-set.

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use super::batch::Manner;
use super::claim::Claim;
use super::error::QueueError;
use super::rejected_write::RejectedWrite;
use super::request::Finished;
use super::savepoint;
use crate::clock::{UnixMillis, millis};
use crate::submission::{CertificateId, Change, ResolvedBy, State};

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

    fn refused(&self, sentence: String) -> RejectedWrite {
        RejectedWrite::of_outcome(self.request, Some(self.submission), self.certificate_id.to_string(), sentence)
    }
}

/// Writes records. What a rule refused concerns that record alone, and nothing of that record is written.
///
/// # Errors
/// At once: also [`QueueError::Refused`], if a rule refused any of it.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    manner: Manner,
    records: &[Record],
    now: UnixMillis,
) -> Result<Vec<RejectedWrite>, QueueError> {
    let mut refused = Vec::new();
    match manner {
        Manner::AtOnce => write_at_once(connection, records, now).await?,
        Manner::RowByRow => {
            for record in records {
                savepoint::begin(connection).await?;
                let written = write_once(connection, record, now).await;
                let ended = savepoint::end(connection, &written).await;
                ended.map_err(|error| error.concerning(|sentence| record.refused(sentence)))?;
                match written {
                    Ok(()) => {}
                    Err(QueueError::Refused(sentence)) => refused.push(record.refused(sentence)),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(refused)
}

/// Writes a record that may be written already. It moves nothing a second time: its request is completed only once.
async fn write_once(connection: &mut SqliteConnection, record: &Record, now: UnixMillis) -> Result<(), QueueError> {
    let is_on_the_way: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM requests WHERE number = ? AND finished_at IS NULL)")
            .bind(record.request)
            .fetch_one(&mut *connection)
            .await
            .map_err(QueueError::of("looking for a request"))?;
    if is_on_the_way { write_at_once(connection, std::slice::from_ref(record), now).await } else { Ok(()) }
}

/// Completes the requests, then moves the submissions on from the state that they are expected in.
///
/// # Errors
/// Also [`QueueError::Refused`], if a rule refused any of it.
pub(super) async fn write_at_once(
    connection: &mut SqliteConnection,
    records: &[Record],
    now: UnixMillis,
) -> Result<(), QueueError> {
    if records.is_empty() {
        return Ok(());
    }
    let completions: Vec<Completion<'_>> = records.iter().map(Completion::of).collect();
    let moves: Vec<Move<'_>> = records.iter().filter_map(|record| Move::of(record, now)).collect();
    let json = |json: Result<String, _>| json.map_err(|error| QueueError::unwritable("recording an outcome", &error));
    // What a trigger ignores is no error, and isn't written all the same.
    let ignored: bool = sqlx::query_scalar(
        "UPDATE requests
            SET finished_at = new ->> 'finished_at', run_ms = new ->> 'run_ms', outcome = new ->> 'outcome',
                http_status = new ->> 'http_status', error_code = new ->> 'error_code',
                request_id = new ->> 'request_id', order_id = new ->> 'order_id', status = new ->> 'status',
                duration_ms = new ->> 'duration_ms'
           FROM (SELECT value AS new, value ->> 'request' AS request FROM jsonb_each(?1))
          WHERE number = request AND certificate_id = new ->> 'certificate_id' AND requests.finished_at IS NULL;
         UPDATE submissions
            SET state = new ->> 'to', tries = tries + (new ->> 'spends'),
                due_at = CASE WHEN new ->> 'to' = 'pending' AND due_at > new ->> 'updated_at'
                              THEN max(due_at, new ->> 'due_at') ELSE new ->> 'due_at' END,
                order_id = coalesce(new ->> 'order_id', order_id), status = coalesce(new ->> 'status', status),
                request_id = coalesce(new ->> 'request_id', request_id),
                error_code = CASE WHEN new ->> 'to' = 'submitted' THEN NULL
                                  ELSE coalesce(new ->> 'error_code', error_code) END,
                error_message = CASE WHEN new ->> 'to' = 'submitted' THEN NULL
                                     ELSE coalesce(new ->> 'error_message', error_message) END,
                reason = new ->> 'reason', resolved_by = new ->> 'resolved_by', finished_at = new ->> 'finished_at',
                updated_at = new ->> 'updated_at'
           FROM (SELECT value AS new, value ->> 'submission' AS submission FROM jsonb_each(?2))
          WHERE id = submission AND certificate_id = new ->> 'certificate_id' AND state = new ->> 'from';
         SELECT EXISTS (SELECT 1 FROM jsonb_each(?1) JOIN requests ON number = value ->> 'request'
                         WHERE requests.finished_at IS NULL)
             OR EXISTS (SELECT 1 FROM jsonb_each(?2) JOIN submissions ON submissions.id = value ->> 'submission'
                         WHERE state = value ->> 'from' AND state <> value ->> 'to')",
    )
    .bind(json(serde_json::to_string(&completions))?)
    .bind(json(serde_json::to_string(&moves))?)
    .fetch_one(connection)
    .await
    .map_err(QueueError::of("recording an outcome"))?;
    if ignored { Err(QueueError::ignored()) } else { Ok(()) }
}

/// What becomes of a request, as its statement takes it.
#[derive(Debug, Serialize)]
struct Completion<'a> {
    request: i64,
    certificate_id: &'a str,
    finished_at: i64,
    run_ms: i64,
    outcome: &'a str,
    http_status: Option<u16>,
    error_code: Option<&'a str>,
    request_id: Option<&'a str>,
    order_id: Option<&'a str>,
    status: Option<i64>,
    duration_ms: i64,
}

impl<'a> Completion<'a> {
    fn of(record: &'a Record) -> Self {
        let finished = &record.finished;
        Self {
            request: record.request,
            certificate_id: record.certificate_id.as_str(),
            finished_at: finished.at.0,
            run_ms: finished.run_ms,
            outcome: finished.outcome,
            http_status: finished.http_status,
            error_code: finished.error_code.as_deref(),
            request_id: finished.request_id.as_deref(),
            order_id: finished.order_id.as_deref(),
            status: finished.status,
            duration_ms: millis(finished.duration),
        }
    }
}

/// What becomes of a submission, as its statement takes it.
#[derive(Debug, Default, Serialize)]
struct Move<'a> {
    submission: i64,
    certificate_id: &'a str,
    from: &'a str,
    to: &'a str,
    due_at: i64,
    reason: Option<&'a str>,
    updated_at: i64,
    spends: i64,
    order_id: Option<&'a str>,
    status: Option<i64>,
    request_id: Option<&'a str>,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
    resolved_by: Option<&'a str>,
    finished_at: Option<i64>,
}

impl<'a> Move<'a> {
    fn of(record: &'a Record, now: UnixMillis) -> Option<Self> {
        let change = record.change.as_ref()?;
        let due_at = if change.due_in.is_zero() { now.seconds() } else { now.plus(change.due_in).seconds_rounded_up() };
        let stays = Self {
            submission: record.submission,
            certificate_id: record.certificate_id.as_str(),
            from: record.from.as_str(),
            to: change.to.as_str(),
            due_at,
            reason: change.reason.as_deref(),
            updated_at: now.seconds(),
            ..Self::default()
        };
        if change.to == record.from {
            return Some(stays);
        }
        let is_final = !change.to.is_open() && change.to != State::Held;
        let (error_code, error_message) = change.error.as_ref().map(|(code, message)| (&**code, &**message)).unzip();
        Some(Self {
            spends: i64::from(change.spends_try),
            order_id: change.order_id.as_deref(),
            status: change.status,
            request_id: change.request_id.as_deref(),
            error_code,
            error_message,
            resolved_by: change.resolved_by.map(ResolvedBy::as_str),
            finished_at: is_final.then(|| now.seconds()),
            ..stays
        })
    }
}
