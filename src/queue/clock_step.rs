//! What becomes of due times when the wall clock is set back.
//!
//! A row that was written under a clock that was ahead lies in the future of the one that is right: its waits would
//! last until the clock gets there once more. They are counted from now on instead. Due times that people set in
//! advance follow the clock as they are.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use super::savepoint;
use crate::clock::Now;

/// Makes due what was written in the future, and waits. Whoever sets a due time in advance leaves no reason, and only the
/// daemon sets one for what is in doubt. The plus keeps SQLite from looking through all that is pending, instead of these.
const ALL: &str = "UPDATE submissions SET due_at = ?1 + max(due_at - updated_at, 0), updated_at = ?1
  WHERE +state IN ('pending', 'in_doubt') AND updated_at > ?1 + 1 AND due_at > ?1
    AND (state = 'in_doubt' OR reason IS NOT NULL OR due_at <= updated_at)
    AND ?2 IS NULL";
const AHEAD: &str = "SELECT id FROM submissions
  WHERE +state IN ('pending', 'in_doubt') AND updated_at > ?1 + 1 AND due_at > ?1
    AND (state = 'in_doubt' OR reason IS NOT NULL OR due_at <= updated_at)";
const ONE: &str = "UPDATE submissions SET due_at = ?1 + max(due_at - updated_at, 0), updated_at = ?1 WHERE id = ?2";

impl Queue {
    /// Makes what was written in the future due as long from now as it was then: at once, after the rest of a backoff,
    /// or after settling. Says how many submissions it concerns.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_clock(&mut self, now: Now) -> Result<u64, QueueError> {
        let failed = QueueError::of("following the clock");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        savepoint::begin(&mut transaction).await?;
        let at_once = set_back(&mut transaction, ALL, None, now).await;
        savepoint::end(&mut transaction, &at_once).await?;
        let moved = match at_once {
            Err(QueueError::Refused(_)) => one_by_one(&mut transaction, now).await?,
            at_once => at_once?,
        };
        transaction.commit().await.map_err(&failed)?;
        Ok(moved)
    }
}

/// What a rule refuses concerns its row alone, and is told when that is claimed.
async fn one_by_one(connection: &mut SqliteConnection, now: Now) -> Result<u64, QueueError> {
    let ahead: Vec<i64> = sqlx::query_scalar(AHEAD)
        .bind(now.unix.seconds())
        .fetch_all(&mut *connection)
        .await
        .map_err(QueueError::of("following the clock"))?;
    let mut moved = 0;
    for id in ahead {
        savepoint::begin(connection).await?;
        let written = set_back(connection, ONE, Some(id), now).await;
        savepoint::end(connection, &written).await?;
        match written {
            Ok(written) => moved += written,
            Err(QueueError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
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
