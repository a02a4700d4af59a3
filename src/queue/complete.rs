//! Completing requests: the outcome of each, and what becomes of its submission, written by compare-and-set.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::claim::Claim;
use super::error::QueueError;
use super::rejected_write::RejectedWrite;
use super::run::Run;
use super::write_mode::Write;
use crate::cause::Cause;
use crate::clock::{Now, UnixMillis, millis};
use crate::submission::{CertificateId, Change, Outcome, ResolvedBy, State};

/// A request that ended, and what becomes of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    /// What was claimed.
    pub claim: Claim,
    /// How the request ended.
    pub outcome: Outcome,
    /// The HTTP status, if a reply came.
    pub http_status: Option<u16>,
    /// When it was signed; or when it ended, if it never was.
    pub sent: Now,
    /// When it ended.
    pub finished: UnixMillis,
    /// From the signing to the outcome.
    pub duration: Duration,
    /// What becomes of the submission; a submission that was moved after its claim stays as it is.
    pub change: Option<Change>,
}

/// A request to complete, as the statement takes it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Completion {
    pub(super) request: i64,
    /// None: the request is completed whatever certificate it is for.
    certificate_id: Option<String>,
    finished_at: i64,
    /// None: unchanged.
    run_ms: Option<i64>,
    outcome: &'static str,
    http_status: Option<u16>,
    error_code: Option<String>,
    request_id: Option<String>,
    order_id: Option<String>,
    status: Option<i64>,
    duration_ms: Option<i64>,
    submission: Option<i64>,
    /// What becomes of the submission.
    change: Option<Value>,
    /// The certificate ID, as shown in messages.
    #[serde(skip)]
    label: String,
}

impl Completion {
    /// Completes a request, and leaves its submission as it is.
    pub(super) fn of_request(request: i64, label: String, outcome: &Outcome, finished: UnixMillis) -> Self {
        Self {
            request,
            finished_at: finished.0,
            outcome: outcome.class.as_str(),
            error_code: outcome.error.as_ref().map(|error| error.code.to_string()),
            request_id: outcome.request_id.clone(),
            order_id: outcome.order_id.clone(),
            status: outcome.status,
            label,
            ..Self::default()
        }
    }

    /// Also changes the submission of this certificate, if it is still in the state `from`.
    pub(super) fn with_change(
        mut self,
        submission: i64,
        certificate_id: &CertificateId,
        from: State,
        change: Option<&Change>,
        now: UnixMillis,
    ) -> Self {
        self.certificate_id = Some(certificate_id.to_string());
        self.submission = Some(submission);
        self.change = change.map(|change| row_change(from, change, now));
        self
    }

    /// Whether it also changes a submission.
    pub(super) fn changes_a_row(&self) -> bool {
        self.change.is_some()
    }

    pub(super) fn of(completed: &Completed, run: &Run, now: UnixMillis) -> Self {
        let Completed { claim, outcome, http_status, sent, finished, duration, change } = completed;
        let Claim { request, submission, certificate_id, row, .. } = claim;
        let ended = Self::of_request(*request, certificate_id.to_string(), outcome, *finished);
        let (run_ms, duration_ms) = (Some(run.millis_at(*sent)), Some(millis(*duration)));
        Self { run_ms, http_status: *http_status, duration_ms, ..ended }.with_change(
            *submission,
            certificate_id,
            row.state,
            change.as_ref(),
            now,
        )
    }
}

/// What becomes of a submission, as the statement takes it. Columns that are left out are null there.
fn row_change(from: State, change: &Change, now: UnixMillis) -> Value {
    let due_at = if change.due_in.is_zero() { now.seconds() } else { now.plus(change.due_in).seconds_rounded_up() };
    let due_at = (!change.keeps_due_time).then_some(due_at);
    let cause = change.cause.clone().map(Cause::from);
    let mut columns = json!({
        "from": from.as_str(),
        "to": change.to.as_str(),
        "due_at": due_at,
        "reason": cause.as_ref().map(Cause::to_string),
        "reason_code": cause.as_ref().map(Cause::code),
        "reason_parameters": cause.as_ref().and_then(Cause::parameters),
        "updated_at": now.seconds(),
        "spends": 0,
    });
    if change.to != from {
        let is_final = !change.to.is_open() && change.to != State::Held;
        let error = change.error.as_ref();
        let moved = json!({
            "spends": i64::from(change.spends_try),
            "order_id": change.order_id,
            "status": change.status,
            "request_id": change.request_id,
            "error_code": error.map(|error| error.code.to_string()),
            "error_message": error.map(|error| error.message.to_string()),
            "resolved_by": change.resolved_by.map(ResolvedBy::as_str),
            "finished_at": is_final.then(|| now.seconds()),
        });
        if let (Value::Object(columns), Value::Object(moved)) = (&mut columns, moved) {
            columns.extend(moved);
        }
    }
    columns
}

/// Keeps only the requests that are still unfinished: a batch that failed may have landed anyway.
pub(super) async fn unfinished(
    connection: &mut SqliteConnection,
    completions: Vec<Completion>,
) -> Result<Vec<Completion>, QueueError> {
    let numbers = Value::from_iter(completions.iter().map(|completion| completion.request));
    let unfinished: Vec<i64> = sqlx::query_scalar(
        "SELECT number FROM jsonb_each(?) JOIN requests ON number = value WHERE requests.finished_at IS NULL",
    )
    .bind(numbers.to_string())
    .fetch_all(connection)
    .await
    .map_err(QueueError::of("looking for unfinished requests"))?;
    Ok(completions.into_iter().filter(|completion| unfinished.contains(&completion.request)).collect())
}

/// Completes requests, then changes the submissions that are in the expected state.
pub(super) struct CompletionWrite;

impl Write for CompletionWrite {
    type Item = Completion;
    type Output = ();

    async fn write(&self, connection: &mut SqliteConnection, items: &[Completion]) -> Result<Vec<()>, QueueError> {
        const WHAT: &str = "completing requests";
        let completions = serde_json::to_string(items).map_err(|error| QueueError::json(WHAT, &error))?;
        // SQLite reports no error if a trigger ignores a write; the last statement detects that.
        let is_ignored: bool = sqlx::query_scalar(
            "UPDATE requests
                SET finished_at = new ->> 'finished_at', run_ms = coalesce(new ->> 'run_ms', run_ms),
                    outcome = new ->> 'outcome', http_status = new ->> 'http_status', error_code = new ->> 'error_code',
                    request_id = new ->> 'request_id', order_id = new ->> 'order_id', status = new ->> 'status',
                    duration_ms = new ->> 'duration_ms'
               FROM (SELECT value AS new, value ->> 'request' AS request FROM jsonb_each(?1))
              WHERE number = request AND requests.finished_at IS NULL
                AND certificate_id = coalesce(new ->> 'certificate_id', certificate_id);
             UPDATE submissions
                SET state = new ->> 'to', tries = tries + (new ->> 'spends'),
                    due_at = CASE WHEN new ->> 'due_at' IS NULL THEN due_at
                                  WHEN new ->> 'to' = 'pending' AND due_at > new ->> 'updated_at'
                                  THEN max(due_at, new ->> 'due_at') ELSE new ->> 'due_at' END,
                    order_id = coalesce(new ->> 'order_id', order_id), status = coalesce(new ->> 'status', status),
                    request_id = coalesce(new ->> 'request_id', request_id),
                    error_code = CASE WHEN new ->> 'to' = 'submitted' THEN NULL
                                      ELSE coalesce(new ->> 'error_code', error_code) END,
                    error_message = CASE WHEN new ->> 'to' = 'submitted' THEN NULL
                                         ELSE coalesce(new ->> 'error_message', error_message) END,
                    reason = new ->> 'reason', reason_code = new ->> 'reason_code',
                    reason_parameters = new ->> 'reason_parameters', resolved_by = new ->> 'resolved_by',
                    finished_at = new ->> 'finished_at', updated_at = new ->> 'updated_at'
               FROM (SELECT jsonb_extract(value, '$.change') AS new, value ->> 'certificate_id' AS certificate,
                            value ->> 'submission' AS submission FROM jsonb_each(?1))
              WHERE id = submission AND certificate_id = certificate AND state = new ->> 'from';
             SELECT EXISTS (SELECT 1 FROM jsonb_each(?1) JOIN requests ON number = value ->> 'request'
                             WHERE requests.finished_at IS NULL)
                 OR EXISTS (SELECT 1 FROM jsonb_each(?1) JOIN submissions ON submissions.id = value ->> 'submission'
                             WHERE state = jsonb_extract(value, '$.change.from')
                               AND state <> jsonb_extract(value, '$.change.to'))",
        )
        .bind(completions)
        .fetch_one(connection)
        .await
        .map_err(QueueError::of(WHAT))?;
        if is_ignored { Err(QueueError::ignored()) } else { Ok(vec![(); items.len()]) }
    }

    fn rejected(&self, item: &Completion, sentence: String) -> RejectedWrite {
        RejectedWrite::of_outcome(item.request, item.submission, item.label.clone(), sentence)
    }
}
