//! Pruning: old requests go, as far as no decision hangs on them.
//!
//! What may go is the database's own rule (`requests_delete_rules`), and the evidence is weighed once more before anything
//! is gone for good. The last commit of a certificate, and what was read since, always stays: it is what keeps a
//! certificate from being committed twice.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use super::evidence::evidence;
use super::run::{self, Run};
use crate::clock::{Now, UnixMillis};
use crate::submission::{CertificateId, VerifyPolicy};

/// So many requests are looked at in one step, by their numbers, without a lock.
const LOOKED_AT: i64 = 500;
/// For so many certificates a step deletes what is old, under the lock.
const CERTIFICATES: i64 = 20;
/// Of one certificate, a step deletes so many requests.
const DELETED: i64 = 50;

/// Certificates with requests that are older than their last commit, by the first of these, and nothing left to do for.
pub(super) const CANDIDATES: &str = "SELECT r.certificate_id, min(r.number) AS first FROM requests r
  WHERE r.number > ? AND r.number <= ? AND r.started_at < ? AND typeof(r.certificate_id) = 'text'
    AND EXISTS (SELECT 1 FROM requests c
        WHERE c.certificate_id = r.certificate_id AND c.kind = 'commit' AND c.number > r.number)
    AND NOT EXISTS (SELECT 1 FROM submissions s
            WHERE s.certificate_id = r.certificate_id
              AND s.state NOT IN ('submitted', 'failed', 'canceled'))
  GROUP BY r.certificate_id ORDER BY first LIMIT ?";

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Requests that are gone.
    pub deleted: u64,
    /// The number up to which all were looked at: the next step goes on from here. None: the pass is over.
    pub up_to: Option<i64>,
}

/// A certificate for which older requests are on record than its last commit.
#[derive(Debug, sqlx::FromRow)]
struct DueRow {
    certificate_id: String,
    /// The first of its requests among those that were looked at.
    first: i64,
}

impl Queue {
    /// One step of pruning: looks at some requests from this number on that were made before this time, and deletes those
    /// that nobody needs any more. Requests of submissions that are open or held stay.
    ///
    /// A pass over the whole record is as many steps as it takes. Each holds the write lock for a few milliseconds, if
    /// it deletes anything, and not at all if not.
    ///
    /// # Errors
    /// When the database fails, or another daemon took the queue over.
    pub async fn prune(
        &mut self,
        run: &Run,
        now: Now,
        verify: &VerifyPolicy,
        before: UnixMillis,
        after: i64,
    ) -> Result<Pruned, QueueError> {
        self.files().check()?;
        let failed = QueueError::of("looking for old requests");
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT max(number) FROM (SELECT number, started_at FROM requests WHERE number > ? ORDER BY number LIMIT ?)
              WHERE started_at < ?",
        )
        .bind(after)
        .bind(LOOKED_AT)
        .bind(before.0)
        .fetch_one(&mut self.connection)
        .await
        .map_err(&failed)?;
        let Some(last) = last else { return Ok(Pruned { deleted: 0, up_to: None }) };
        let candidates = candidates(&mut self.connection, after, last, before).await?;
        let is_full = i64::try_from(candidates.len()).is_ok_and(|found| found == CERTIFICATES);
        let up_to = if is_full { candidates.last().map_or(last, |candidate| candidate.first) } else { last };
        if candidates.is_empty() {
            return Ok(Pruned { deleted: 0, up_to: Some(up_to) });
        }
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        run::check(&mut transaction, run).await?;
        let mut deleted = 0;
        for candidate in &candidates {
            deleted += prune_certificate(&mut transaction, run, now, verify, before, candidate).await?;
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(Pruned { deleted, up_to: Some(up_to) })
    }
}

/// Those that were looked at, by the first of their requests.
async fn candidates(
    connection: &mut SqliteConnection,
    after: i64,
    last: i64,
    before: UnixMillis,
) -> Result<Vec<DueRow>, QueueError> {
    sqlx::query_as(CANDIDATES)
        .bind(after)
        .bind(last)
        .bind(before.0)
        .bind(CERTIFICATES)
        .fetch_all(connection)
        .await
        .map_err(QueueError::of("looking for old requests"))
}

/// Deletes the oldest requests of a certificate, up to the first that the rules keep. How many are gone: none, if the
/// evidence would not be what it was, for instance since the rules were dropped.
async fn prune_certificate(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    verify: &VerifyPolicy,
    before: UnixMillis,
    candidate: &DueRow,
) -> Result<u64, QueueError> {
    let failed = QueueError::of("pruning");
    let Ok(certificate_id) = candidate.certificate_id.parse::<CertificateId>() else { return Ok(0) };
    let was = evidence(connection, &certificate_id, run, now, verify).await?;
    let mut savepoint = connection.begin().await.map_err(&failed)?;
    let deleted = delete_oldest(&mut savepoint, &certificate_id, before).await?;
    if evidence(&mut savepoint, &certificate_id, run, now, verify).await? != was {
        savepoint.rollback().await.map_err(&failed)?;
        tracing::debug!("the old requests of {certificate_id} stay: without them, its evidence would be another");
        return Ok(0);
    }
    savepoint.commit().await.map_err(&failed)?;
    Ok(deleted)
}

async fn delete_oldest(
    connection: &mut SqliteConnection,
    certificate_id: &CertificateId,
    before: UnixMillis,
) -> Result<u64, QueueError> {
    let numbers: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT number, started_at < ?1 FROM requests WHERE certificate_id = ?2 AND kind = 'commit'
         UNION ALL
         SELECT number, started_at < ?1 FROM requests WHERE certificate_id = ?2 AND kind = 'read'
          ORDER BY number LIMIT CAST(?3 AS INTEGER)",
    )
    .bind(before.0)
    .bind(certificate_id.as_str())
    .bind(DELETED)
    .fetch_all(&mut *connection)
    .await
    .map_err(QueueError::of("pruning"))?;
    let old = numbers.into_iter().take_while(|(_, is_old)| *is_old);
    let mut deleted = 0;
    for (number, _) in old {
        let gone = sqlx::query("DELETE FROM requests WHERE number = ?").bind(number).execute(&mut *connection).await;
        match gone.map_err(QueueError::of("pruning")) {
            Ok(gone) => deleted += gone.rows_affected(),
            Err(QueueError::Refused(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}
