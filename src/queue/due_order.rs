//! The rows that are due, in the order in which they are claimed.

use std::sync::LazyLock;

use serde::Deserialize;
use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use crate::clock::Now;
use crate::submission::{CertificateId, VerifyType};

/// The priorities are the whole numbers from 0 to one less than this.
pub(super) const PRIORITIES: i64 = 4;
/// The priority that is claimed first.
pub(super) const HIGHEST_PRIORITY: i64 = PRIORITIES - 1;

/// A row as it is stored. The rules keep invalid values out, but rules can be dropped.
#[derive(Debug, Deserialize)]
pub(super) struct DueRow {
    pub(super) id: i64,
    is_in_doubt: bool,
    priority: i64,
    due_at: i64,
    /// None if it isn't printable ASCII.
    pub(super) certificate_id: Option<String>,
    /// Empty if it isn't printable ASCII.
    verify_type: Option<String>,
    /// None if it isn't a number of tries.
    tries: Option<u32>,
    /// Whether there is any record of an earlier request or decision for its certificate.
    pub(super) has_history: bool,
}

/// The values of a valid row.
pub(super) struct Valid {
    pub(super) certificate_id: CertificateId,
    pub(super) verify_type: Option<VerifyType>,
    pub(super) tries: u32,
}

impl DueRow {
    /// Its values; none if any of them is invalid.
    pub(super) fn parse(&self) -> Option<Valid> {
        let certificate_id = self.certificate_id.as_deref()?.parse().ok()?;
        let verify_type = self.verify_type.as_deref().map(str::parse).transpose().ok()?;
        Some(Valid { certificate_id, verify_type, tries: self.tries? })
    }
}

/// One query for each priority, the highest first. SQLite reads the index in order only if each has its own.
pub(super) fn for_each_priority(query: impl Fn(&str) -> String) -> String {
    let queries =
        (0..PRIORITIES).rev().map(|priority| query(&format!("s.state = 'pending' AND s.priority = {priority}")));
    queries.collect::<Vec<_>>().join(" UNION ALL ")
}

/// The condition for a row that could be sent once it is due: no request for it is in flight.
pub(super) const IDLE: &str = " AND typeof(s.due_at) = 'integer'
    AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id AND r.finished_at IS NULL)";

/// The earliest due rows that meet a condition. `limit` is the parameter that limits how many.
///
/// SQLite uses the value of a bare parameter to plan a LIMIT, or a comparison on a table with a partial index on
/// `IS NOT NULL`, and so plans the statement again each time one is bound. That took half of the daemon's processor time;
/// hence the CASTs.
fn earliest(limit: &str, condition: &str) -> String {
    [
        "SELECT * FROM (SELECT s.id, s.state, CAST(s.priority AS INTEGER) AS priority, s.due_at, s.certificate_id,
                        s.verify_type, s.tries
           FROM submissions s WHERE ",
        condition,
        " AND s.due_at <= CAST(?1 AS INTEGER)",
        IDLE,
        " ORDER BY s.due_at, s.id LIMIT CAST(",
        limit,
        " AS INTEGER))",
    ]
    .concat()
}

/// A column if it holds printable ASCII, else null: other values could make the JSON invalid.
fn printable(column: &str) -> String {
    "CASE WHEN typeof(_) = 'text' AND length(CAST(_ AS BLOB)) = length(_) AND _ NOT GLOB '*[^ -~]*' THEN _ END"
        .replace('_', column)
}

/// The due rows as one JSON array: each row returned separately costs a thread switch.
static DUE: LazyLock<String> = LazyLock::new(|| {
    [
        "SELECT json_group_array(json_object(
                  'id', id, 'is_in_doubt', json(iif(state = 'in_doubt', 'true', 'false')), 'priority', priority,
                  'due_at', due_at,
                  'tries', CASE WHEN typeof(tries) = 'integer' AND tries BETWEEN 0 AND 4294967295 THEN tries END,
                  'has_history', json(iif(EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = found.certificate_id)
                                            OR EXISTS (SELECT 1 FROM resolutions WHERE certificate_id = found.certificate_id),
                                          'true', 'false')),
                  'certificate_id', ",
        &printable("certificate_id"),
        ", 'verify_type', CASE WHEN verify_type IS NOT NULL THEN coalesce(",
        &printable("verify_type"),
        ", '') END)) FROM (",
        &earliest("?2", "s.state = 'in_doubt'"),
        " UNION ALL SELECT * FROM (",
        &for_each_priority(|condition| earliest("?3", condition)),
        " LIMIT CAST(?4 AS INTEGER)) WHERE NOT EXISTS (SELECT 1 FROM control WHERE paused)) AS found",
    ]
    .concat()
});

/// How many rows to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct DueLimits {
    pub(super) in_doubt: usize,
    /// Of pending rows, for each priority.
    pub(super) of_each_priority: usize,
    /// Of all pending rows.
    pub(super) pending: usize,
    /// The priority that comes first; then those below it, and then those above.
    pub(super) first_priority: i64,
}

/// The rows that are due.
pub(super) struct Due {
    /// Rows in doubt, the earliest first.
    pub(super) in_doubt: Vec<DueRow>,
    /// Pending rows, by priority, the earliest first; none if the queue is paused.
    pub(super) pending: Vec<DueRow>,
}

impl Due {
    /// Whether more pending rows may be due than these, which were found with this limit for each priority.
    pub(super) fn may_hide_others(&self, of_each_priority: usize) -> bool {
        let count = |priority| self.pending.iter().filter(|row| row.priority == priority).count();
        (0..PRIORITIES).any(|priority| count(priority) >= of_each_priority)
    }
}

/// Looks for the rows that are due.
pub(super) async fn due(connection: &mut SqliteConnection, now: Now, limits: DueLimits) -> Result<Due, QueueError> {
    const WHAT: &str = "looking for due submissions";
    let mut query = sqlx::query_scalar(DUE.as_str()).bind(now.unix.seconds());
    for limit in [limits.in_doubt, limits.of_each_priority, limits.pending] {
        query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    }
    let json: String = query.fetch_one(connection).await.map_err(QueueError::of(WHAT))?;
    let found: Result<Vec<DueRow>, _> = serde_json::from_str(&json);
    let mut found = found.map_err(|error| QueueError::json(WHAT, &error))?;
    found.sort_by_key(|row| (row.due_at, row.id));
    let (in_doubt, mut pending): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.is_in_doubt);
    pending.sort_by_key(|row| (limits.first_priority - row.priority).rem_euclid(PRIORITIES));
    Ok(Due { in_doubt, pending })
}
