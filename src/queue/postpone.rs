//! Postponing rows that need a readback and can't be read back now. There may be many of them, due before all others: where
//! they hide rows that can be sent or read back, they are made due later.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::savepoint::write_alone;
use crate::cause::RowCause;
use crate::clock::Now;
use crate::submission::Evidence;

/// The longest spread while others are read back first. Rows that are enough to hide others still come due faster than they
/// can be read back.
const LONGEST_QUEUED: Duration = Duration::from_secs(30);
/// The longest spread while readback is paused.
const LONGEST_PAUSED: Duration = Duration::from_secs(300);

/// Why a row can't be read back now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// An order placed by its last commit may take this much longer to show.
    Unsettled(Duration),
    /// Others are read back first.
    Queued,
    /// Readback is paused.
    Paused,
}

/// A row that can't be read back now.
#[derive(Debug)]
pub(super) struct Waiting {
    submission: i64,
    /// The shortest wait, in seconds.
    at_least: u64,
    /// A random part of this is added. The longer a row has waited, the longer it waits again, so that the number of
    /// postponements doesn't grow with the number of rows.
    spread: u64,
    /// None: as before.
    cause: Option<RowCause>,
}

impl Waiting {
    pub(super) fn new(submission: i64, obstacle: Obstacle, evidence: &Evidence) -> Self {
        let spread = |longest: Duration| evidence.age.min(longest).as_secs().max(1);
        let (at_least, spread, cause) = match obstacle {
            Obstacle::Unsettled(rest) => (rest.as_secs() + 1, 1, RowCause::ReadbackTooEarly),
            Obstacle::Queued => (1, spread(LONGEST_QUEUED), RowCause::ReadbackQueued),
            Obstacle::Paused => (1, spread(LONGEST_PAUSED), RowCause::ReadbackUnavailable),
        };
        Self { submission, at_least, spread, cause: Some(cause) }
    }

    /// A row in doubt that may be read back after this time.
    pub(super) fn in_doubt(submission: i64, due_in: Duration) -> Self {
        Self { submission, at_least: due_in.as_secs() + 1, spread: 1, cause: None }
    }

    fn to_json(&self) -> Value {
        let Self { submission, at_least, spread, cause } = self;
        json!({ "submission": submission, "at_least": at_least, "spread": spread,
                "reason": cause.as_ref().map(RowCause::to_string), "reason_code": cause.as_ref().map(RowCause::code) })
    }
}

/// Makes these rows due later. Returns false if a rule rejected that; then they stay as they are.
pub(super) async fn postpone(
    connection: &mut SqliteConnection,
    waiting: &[Waiting],
    now: Now,
) -> Result<bool, QueueError> {
    let waiting = Value::from_iter(waiting.iter().map(Waiting::to_json)).to_string();
    let postponed = write_alone(connection, async |connection| {
        sqlx::query(
            // The plus makes SQLite look up these rows instead of searching all pending ones.
            "UPDATE submissions
                SET due_at = ?2 + (new ->> 'at_least') + abs(random() % (new ->> 'spread')),
                    reason = coalesce(new ->> 'reason', reason), reason_code = coalesce(new ->> 'reason_code', reason_code),
                    reason_parameters = CASE WHEN new ->> 'reason' IS NULL THEN reason_parameters END, updated_at = ?2
               FROM (SELECT value AS new, value ->> 'submission' AS submission FROM jsonb_each(?1))
              WHERE id = submission AND +state IN ('pending', 'in_doubt')",
        )
        .bind(waiting)
        .bind(now.unix.seconds())
        .execute(connection)
        .await
        .map_err(QueueError::of("postponing rows that wait for a readback"))
    });
    Ok(postponed.await?.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(obstacle: Obstacle, age: u64) -> (u64, u64) {
        let evidence = Evidence { age: Duration::from_secs(age), ..Evidence::none() };
        let waiting = Waiting::new(7, obstacle, &evidence);
        assert_eq!(waiting.submission, 7);
        (waiting.at_least, waiting.spread)
    }

    #[test]
    fn a_row_waits_about_as_long_again_as_it_waited_up_to_a_limit() {
        assert_eq!([0, 1, 20, 1000].map(|age| waits(Obstacle::Queued, age)), [(1, 1), (1, 1), (1, 20), (1, 30)]);
        assert_eq!([0, 1, 20, 1000].map(|age| waits(Obstacle::Paused, age)), [(1, 1), (1, 1), (1, 20), (1, 300)]);
    }

    #[test]
    fn a_row_whose_last_commit_may_not_show_yet_waits_until_it_does() {
        assert_eq!(waits(Obstacle::Unsettled(Duration::from_millis(58_500)), 1), (59, 1));
    }
}
