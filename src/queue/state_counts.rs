//! Counting the submissions themselves, where the counts that the queue's triggers keep are certainly wrong: somebody wrote
//! them, or the triggers were away. It reads an index through, a second for ten million rows.

use super::error::QueueError;
use super::open::Queue;
use super::report::Counts;
use super::snapshot::outlook;

/// Sets what is wrong, and nothing else.
pub(super) const CORRECT: &str = "UPDATE state_counts
    SET count = (SELECT count(*) FROM submissions s WHERE s.state = state_counts.state)
  WHERE count IS NOT (SELECT count(*) FROM submissions s WHERE s.state = state_counts.state)";

impl Queue {
    /// Submissions by state, counted one by one.
    pub(super) async fn counted(&mut self) -> Result<Counts, QueueError> {
        let counted: Vec<(String, i64)> =
            sqlx::query_as("SELECT CAST(state AS TEXT), count(*) FROM submissions GROUP BY state")
                .fetch_all(&mut self.connection)
                .await
                .map_err(QueueError::of("counting the submissions"))?;
        Ok(counted.into_iter().filter_map(|(state, count)| Some((state.parse().ok()?, count))).collect())
    }

    /// Sets the counts that are kept to what is there, and tells them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recount(&mut self) -> Result<Counts, QueueError> {
        let failed = QueueError::of("counting the submissions anew");
        sqlx::query(CORRECT).execute(&mut self.connection).await.map_err(failed)?;
        outlook(&mut self.connection).await.map(|outlook| outlook.counts)
    }
}
