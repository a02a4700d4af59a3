//! Pruning: deleting old requests on which no decision depends.
//!
//! A rule in the database (`requests_delete_rules`) says what may be deleted, and the evidence is compared before the deletion
//! is final. The last commit of a certificate and all later readbacks always stay: they keep a certificate from being
//! committed twice.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::connection::Queue;
use super::error::QueueError;
use super::recorded_evidence::evidence;
use super::run::{self, Run};
use crate::clock::{Now, UnixMillis};
use crate::submission::{CertificateId, VerifyPolicy};

/// How many requests a step examines, in the order of their numbers, without a lock.
const MAX_EXAMINED: i64 = 500;
/// Of how many certificates a step deletes old requests, under the lock.
const MAX_CERTIFICATES: usize = 20;
/// How many requests of one certificate a step deletes.
const MAX_DELETED: i64 = 50;

/// The last of the old requests that a step examines.
const LAST: &str =
    "SELECT max(number) FROM (SELECT number, started_at FROM requests WHERE number > ? ORDER BY number LIMIT ?)
  WHERE started_at < ?";

/// Certificates without open or held submissions that have requests before their last commit, with the first of these.
pub(super) const CANDIDATES: &str = "SELECT r.certificate_id, min(r.number) AS first FROM requests r
  WHERE r.number > ? AND r.number <= ? AND r.started_at < ? AND typeof(r.certificate_id) = 'text'
    AND EXISTS (SELECT 1 FROM requests c
        WHERE c.certificate_id = r.certificate_id AND c.kind = 'commit' AND c.number > r.number)
    AND NOT EXISTS (SELECT 1 FROM submissions s
            WHERE s.certificate_id = r.certificate_id
              AND s.state NOT IN ('submitted', 'failed', 'canceled'))
  GROUP BY r.certificate_id ORDER BY first LIMIT ?";

/// The oldest requests of a certificate, and whether they are old enough.
const OLDEST: &str = "SELECT number, started_at < ?1 FROM requests WHERE certificate_id = ?2 AND kind = 'commit'
  UNION ALL
  SELECT number, started_at < ?1 FROM requests WHERE certificate_id = ?2 AND kind = 'read'
  ORDER BY number LIMIT CAST(?3 AS INTEGER)";

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// How many requests were deleted.
    pub deleted: u64,
    /// The number of the last request examined, after which the next step continues. None: the pass is over.
    pub up_to: Option<i64>,
}

impl Queue {
    /// One pruning step: examines some of the requests `after` this number that were made `before` this time, and deletes
    /// those on which no decision depends. Requests of open or held submissions stay.
    ///
    /// A pass over the whole record takes many steps. A step that deletes anything holds the write lock for a few
    /// milliseconds; any other doesn't take it.
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
        let last = sqlx::query_scalar(LAST).bind(after).bind(MAX_EXAMINED).bind(before.0);
        let last: Option<i64> = last.fetch_one(&mut self.connection).await.map_err(&failed)?;
        let Some(last) = last else { return Ok(Pruned { deleted: 0, up_to: None }) };
        let candidates: Vec<(String, i64)> = sqlx::query_as(CANDIDATES)
            .bind(after)
            .bind(last)
            .bind(before.0)
            .bind(i64::try_from(MAX_CERTIFICATES).unwrap_or(i64::MAX))
            .fetch_all(&mut self.connection)
            .await
            .map_err(&failed)?;
        let up_to = candidates.get(MAX_CERTIFICATES - 1).map_or(last, |(_, first)| *first);
        let mut pruned = Pruned { deleted: 0, up_to: Some(up_to) };
        if candidates.is_empty() {
            return Ok(pruned);
        }
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        run::check(&mut transaction, run).await?;
        for (certificate_id, _) in candidates {
            let Ok(certificate_id) = certificate_id.parse() else { continue };
            pruned.deleted += prune_certificate(&mut transaction, run, now, verify, before, &certificate_id).await?;
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(pruned)
    }
}

/// Deletes the oldest requests of a certificate, up to the first that the rules keep, and returns how many. Deletes none if
/// that would change the evidence, for instance because the rules were dropped.
async fn prune_certificate(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    verify: &VerifyPolicy,
    before: UnixMillis,
    certificate_id: &CertificateId,
) -> Result<u64, QueueError> {
    let failed = QueueError::of("pruning");
    let known = evidence(connection, certificate_id, run, now, verify).await?;
    let mut savepoint = connection.begin().await.map_err(&failed)?;
    let deleted = delete_oldest(&mut savepoint, certificate_id, before).await?;
    if evidence(&mut savepoint, certificate_id, run, now, verify).await? != known {
        savepoint.rollback().await.map_err(&failed)?;
        tracing::debug!("the old requests of {certificate_id} stay: deleting them would change its evidence");
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
    let failed = QueueError::of("pruning");
    let oldest = sqlx::query_as(OLDEST).bind(before.0).bind(certificate_id.as_str()).bind(MAX_DELETED);
    let oldest: Vec<(i64, bool)> = oldest.fetch_all(&mut *connection).await.map_err(&failed)?;
    let mut deleted = 0;
    for (number, _) in oldest.into_iter().take_while(|(_, is_old)| *is_old) {
        let result = sqlx::query("DELETE FROM requests WHERE number = ?").bind(number).execute(&mut *connection).await;
        match result.map_err(&failed) {
            Ok(done) => deleted += done.rows_affected(),
            Err(QueueError::Refused(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}
