//! What happens to due times when the wall clock is set back.
//!
//! The waits of a row that was written while the clock was ahead would last until the clock gets there again. They are
//! counted from now on instead. Due times that people set in advance stay as they are.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use super::savepoint;
use crate::clock::Now;

/// Moves the due times of waiting rows that were written in the future. A due time that people set comes without a reason,
/// and only the daemon sets that of a row in doubt. The plus keeps SQLite from searching all pending rows instead of these.
const ALL: &str = "UPDATE submissions SET due_at = ?1 + max(due_at - updated_at, 0), updated_at = ?1
  WHERE +state IN ('pending', 'in_doubt') AND updated_at > ?1 + 1 AND due_at > ?1
    AND (state = 'in_doubt' OR reason IS NOT NULL OR due_at <= updated_at)
    AND ?2 IS NULL";
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
        let failed = QueueError::of("following the clock");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let all =
            savepoint::write_alone(&mut transaction, async |connection| set_back(connection, ALL, None, now).await);
        let moved = match all.await? {
            Ok(moved) => moved,
            Err(_) => one_by_one(&mut transaction, now).await?,
        };
        transaction.commit().await.map_err(&failed)?;
        Ok(moved)
    }
}

/// What a rule rejects concerns its row alone, and is reported when that is claimed.
async fn one_by_one(connection: &mut SqliteConnection, now: Now) -> Result<u64, QueueError> {
    let failed = QueueError::of("following the clock");
    let ahead = sqlx::query_scalar(AHEAD).bind(now.unix.seconds()).fetch_all(&mut *connection).await;
    let mut moved = 0;
    for id in ahead.map_err(failed)? {
        let one = async |connection: &mut SqliteConnection| set_back(connection, ONE, Some(id), now).await;
        moved += savepoint::write_alone(connection, one).await?.unwrap_or_default();
    }
    Ok(moved)
}

async fn set_back(
    connection: &mut SqliteConnection,
    statement: &'static str,
    id: Option<i64>,
    now: Now,
) -> Result<u64, QueueError> {
    let moved = sqlx::query(statement).bind(now.unix.seconds()).bind(id).execute(connection).await;
    moved.map(|moved| moved.rows_affected()).map_err(QueueError::of("following the clock"))
}
