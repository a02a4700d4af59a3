//! Due times after the wall clock was set back.
//!
//! A row that was written while the clock was ahead would wait until the clock gets there again. Its wait is counted from now
//! on instead. Due times that users set in advance stay as they are.

use std::slice;

use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use super::savepoint::write_alone;
use crate::clock::Now;

const WHAT: &str = "adjusting due times to the clock";

/// Rows with a due time from before the clock was set back. A user's due time is later than `updated_at`, and its row has no
/// reason or is in flight. Only the daemon sets the due time of a row in doubt. A row in flight was due when it was claimed;
/// its due time counts again once the row is pending. The plus keeps SQLite from searching all pending rows.
const AHEAD: &str = "SELECT id FROM submissions
  WHERE +state IN ('pending', 'in_flight', 'in_doubt') AND updated_at > ?1 + 1 AND due_at > ?1
    AND (state = 'in_doubt' OR state = 'pending' AND reason IS NOT NULL OR due_at <= updated_at)";
/// Makes rows due as long from now as they were from the time when they were last written.
const SET_BACK: &str = "UPDATE submissions SET due_at = ?1 + max(due_at - updated_at, 0), updated_at = ?1
  WHERE id IN (SELECT value FROM json_each(?2))";

impl Queue {
    /// Makes rows that were written in the future due as long from now as they were from then: at once, after the rest of a
    /// backoff, or after settling. Returns how many it changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_clock(&mut self, now: Now) -> Result<u64, QueueError> {
        self.write(WHAT, async |connection| {
            let ahead = sqlx::query_scalar(AHEAD).bind(now.unix.seconds()).fetch_all(&mut *connection).await;
            let ahead: Vec<i64> = ahead.map_err(QueueError::of(WHAT))?;
            if let Ok(moved) = set_back(connection, &ahead, now).await? {
                return Ok(moved);
            }
            // A rule that rejects a row affects only that row, and is reported when the row is claimed.
            let mut moved = 0;
            for id in &ahead {
                moved += set_back(connection, slice::from_ref(id), now).await?.unwrap_or_default();
            }
            Ok(moved)
        })
        .await
    }
}

/// Returns how many rows it changed, or the sentence of the rule that rejected it.
async fn set_back(connection: &mut SqliteConnection, ids: &[i64], now: Now) -> Result<Result<u64, String>, QueueError> {
    let ids = Value::from(ids).to_string();
    write_alone(connection, async |connection| {
        let query = sqlx::query(SET_BACK).bind(now.unix.seconds()).bind(ids);
        let moved = query.execute(connection).await.map_err(QueueError::of(WHAT))?;
        Ok(moved.rows_affected())
    })
    .await
}
