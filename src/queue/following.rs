//! The certificates whose order stands, and what the CA has made of it since.

use std::time::Duration;

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

/// Begins to follow those of them that are submitted. What the answer to the submission made final is left out.
const ADOPT: &str = "INSERT OR IGNORE INTO followed (submission, due_at)
     SELECT id, ?2 FROM submissions WHERE id IN (SELECT value FROM json_each(?1))
        AND state = 'submitted' AND (status IS NULL OR status NOT IN (SELECT value FROM json_each(?3)))";

const DUE: &str =
    "SELECT f.submission, s.certificate_id, f.status, coalesce(f.status_at, s.finished_at, s.updated_at) AS since
     FROM followed f JOIN submissions s ON s.id = f.submission
    WHERE f.due_at <= ?1 ORDER BY f.due_at LIMIT ?2";

/// A submission that was deleted meanwhile is left out. By way of a conflict, each row is found by its key.
const RECORD: &str = "INSERT INTO followed (submission, status, status_at, read_at, due_at)
     SELECT value ->> 0, value ->> 1, ?1, ?1, value ->> 2 FROM json_each(?2)
      WHERE EXISTS (SELECT 1 FROM followed WHERE submission = value ->> 0)
     ON CONFLICT (submission) DO UPDATE SET read_at = excluded.read_at, due_at = excluded.due_at,
       status_at = CASE WHEN excluded.status IS NULL OR status IS excluded.status THEN status_at ELSE excluded.status_at END,
       status = coalesce(excluded.status, status)";

/// A certificate that is due to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Followed {
    /// `submissions.id`.
    pub submission: i64,
    /// The certificate.
    pub certificate_id: UntrustedText,
    /// The status that was last read.
    pub status: Option<i64>,
    /// Since when it has that status, in unix seconds: since its submission, if none was read yet.
    pub since: Option<i64>,
}

impl Followed {
    /// When it is looked at again, in unix seconds, if it has this status now; never, if that is final.
    #[must_use]
    pub fn next_due(&self, status: i64, interval: Duration, now: UnixMillis) -> Option<i64> {
        if Standing::of(status).is_final() {
            return None;
        }
        let since = self.since.filter(|_| self.status.is_none_or(|before| before == status));
        let unchanged_for = since.map_or(Duration::ZERO, |since| now.since(UnixMillis::of_seconds(since)));
        Some(now.plus(next_look(interval, unchanged_for)).seconds())
    }
}

/// What a look at a certificate showed, and when the next one is due, in unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// `submissions.id`.
    pub submission: i64,
    /// The status; none if the reply had none for it.
    pub status: Option<i64>,
    /// When it is looked at again; never, if it is none.
    pub due_at: Option<i64>,
}

/// How far the submissions have been examined, in the order of their last changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FollowCursor {
    changed_at: i64,
    id: i64,
}

impl Queue {
    /// Examines the next submissions after this point, and begins to follow those whose order stands; they are due at once.
    /// Returns how far it came; none, if there are no more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn adopt(&mut self, after: FollowCursor, now: UnixMillis) -> Result<Option<FollowCursor>, QueueError> {
        let changed: Vec<(i64, i64)> = sqlx::query_as(CHANGED)
            .bind(after.changed_at)
            .bind(after.id)
            .bind(now.seconds() - SETTLED_AFTER)
            .bind(STEP)
            .fetch_all(&mut self.connection)
            .await
            .map_err(QueueError::of(WHAT))?;
        let Some(&(id, changed_at)) = changed.last() else { return Ok(None) };
        let ids: Value = changed.iter().map(|(id, _)| Value::from(*id)).collect();
        let finals: Value = CertificateStatus::ALL
            .iter()
            .filter(|status| Standing::of(status.code).is_final())
            .map(|status| Value::from(status.code))
            .collect();
        self.write(WHAT, async |connection| {
            let adopted = sqlx::query(ADOPT).bind(ids.to_string()).bind(now.seconds()).bind(finals.to_string());
            adopted.execute(connection).await.map(drop).map_err(QueueError::of(WHAT))
        })
        .await?;
        Ok(Some(FollowCursor { changed_at, id }))
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
        let rows: Value = looks.iter().map(|look| json!([look.submission, look.status, look.due_at])).collect();
        self.write(WHAT, async |connection| {
            let recorded = sqlx::query(RECORD).bind(now.seconds()).bind(rows.to_string());
            recorded.execute(connection).await.map(drop).map_err(QueueError::of(WHAT))
        })
        .await
    }
}
