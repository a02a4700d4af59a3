//! One certificate: its submission, and every request made for it.

use super::connection::Queue;
use super::error::QueueError;
use super::untrusted_text::UntrustedText;
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
    /// Commits that counted.
    pub tries: i64,
    /// The last error.
    pub error_code: Option<UntrustedText>,
    /// Why it waits, failed or is held.
    pub reason: Option<UntrustedText>,
    /// When it is due, ISO 8601.
    pub due_at: Option<UntrustedText>,
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

impl Queue {
    /// One submission.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submission(&mut self, id: &CertificateId) -> Result<Option<SubmissionLine>, QueueError> {
        sqlx::query_as(
            "SELECT certificate_id, state, order_id, status_text, CAST(status AS INTEGER) AS status,
                    CAST(tries AS INTEGER) AS tries, error_code, reason, due_at FROM submission_report WHERE certificate_id = ?",
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
