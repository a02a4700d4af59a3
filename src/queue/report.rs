//! What a report reads: submissions that meet a filter, and every request for them, a page at a time.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{QueryBuilder, Sqlite};

use super::connection::Queue;
use super::error::QueueError;
use super::stored_cause::{Parameters, stored_cause};
use super::untrusted_text::UntrustedText;
use crate::cause::{Cause, RowCause};
use crate::submission::{Standing, State};

/// So many submissions are read at a time.
const PAGE: i64 = 1_000;
const WHAT: &str = "reading for the report";

const SUBMISSIONS: &str = "SELECT s.id, s.certificate_id, s.state, s.order_id, CAST(s.status AS INTEGER) AS status,
        CASE WHEN s.status IS NOT NULL THEN coalesce(c.text, 'unknown status') END AS status_text,
        s.request_id, CAST(s.tries AS INTEGER) AS tries, s.verify_type, CAST(s.priority AS INTEGER) AS priority, s.reference,
        s.error_code, s.error_message, s.reason, s.reason_code, s.reason_parameters, s.resolved_by,
        CAST(s.created_at AS INTEGER) AS created_at, CAST(s.updated_at AS INTEGER) AS updated_at,
        CAST(s.finished_at AS INTEGER) AS finished_at, f.status AS current_status,
        CASE WHEN f.status IS NOT NULL THEN coalesce(n.text, 'unknown status') END AS current_status_text,
        f.status_at AS current_status_at, f.message AS current_status_message
   FROM submissions s LEFT JOIN status_codes c ON c.status = s.status LEFT JOIN followed f ON f.submission = s.id
   LEFT JOIN status_codes n ON n.status = f.status WHERE s.id > ";

const REQUESTS: &str =
    "SELECT r.certificate_id, r.number, r.kind, coalesce(r.finished_at - r.duration_ms, r.started_at) AS sent_at, r.outcome,
        r.error_code, r.request_id, r.order_id, r.status, r.duration_ms
   FROM json_each(?) AS id JOIN requests r ON r.certificate_id = id.value ORDER BY r.number";

/// Which submissions a report is about; all of them by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportFilter {
    /// The caller's key.
    pub reference: Option<String>,
    /// The state.
    pub state: Option<State>,
    /// Enqueued at this time or later, in unix seconds.
    pub since: Option<i64>,
    /// Enqueued before this time, in unix seconds.
    pub until: Option<i64>,
}

/// A submission of a report. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ReportRow {
    /// Its number in the queue.
    pub id: i64,
    /// The certificate.
    pub certificate_id: UntrustedText,
    /// Its state.
    pub state: UntrustedText,
    /// Its order.
    pub order_id: Option<UntrustedText>,
    /// The status in the answer to the submission.
    pub status: Option<i64>,
    /// That status, in words.
    pub status_text: Option<UntrustedText>,
    /// The server's ID of the request that decided.
    pub request_id: Option<UntrustedText>,
    /// Commits that counted.
    pub tries: i64,
    /// How its domain is validated.
    pub verify_type: Option<UntrustedText>,
    /// 0 to 3.
    pub priority: Option<i64>,
    /// The caller's key.
    pub reference: Option<UntrustedText>,
    /// The last error.
    pub error_code: Option<UntrustedText>,
    /// Its words.
    pub error_message: Option<UntrustedText>,
    /// Why it waits, failed or is held.
    pub reason: Option<UntrustedText>,
    /// The code of that cause.
    pub reason_code: Option<UntrustedText>,
    /// The parameters of that cause.
    pub reason_parameters: Option<Parameters>,
    /// Who established its order: `reply`, `readback` or `operator`.
    pub resolved_by: Option<UntrustedText>,
    /// When it was enqueued.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: Option<i64>,
    /// When it was decided.
    pub finished_at: Option<i64>,
    /// The newest status, if the order is followed and was read since.
    pub current_status: Option<i64>,
    /// That status, in words.
    pub current_status_text: Option<UntrustedText>,
    /// When it was first read.
    pub current_status_at: Option<i64>,
    /// The server's words about that status.
    pub current_status_message: Option<UntrustedText>,
}

impl ReportRow {
    /// When it or its order last changed, in unix seconds.
    #[must_use]
    pub fn changed_at(&self) -> Option<i64> {
        self.updated_at.max(self.current_status_at)
    }

    /// Where its order stands at the CA, as far as is known; none, if it has no order.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let status = self.current_status.or(self.status);
        (self.state() == Some(State::Submitted)).then(|| status.map_or(Standing::Underway, Standing::of))
    }

    /// Its state, if this version knows it.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.state.as_str().parse().ok()
    }

    /// Why it waits, failed or is held, if this version knows the cause.
    #[must_use]
    pub fn cause(&self) -> Option<RowCause> {
        match stored_cause(self.reason_code.as_ref(), self.reason_parameters.as_ref())? {
            Cause::Row(cause) => Some(cause),
            Cause::Pause(_) | Cause::Database(_) => None,
        }
    }
}

/// A submission, and every request for its certificate, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The submission.
    pub row: ReportRow,
    /// Its requests.
    pub requests: Vec<ReportRequest>,
}

/// A request of a report.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ReportRequest {
    /// Its number.
    pub number: i64,
    /// `commit` or `read`.
    pub kind: UntrustedText,
    /// When it left this machine, in unix milliseconds; when it was recorded, if it didn't, or is in flight.
    pub sent_at: i64,
    /// Its outcome; none while it is in flight.
    pub outcome: Option<UntrustedText>,
    /// The error code.
    pub error_code: Option<UntrustedText>,
    /// The server's ID for it.
    pub request_id: Option<UntrustedText>,
    /// The order that was placed or read back.
    pub order_id: Option<UntrustedText>,
    /// The status that was returned or read back.
    pub status: Option<i64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct RequestOf {
    certificate_id: UntrustedText,
    #[sqlx(flatten)]
    line: ReportRequest,
}

impl Queue {
    /// The next submissions that meet the filter, in the order in which they were enqueued, after the one with this number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stories(&mut self, filter: &ReportFilter, after: i64) -> Result<Vec<Story>, QueueError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(SUBMISSIONS);
        query.push_bind(after);
        filter.restrict(&mut query);
        query.push(" ORDER BY s.id LIMIT ").push_bind(PAGE);
        let rows: Vec<ReportRow> =
            query.build_query_as().fetch_all(&mut self.connection).await.map_err(QueueError::of(WHAT))?;
        let ids: Value = rows.iter().map(|row| Value::from(row.certificate_id.as_str())).collect();
        let requests: Vec<RequestOf> = sqlx::query_as(REQUESTS)
            .bind(ids.to_string())
            .fetch_all(&mut self.connection)
            .await
            .map_err(QueueError::of(WHAT))?;
        let mut by_certificate: HashMap<String, Vec<ReportRequest>> = HashMap::new();
        for RequestOf { certificate_id, line } in requests {
            by_certificate.entry(certificate_id.to_string()).or_default().push(line);
        }
        let story = |row: ReportRow| {
            let requests = by_certificate.remove(row.certificate_id.as_str()).unwrap_or_default();
            Story { row, requests }
        };
        Ok(rows.into_iter().map(story).collect())
    }
}

impl ReportFilter {
    fn restrict(&self, query: &mut QueryBuilder<Sqlite>) {
        if let Some(reference) = &self.reference {
            query.push(" AND s.reference = ").push_bind(reference.clone());
        }
        if let Some(state) = self.state {
            query.push(" AND s.state = ").push_bind(state.as_str());
        }
        if let Some(since) = self.since {
            query.push(" AND s.created_at >= ").push_bind(since);
        }
        if let Some(until) = self.until {
            query.push(" AND s.created_at < ").push_bind(until);
        }
    }
}
