//! Candidates: what is due, the first to go first.

use serde::Deserialize;
use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use crate::clock::Now;
use crate::submission::{CertificateId, VerifyType};

/// The priorities are whole numbers from 0 on, and fewer than this.
pub(super) const PRIORITIES: i64 = 4;
/// The priority that goes first.
pub(super) const HIGHEST_PRIORITY: i64 = PRIORITIES - 1;

/// A row as it stands there. The rules let none in whose values can't be right, but rules can be dropped.
#[derive(Debug, Deserialize)]
pub(super) struct DueRow {
    pub(super) id: i64,
    is_in_doubt: bool,
    priority: i64,
    due_at: i64,
    /// None if it isn't plain text.
    pub(super) certificate_id: Option<String>,
    /// Empty if it isn't plain text.
    verify_type: Option<String>,
    /// None if it is no number of tries.
    tries: Option<u32>,
    /// Whether a request was ever made for it.
    pub(super) has_history: bool,
}

/// The values of a candidate, where they can be right.
pub(super) struct Valid {
    pub(super) certificate_id: CertificateId,
    pub(super) verify_type: Option<VerifyType>,
    pub(super) tries: u32,
}

impl DueRow {
    /// Its values; none if they can't be right.
    pub(super) fn parse(&self) -> Option<Valid> {
        let certificate_id = self.certificate_id.as_deref()?.parse().ok()?;
        let verify_type = self.verify_type.as_deref().map(str::parse).transpose().ok()?;
        Some(Valid { certificate_id, verify_type, tries: self.tries? })
    }
}

/// A value if it is plain text, which JSON can hold whatever else a column may hold; else nothing.
macro_rules! plain {
    ($value:literal) => {
        concat!(
            "CASE WHEN typeof(",
            $value,
            ") = 'text' AND length(CAST(",
            $value,
            " AS BLOB)) = length(",
            $value,
            ")
                   AND ",
            $value,
            " NOT GLOB '*[^ -~]*' THEN ",
            $value,
            " END"
        )
    };
}

/// Rows of this kind that are due and have no request on the way, the first to go first: at most so many.
///
/// SQLite looks at the value of a bare parameter when it plans a LIMIT, or a comparison on a table that has an index of
/// what `IS NOT NULL`, and plans anew whenever one is bound. That took half of all the daemon's time; hence the CASTs.
macro_rules! first {
    ($limit:literal, $which:literal) => {
        concat!(
            "SELECT * FROM (SELECT s.id, s.state, CAST(s.priority AS INTEGER) AS priority, s.due_at, s.certificate_id,
                            s.verify_type, s.tries
               FROM submissions s
              WHERE ",
            $which,
            " AND typeof(s.due_at) = 'integer' AND s.due_at <= CAST(?1 AS INTEGER)
                AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id AND r.finished_at IS NULL)
              ORDER BY s.due_at, s.id LIMIT CAST(",
            $limit,
            " AS INTEGER))"
        )
    };
}

/// What is due, as an array of JSON: each row that comes by itself costs a change of threads.
const DUE: &str = concat!(
    "SELECT json_group_array(json_object(
              'id', id, 'is_in_doubt', json(iif(state = 'in_doubt', 'true', 'false')), 'priority', priority, 'due_at', due_at,
              'certificate_id', ",
    plain!("certificate_id"),
    ", 'verify_type', CASE WHEN verify_type IS NOT NULL THEN coalesce(",
    plain!("verify_type"),
    ", '') END,
              'tries', CASE WHEN typeof(tries) = 'integer' AND tries BETWEEN 0 AND 4294967295 THEN tries END,
              'has_history', json(iif(EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = found.certificate_id)
                                        OR EXISTS (SELECT 1 FROM resolutions WHERE certificate_id = found.certificate_id),
                                      'true', 'false'))))
       FROM (",
    first!("?2", "s.state = 'in_doubt'"),
    " UNION ALL SELECT * FROM (",
    first!("?3", "s.state = 'pending' AND s.priority = 3"),
    " UNION ALL ",
    first!("?3", "s.state = 'pending' AND s.priority = 2"),
    " UNION ALL ",
    first!("?3", "s.state = 'pending' AND s.priority = 1"),
    " UNION ALL ",
    first!("?3", "s.state = 'pending' AND s.priority = 0"),
    " LIMIT CAST(?4 AS INTEGER)) WHERE NOT EXISTS (SELECT 1 FROM control WHERE paused)) AS found"
);

/// How many candidates are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) in_doubt: usize,
    /// Of pending ones, of each priority.
    pub(super) of_each_priority: usize,
    /// Of pending ones in all.
    pub(super) pending: usize,
    /// The priority that goes first; then those below it, and then those above.
    pub(super) first_priority: i64,
}

/// What is due.
pub(super) struct Due {
    /// Rows in doubt, the earliest first.
    pub(super) in_doubt: Vec<DueRow>,
    /// Pending ones, by priority and then the earliest first; none of a queue that is paused.
    pub(super) pending: Vec<DueRow>,
}

impl Due {
    /// Whether there may be more pending ones behind these, where so many of each priority were looked for.
    pub(super) fn may_hide_others(&self, of_each_priority: usize) -> bool {
        let count = |priority| self.pending.iter().filter(|candidate| candidate.priority == priority).count();
        (0..PRIORITIES).any(|priority| count(priority) >= of_each_priority)
    }
}

/// Looks for what is due.
pub(super) async fn due(connection: &mut SqliteConnection, now: Now, most: Most) -> Result<Due, QueueError> {
    const WHAT: &str = "looking for what is due";
    let limit = |most: usize| i64::try_from(most).unwrap_or(i64::MAX);
    let json: String = sqlx::query_scalar(DUE)
        .bind(now.unix.seconds())
        .bind(limit(most.in_doubt))
        .bind(limit(most.of_each_priority))
        .bind(limit(most.pending))
        .fetch_one(connection)
        .await
        .map_err(QueueError::of(WHAT))?;
    let found: Result<Vec<DueRow>, _> = serde_json::from_str(&json);
    let mut found = found.map_err(|error| QueueError::unwritable(WHAT, &error))?;
    found.sort_by_key(|candidate| (candidate.due_at, candidate.id));
    let (in_doubt, mut pending): (Vec<_>, Vec<_>) = found.into_iter().partition(|candidate| candidate.is_in_doubt);
    pending.sort_by_key(|candidate| (most.first_priority - candidate.priority).rem_euclid(PRIORITIES));
    Ok(Due { in_doubt, pending })
}
