//! Reports: what `history`, the log's `progress` and, by way of `overview`, `status` show.

use super::error::QueueError;
use super::open::Queue;
use super::snapshot::outlook;
use super::untrusted_text::UntrustedText;
use crate::submission::{CertificateId, State};

/// How many submissions are in each state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts(Vec<(State, i64)>);

impl Counts {
    /// How many are in this state.
    #[must_use]
    pub fn of(&self, state: State) -> i64 {
        self.0.iter().find(|(known, _)| *known == state).map_or(0, |(_, count)| *count)
    }

    /// How many the daemon still has something to do for.
    #[must_use]
    pub fn open(&self) -> i64 {
        State::ALL.into_iter().filter(|state| state.is_open()).map(|state| self.of(state)).sum()
    }
}

impl FromIterator<(State, i64)> for Counts {
    fn from_iter<T: IntoIterator<Item = (State, i64)>>(counts: T) -> Self {
        Self(counts.into_iter().collect())
    }
}

/// The row `daemon`.
#[derive(Debug, Clone, PartialEq, Default, sqlx::FromRow)]
pub struct DaemonRow {
    /// The run that wrote it.
    pub run_id: Option<UntrustedText>,
    /// Its process.
    pub pid: Option<i64>,
    /// Its version.
    pub version: Option<UntrustedText>,
    /// When it started, in unix seconds.
    pub started_at: Option<i64>,
    /// When it last wrote, in unix seconds.
    pub heartbeat_at: Option<i64>,
    /// What it is doing.
    pub mode: UntrustedText,
    /// Why.
    pub why: Option<UntrustedText>,
    /// Commits a second.
    pub pace: Option<f64>,
}

/// One submission, as `submission_report` shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SubmissionLine {
    /// The certificate.
    pub certificate_id: UntrustedText,
    /// Where it stands.
    pub state: UntrustedText,
    /// Its order.
    pub order_id: Option<UntrustedText>,
    /// Its status, in words.
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
    /// When it was written down, in unix milliseconds.
    pub started_at: i64,
    /// How it ended; none while it is on the way.
    pub outcome: Option<UntrustedText>,
    /// The HTTP status.
    pub http_status: Option<i64>,
    /// The error code.
    pub error_code: Option<UntrustedText>,
    /// The server's ID for it.
    pub request_id: Option<UntrustedText>,
    /// The order that was placed or seen.
    pub order_id: Option<UntrustedText>,
    /// The status that was given or seen.
    pub status: Option<i64>,
    /// How long it took.
    pub duration_ms: Option<i64>,
}

impl Queue {
    /// Submissions by state; costs the same however long the queue is, as long as the counts that are kept may be right.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn counts(&mut self) -> Result<Counts, QueueError> {
        let outlook = outlook(&mut self.connection).await?;
        if outlook.miscounted { self.counted().await } else { Ok(outlook.counts) }
    }

    /// Whether the counts that are kept are certainly wrong. The daemon counts anew when it meets that.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_miscounted(&mut self) -> Result<bool, QueueError> {
        outlook(&mut self.connection).await.map(|outlook| outlook.miscounted)
    }

    /// When the oldest open submission was created, in unix seconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_open(&mut self) -> Result<Option<i64>, QueueError> {
        sqlx::query_scalar(
            "SELECT CAST(min(created_at) AS INTEGER) FROM submissions WHERE id IN (
               SELECT min(id) FROM submissions WHERE state = 'pending' UNION ALL
               SELECT min(id) FROM submissions WHERE state = 'in_flight' UNION ALL
               SELECT min(id) FROM submissions WHERE state = 'in_doubt')",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(QueueError::of("looking for the oldest"))
    }

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
