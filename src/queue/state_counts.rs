//! The table `state_counts`, which triggers maintain. It is corrected only where it is certainly wrong, because someone
//! wrote to it or dropped triggers: counting the submissions reads a whole index, which takes a second for ten million rows.

use super::connection::Queue;
use super::counts::Counts;
use super::error::QueueError;
use super::snapshot::snapshot;

/// The states whose count is wrong, with that count and the right one.
pub(super) const DIFFERENCES: &str =
    "SELECT n.state || ': ' || coalesce(n.count, 'none') || ', and ' || (SELECT count(*) FROM submissions s WHERE s.state = n.state)
       FROM state_counts n WHERE n.count IS NOT (SELECT count(*) FROM submissions s WHERE s.state = n.state)";

/// Corrects the counts that are wrong, and nothing else.
pub(super) const CORRECT: &str = "UPDATE state_counts
    SET count = (SELECT count(*) FROM submissions s WHERE s.state = state_counts.state)
  WHERE count IS NOT (SELECT count(*) FROM submissions s WHERE s.state = state_counts.state)";

impl Queue {
    /// Submissions by state. The cost doesn't depend on the length of the queue, unless the table is certainly wrong.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn counts(&mut self) -> Result<Counts, QueueError> {
        let snapshot = snapshot(&mut self.connection).await?;
        if snapshot.miscounted { self.count().await } else { Ok(snapshot.counts) }
    }

    /// Whether the table is certainly wrong. The daemon corrects it when it notices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_miscounted(&mut self) -> Result<bool, QueueError> {
        snapshot(&mut self.connection).await.map(|snapshot| snapshot.miscounted)
    }

    /// Corrects the table.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recount(&mut self) -> Result<(), QueueError> {
        let corrected = sqlx::query(CORRECT).execute(&mut self.connection).await;
        corrected.map(drop).map_err(QueueError::of("recounting the submissions"))
    }

    /// Submissions by state, counted one by one.
    pub(super) async fn count(&mut self) -> Result<Counts, QueueError> {
        let counted: Vec<(String, i64)> =
            sqlx::query_as("SELECT CAST(state AS TEXT), count(*) FROM submissions GROUP BY state")
                .fetch_all(&mut self.connection)
                .await
                .map_err(QueueError::of("counting the submissions"))?;
        Ok(counted.into_iter().filter_map(|(state, count)| Some((state.parse().ok()?, count))).collect())
    }
}
