//! Due times after the wall clock was set back.
//!
//! A row that was written while the clock was ahead would wait until the clock gets there again. Its wait is counted from now
//! on instead. Due times that users set in advance stay as they are.

use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use super::savepoint::write_alone;
use crate::clock::Now;

/// Makes rows due as long from now as they were from the time at which they were written. A due time that a user set comes
/// without a reason, and only the daemon sets that of a row in doubt. The plus keeps SQLite from searching all pending rows.
const ALL: &str = "UPDATE submissions SET due_at = ?1 + max(due_at - updated_at, 0), updated_at = ?1
  WHERE +state IN ('pending', 'in_doubt') AND updated_at > ?1 + 1 AND due_at > ?1
    AND (state = 'in_doubt' OR reason IS NOT NULL OR due_at <= updated_at)";
const AHEAD: &str = "SELECT id FROM submissions
  WHERE +state IN ('pending', 'in_doubt') AND updated_at > ?1 + 1 AND due_at > ?1
    AND (state = 'in_doubt' OR reason IS NOT NULL OR due_at <= updated_at)";
const ONE: &str = "UPDATE submissions SET due_at = ?1 + max(due_at - updated_at, 0), updated_at = ?1 WHERE id = ?2";

impl Queue {
    /// Makes rows that were written in the future due as long from now as they were from then: at once, after the rest of a
    /// backoff, or after settling. Returns how many it changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_clock(&mut self, now: Now) -> Result<u64, QueueError> {
        self.write("following the clock", async |connection| {
            if let Ok(moved) = set_back(connection, ALL, None, now).await? {
                return Ok(moved);
            }
            // A rule that rejects a row affects only that row, and is reported when the row is claimed.
            let ahead = sqlx::query_scalar(AHEAD).bind(now.unix.seconds()).fetch_all(&mut *connection).await;
            let mut moved = 0;
            for id in ahead.map_err(QueueError::of("following the clock"))? {
                moved += set_back(connection, ONE, Some(id), now).await?.unwrap_or_default();
            }
            Ok(moved)
        })
        .await
    }
}

async fn set_back(
    connection: &mut SqliteConnection,
    statement: &'static str,
    id: Option<i64>,
    now: Now,
) -> Result<Result<u64, String>, QueueError> {
    write_alone(connection, async |connection| {
        let query = sqlx::query(statement).bind(now.unix.seconds());
        let query = if id.is_some() { query.bind(id) } else { query };
        let moved = query.execute(connection).await.map_err(QueueError::of("following the clock"))?;
        Ok(moved.rows_affected())
    })
    .await
}
