//! The certificates whose order stands, and what the CA has made of it since.

use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};

use super::connection::Queue;
use super::error::QueueError;
use super::untrusted_text::UntrustedText;
use crate::clock::UnixMillis;
use crate::submission::{CertificateStatus, Standing, next_look};
use serde_json::{Value, json};

const WHAT: &str = "following the orders";

/// So many submissions are examined in a step, for those that aren't followed yet.
const STEP: i64 = 1_000;
/// A change may be written this many seconds after the time that it has.
const SETTLED_AFTER: i64 = 2;

/// The next submissions in the order of their last changes.
const CHANGED: &str = "SELECT id, updated_at FROM submissions WHERE (updated_at, id) > (?1, ?2) AND updated_at <= ?3
     ORDER BY updated_at, id LIMIT ?4";

/// Those of them whose order stands and isn't followed yet. What the answer to the submission made final is left out.
const TO_ADOPT: &str = "SELECT s.id FROM json_each(?1) CROSS JOIN submissions s ON s.id = json_each.value
     WHERE s.state = 'submitted' AND (s.status IS NULL OR s.status NOT IN (SELECT value FROM json_each(?2)))
       AND NOT EXISTS (SELECT 1 FROM followed f WHERE f.submission = s.id)";

/// A submission may have changed meanwhile; then its next change is examined.
const ADOPT: &str = "INSERT OR IGNORE INTO followed (submission, due_at)
     SELECT id, max(?2, coalesce(CAST(finished_at AS INTEGER), 0) + ?3) FROM submissions
      WHERE id IN (SELECT value FROM json_each(?1)) AND state = 'submitted'";

const DUE: &str =
    "SELECT f.submission, s.certificate_id, s.order_id, coalesce(f.status, CAST(s.status AS INTEGER)) AS status,
        coalesce(f.status_at, CAST(s.finished_at AS INTEGER)) AS since
     FROM followed f JOIN submissions s ON s.id = f.submission
    WHERE f.due_at <= ?1 ORDER BY f.due_at LIMIT ?2";

/// A submission that was deleted meanwhile is left out. By way of a conflict, each row is found by its key.
const RECORD: &str = "INSERT INTO followed (submission, status, status_at, message, read_at, due_at)
     SELECT value ->> 0, value ->> 1, ?1, value ->> 2, ?1, value ->> 3 FROM json_each(?2)
      WHERE EXISTS (SELECT 1 FROM followed WHERE submission = value ->> 0)
     ON CONFLICT (submission) DO UPDATE SET read_at = excluded.read_at, due_at = excluded.due_at,
       status_at = CASE WHEN excluded.status IS NULL OR status IS excluded.status THEN status_at ELSE excluded.status_at END,
       message = CASE WHEN excluded.status IS NULL THEN message ELSE excluded.message END,
       status = coalesce(excluded.status, status)";

/// Those that were last read in what is the future now, after the clock was set back.
const READ_IN_THE_FUTURE: &str =
    "SELECT submission FROM followed INDEXED BY followed_due WHERE due_at > ?1 AND read_at > ?1 + 1 LIMIT ?2";
const DUE_NOW: &str = "INSERT INTO followed (submission, due_at) SELECT value, ?1 FROM json_each(?2)
      WHERE EXISTS (SELECT 1 FROM followed WHERE submission = value)
     ON CONFLICT (submission) DO UPDATE SET due_at = excluded.due_at";

const COUNT: &str = "SELECT value, (SELECT count(*) FROM followed WHERE status = value) FROM json_each(?1)";

/// A certificate that is due to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Followed {
    /// `submissions.id`.
    pub submission: i64,
    /// The certificate.
    pub certificate_id: UntrustedText,
    /// Its order.
    pub order_id: Option<UntrustedText>,
    /// The newest status that is known: that of the answer to the submission, if none was read yet.
    pub status: Option<i64>,
    /// Since when it has that status, in unix seconds.
    pub since: Option<i64>,
}

impl Followed {
    /// What a look showed now: this status, with the server's words about it; none, if the reply had none for it. The next look
    /// is due after a while that grows while nothing changes; never, if the status is final.
    #[must_use]
    pub fn seen(&self, status: Option<i64>, message: Option<String>, interval: Duration, now: UnixMillis) -> Look {
        let newest = status.or(self.status);
        let since = self.since.filter(|_| newest == self.status).map(UnixMillis::of_seconds);
        let unchanged_for = since.map_or(Duration::ZERO, |since| now.since(since));
        let due_at = now.plus(next_look(interval, unchanged_for)).seconds();
        let is_final = newest.is_some_and(|status| Standing::of(status).is_final());
        Look { submission: self.submission, status, message, due_at: (!is_final).then_some(due_at) }
    }
}

/// What a look at a certificate showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// `submissions.id`.
    pub submission: i64,
    /// The status; none if the reply had none for it.
    pub status: Option<i64>,
    /// The server's words about the status.
    pub message: Option<String>,
    /// When it is looked at again, in unix seconds; never, if it is none.
    pub due_at: Option<i64>,
}

/// How far the submissions have been examined, in the order of their last changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FollowCursor {
    changed_at: i64,
    id: i64,
}

impl Queue {
    /// Examines the next submissions after this point, and begins to follow those whose order stands: the first look is due
    /// this long after the order. Moves the point; returns whether there may be more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn adopt(
        &mut self,
        after: &mut FollowCursor,
        first_look: Duration,
        now: UnixMillis,
    ) -> Result<bool, QueueError> {
        let changed: Vec<(i64, i64)> = sqlx::query_as(CHANGED)
            .bind(after.changed_at)
            .bind(after.id)
            .bind(now.seconds() - SETTLED_AFTER)
            .bind(STEP)
            .fetch_all(&mut self.connection)
            .await
            .map_err(QueueError::of(WHAT))?;
        let Some(&(id, changed_at)) = changed.last() else { return Ok(false) };
        let may_be_more = changed.len() >= usize::try_from(STEP).unwrap_or(usize::MAX);
        let changed: Value = changed.iter().map(|(id, _)| Value::from(*id)).collect();
        let finals = codes(Standing::is_final);
        let to_adopt = sqlx::query_scalar(TO_ADOPT).bind(changed.to_string()).bind(finals);
        let to_adopt: Vec<i64> = to_adopt.fetch_all(&mut self.connection).await.map_err(QueueError::of(WHAT))?;
        if !to_adopt.is_empty() {
            let first_look = i64::try_from(first_look.as_secs()).unwrap_or(i64::MAX);
            self.execute(
                sqlx::query(ADOPT).bind(Value::from(to_adopt).to_string()).bind(now.seconds()).bind(first_look),
            )
            .await?;
        }
        *after = FollowCursor { changed_at, id };
        Ok(may_be_more)
    }

    /// Makes those due that were last read in the future, as the clock was ahead then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_clock_back(&mut self, now: UnixMillis) -> Result<(), QueueError> {
        loop {
            let ahead = sqlx::query_scalar(READ_IN_THE_FUTURE).bind(now.seconds()).bind(STEP);
            let ahead: Vec<i64> = ahead.fetch_all(&mut self.connection).await.map_err(QueueError::of(WHAT))?;
            if ahead.is_empty() {
                return Ok(());
            }

            self.execute(sqlx::query(DUE_NOW).bind(now.seconds()).bind(Value::from(ahead).to_string())).await?;
        }
    }

    /// The certificates that are due by now, the longest due first; at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_to_follow(&mut self, now: UnixMillis, most: usize) -> Result<Vec<Followed>, QueueError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let due = sqlx::query_as(DUE).bind(now.seconds()).bind(most).fetch_all(&mut self.connection);
        due.await.map_err(QueueError::of(WHAT))
    }

    /// Records what looks showed now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_looks(&mut self, looks: &[Look], now: UnixMillis) -> Result<(), QueueError> {
        let rows: Value =
            looks.iter().map(|look| json!([look.submission, look.status, look.message, look.due_at])).collect();

        self.execute(sqlx::query(RECORD).bind(now.seconds()).bind(rows.to_string())).await
    }
    async fn execute(&mut self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<(), QueueError> {
        let mut transaction = self.begin_writing(WHAT).await?;
        query.execute(&mut *transaction).await.map_err(QueueError::of(WHAT))?;
        transaction.commit().await.map_err(QueueError::of(WHAT))
    }

    /// How many of the certificates that were looked at are known to stand like this.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_standing(&mut self, standings: &[Standing]) -> Result<Vec<(Standing, i64)>, QueueError> {
        let counts = sqlx::query_as(COUNT).bind(codes(|standing| standings.contains(&standing)));
        let counts: Vec<(i64, i64)> = counts.fetch_all(&mut self.connection).await.map_err(QueueError::of(WHAT))?;
        let sum = |standing: Standing| {
            counts.iter().filter(|(code, _)| Standing::of(*code) == standing).map(|(_, count)| *count).sum()
        };
        Ok(standings.iter().map(|standing| (*standing, sum(*standing))).collect())
    }
}

/// The documented statuses that mean such a standing, as JSON.
fn codes(wanted: impl Fn(Standing) -> bool) -> String {
    let documented = CertificateStatus::ALL.iter().map(|status| status.code);
    documented.filter(|code| wanted(Standing::of(*code))).map(Value::from).collect::<Value>().to_string()
}
