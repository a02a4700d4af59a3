//! One certificate: its submission, and every request made for it.

use super::connection::Queue;
use super::error::QueueError;
use super::stored_cause::{Parameters, stored_cause};
use super::untrusted_text::UntrustedText;
use crate::cause::{Cause, RowCause};
use crate::submission::CertificateId;

/// One submission, as `submission_report` shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SubmissionLine {
    /// The certificate.
    pub certificate_id: UntrustedText,
    /// Its state.
    pub state: UntrustedText,
    /// Its order.
    pub order_id: Option<UntrustedText>,
    /// Its status, as text.
    pub status_text: Option<UntrustedText>,
    /// Its status.
    pub status: Option<i64>,
    /// The newest status, if the order is followed and was read since.
    pub current_status: Option<i64>,
    /// That status, as text.
    pub current_status_text: Option<UntrustedText>,
    /// When it was first read, ISO 8601.
    pub current_status_at: Option<UntrustedText>,
    /// The server's words about it.
    pub current_status_message: Option<UntrustedText>,
    /// Commits that counted.
    pub tries: i64,
    /// The last error.
    pub error_code: Option<UntrustedText>,
    /// Its words.
    pub error_message: Option<UntrustedText>,
    /// The server's ID of the request that decided.
    pub request_id: Option<UntrustedText>,
    /// Who established its order: `reply`, `readback` or `operator`.
    pub resolved_by: Option<UntrustedText>,
    /// How its domain is validated.
    pub verify_type: Option<UntrustedText>,
    /// The caller's key.
    pub reference: Option<UntrustedText>,
    /// When it was enqueued, ISO 8601.
    pub created_at: Option<UntrustedText>,
    /// When it last changed, ISO 8601.
    pub updated_at: Option<UntrustedText>,
    /// Why it waits, failed or is held.
    pub reason: Option<UntrustedText>,
    /// The code of that cause.
    pub reason_code: Option<UntrustedText>,
    /// The parameters of that cause.
    pub reason_parameters: Option<Parameters>,
    /// When it is due, ISO 8601.
    pub due_at: Option<UntrustedText>,
}

impl SubmissionLine {
    /// Why it waits, failed or is held, if this version knows the cause.
    #[must_use]
    pub fn cause(&self) -> Option<RowCause> {
        match stored_cause(self.reason_code.as_ref(), self.reason_parameters.as_ref())? {
            Cause::Row(cause) => Some(cause),
            Cause::Pause(_) | Cause::Database(_) => None,
        }
    }
}

/// One request, for `history`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct HistoryLine {
    /// Its number.
    pub number: i64,
    /// `commit` or `read`.
    pub kind: UntrustedText,
    /// When it was recorded, in unix milliseconds.
    pub started_at: i64,
    /// Its outcome; none while it is in flight.
    pub outcome: Option<UntrustedText>,
    /// The HTTP status.
    pub http_status: Option<i64>,
    /// The error code.
    pub error_code: Option<UntrustedText>,
    /// The server's ID for it.
    pub request_id: Option<UntrustedText>,
    /// The order that was placed or read back.
    pub order_id: Option<UntrustedText>,
    /// The status that was returned or read back.
    pub status: Option<i64>,
    /// How long it took.
    pub duration_ms: Option<i64>,
}

/// What readbacks found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct ReadbackCounts {
    /// An order.
    #[sqlx(rename = "with_order")]
    pub order: i64,
    /// No order.
    pub no_order: i64,
    /// Something that leads to neither.
    pub other: i64,
    /// Nothing: they failed.
    pub failed: i64,
}

impl ReadbackCounts {
    /// How many there are.
    #[must_use]
    pub fn all(&self) -> i64 {
        self.order + self.no_order + self.other + self.failed
    }
}

impl Queue {
    /// What the readbacks found that were made since the request with this number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn readbacks_since(&mut self, newest: i64) -> Result<ReadbackCounts, QueueError> {
        sqlx::query_as(
            "SELECT count(*) FILTER (WHERE outcome = 'committed') AS with_order,
                    count(*) FILTER (WHERE outcome IN ('not_committed', 'early')) AS no_order,
                    count(*) FILTER (WHERE outcome IN ('dead_end', 'unclear', 'failed')) AS other,
                    count(*) FILTER (WHERE outcome IN ('retry', 'throttled', 'account', 'denied', 'not_sent')) AS failed
               FROM requests WHERE number > ? AND kind = 'read' AND finished_at IS NOT NULL",
        )
        .bind(newest)
        .fetch_one(&mut self.connection)
        .await
        .map_err(QueueError::of("counting the readbacks"))
    }

    /// One submission.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submission(&mut self, id: &CertificateId) -> Result<Option<SubmissionLine>, QueueError> {
        sqlx::query_as(
            "SELECT r.certificate_id, r.state, r.order_id, r.status_text, CAST(r.status AS INTEGER) AS status,
                    CAST(r.tries AS INTEGER) AS tries, r.error_code, r.error_message, r.request_id, r.resolved_by, r.verify_type, r.reference,
                    r.created_at, r.updated_at, r.reason, r.reason_code, s.reason_parameters, r.due_at, r.current_status,
                    r.current_status_text, r.current_status_at, r.current_status_message
               FROM submissions s JOIN submission_report r ON r.id = s.id WHERE s.certificate_id = ?",
        )
        .bind(id.as_str())
        .fetch_optional(&mut self.connection)
        .await
        .map_err(QueueError::of("looking for a submission"))
    }

    /// Every request for a certificate, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(&mut self, id: &CertificateId) -> Result<Vec<HistoryLine>, QueueError> {
        sqlx::query_as(
            "SELECT number, kind, started_at, outcome, http_status, error_code, request_id, order_id, status, duration_ms
               FROM requests WHERE certificate_id = ?1 AND kind = 'commit'
             UNION ALL
             SELECT number, kind, started_at, outcome, http_status, error_code, request_id, order_id, status, duration_ms
               FROM requests WHERE certificate_id = ?1 AND kind = 'read'
              ORDER BY number",
        )
        .bind(id.as_str())
        .fetch_all(&mut self.connection)
        .await
        .map_err(QueueError::of("reading the history"))
    }
}
