//! What becomes of due times when the wall clock is set back.
//!
//! A row that was written under a clock that was ahead lies in the future of the one that is right: its waits would
//! last until the clock gets there once more. They are counted from now on instead. Due times that people set in
//! advance follow the clock as they are.

use sqlx::Connection as _;

use super::error::QueueError;
use super::open::Queue;
use crate::clock::Now;

impl Queue {
    /// Makes what was written in the future due as long from now as it was then: at once, after the rest of a backoff,
    /// or after settling. Says how many submissions it concerns.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_clock(&mut self, now: Now) -> Result<u64, QueueError> {
        let failed = QueueError::of("following the clock");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        // Whoever sets a due time in advance leaves no reason, and only the daemon sets one for what is in doubt. The plus
        // keeps SQLite from looking through all that is pending, instead of what was written in the future.
        let moved = sqlx::query(
            "UPDATE submissions SET due_at = ?1 + max(due_at - updated_at, 0), updated_at = ?1
              WHERE +state IN ('pending', 'in_doubt') AND updated_at > ?1 + 1 AND due_at > ?1
                AND (state = 'in_doubt' OR reason IS NOT NULL OR due_at <= updated_at)",
        )
        .bind(now.unix.seconds())
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(moved.rows_affected())
    }
}
