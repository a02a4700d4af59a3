//! Pending rows that have to be read before they are sent, and can't be now. There may be many of them, due before all
//! others: where they hide what can be sent, they are due again later.

use std::time::Duration;

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::savepoint;
use crate::clock::Now;
use crate::submission::Evidence;

/// While others are read first: more come due than can be read, as long as there are enough of them to be in the way.
const LONGEST_IN_LINE: Duration = Duration::from_secs(30);
/// While nothing can be read.
const LONGEST_IN_PAUSE: Duration = Duration::from_secs(300);

/// Why a row can't be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Its last commit may take this much longer to show.
    Unsettled(Duration),
    /// Others are read first.
    Line,
    /// Reading is paused.
    Pause,
}

/// A row that can't be read now, as its statement takes it.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    submission: i64,
    /// It waits no shorter than this, in seconds.
    at_least: u64,
    /// And then at random less than this. The longer it waited already, the longer it waits: how often all of them are
    /// put off doesn't grow with how long they are.
    spread: u64,
    reason: &'static str,
}

impl Waiting {
    pub(super) fn new(submission: i64, obstacle: Obstacle, evidence: &Evidence) -> Self {
        let spread = |longest: Duration| evidence.age.min(longest).as_secs().max(1);
        let (at_least, spread, reason) = match obstacle {
            Obstacle::Unsettled(rest) => {
                (rest.as_secs() + 1, 1, "waits to be read before the next try: its last commit may not show yet")
            }
            Obstacle::Line => {
                (1, spread(LONGEST_IN_LINE), "waits to be read before the next try: others are read first")
            }
            Obstacle::Pause => (1, spread(LONGEST_IN_PAUSE), "waits to be read before the next try: reading is paused"),
        };
        Self { submission, at_least, spread, reason }
    }
}

/// Makes these rows due later. False: a rule refused it, and they stay as they are.
pub(super) async fn postpone(
    connection: &mut SqliteConnection,
    waiting: &[Waiting],
    now: Now,
) -> Result<bool, QueueError> {
    savepoint::begin(connection).await?;
    let written = write(connection, waiting, now).await;
    savepoint::end(connection, &written).await?;
    match written {
        Ok(()) => Ok(true),
        Err(QueueError::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn write(connection: &mut SqliteConnection, waiting: &[Waiting], now: Now) -> Result<(), QueueError> {
    const WHAT: &str = "putting off what can't be read";
    let waiting = serde_json::to_string(waiting).map_err(|error| QueueError::unwritable(WHAT, &error))?;
    sqlx::query(
        // The plus keeps SQLite from looking through all that is pending, instead of these rows.
        "UPDATE submissions
            SET due_at = ?2 + (new ->> 'at_least') + abs(random() % (new ->> 'spread')), reason = new ->> 'reason',
                updated_at = ?2
           FROM (SELECT value AS new, value ->> 'submission' AS submission FROM jsonb_each(?1))
          WHERE id = submission AND +state = 'pending'",
    )
    .bind(waiting)
    .bind(now.unix.seconds())
    .execute(connection)
    .await
    .map_err(QueueError::of(WHAT))?;
    Ok(())
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
        assert_eq!([0, 1, 20, 1000].map(|age| waits(Obstacle::Line, age)), [(1, 1), (1, 1), (1, 20), (1, 30)]);
        assert_eq!([0, 1, 20, 1000].map(|age| waits(Obstacle::Pause, age)), [(1, 1), (1, 1), (1, 20), (1, 300)]);
    }

    #[test]
    fn a_row_whose_last_commit_may_not_show_yet_waits_until_it_does() {
        assert_eq!(waits(Obstacle::Unsettled(Duration::from_millis(58_500)), 1), (59, 1));
    }
}
