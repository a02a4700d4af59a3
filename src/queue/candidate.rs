//! Candidates: what is due, the first to go first.

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::shown::Shown;
use crate::clock::Now;
use crate::submission::{CertificateId, VerifyType};

/// A row as it stands there. The rules let none in whose values can't be right, but rules can be dropped.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Candidate {
    pub(super) id: i64,
    /// None if it isn't text.
    certificate_id: Option<Vec<u8>>,
    verify_type: Option<Shown>,
    /// None if it is no number of tries.
    tries: Option<u32>,
    /// Whether a request was ever made for it.
    pub(super) has_history: bool,
}

/// The values of a candidate, where they can be right.
pub(super) struct Valid {
    pub(super) certificate_id: CertificateId,
    pub(super) verify_type: Option<VerifyType>,
    pub(super) tries: u32,
}

impl Candidate {
    /// Its values.
    ///
    /// # Errors
    /// [`QueueError::Refused`], as by a rule, if they can't be right.
    pub(super) fn check(&self) -> Result<Valid, QueueError> {
        let valid = self.parse();
        valid.ok_or_else(|| QueueError::Refused("its certificate_id, verify_type or tries can't be right".to_owned()))
    }

    fn parse(&self) -> Option<Valid> {
        let certificate_id = std::str::from_utf8(self.certificate_id.as_deref()?).ok()?.parse().ok()?;
        let verify_type = self.verify_type.as_deref().map(str::parse).transpose().ok()?;
        Some(Valid { certificate_id, verify_type, tries: self.tries? })
    }
}

/// The columns of a [`Candidate`], and which rows can be one: those that are due, and have no request on the way.
///
/// SQLite looks at the value of a bare parameter when it plans a LIMIT, or a comparison on a table that has an index of
/// what `IS NOT NULL`, and plans anew whenever one is bound. That took half of all the daemon's time; hence the CASTs.
macro_rules! candidates {
    ($which:literal, $limit:literal) => {
        concat!(
            "SELECT * FROM (SELECT s.id, s.verify_type,
                    CASE typeof(s.certificate_id) WHEN 'text' THEN CAST(s.certificate_id AS BLOB) END AS certificate_id,
                    CASE WHEN typeof(s.tries) = 'integer' AND s.tries BETWEEN 0 AND 4294967295 THEN s.tries END AS tries,
                    EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id) AS has_history
               FROM submissions s
              WHERE ",
            $which,
            " AND typeof(s.due_at) = 'integer' AND s.due_at <= CAST(?1 AS INTEGER)
                AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id AND r.finished_at IS NULL)
              ORDER BY s.due_at, s.id LIMIT ",
            $limit,
            ")"
        )
    };
}

/// Pending rows, the highest priority first: at most so many of each, and at most so many in all.
pub(super) async fn pending(
    connection: &mut SqliteConnection,
    now: Now,
    of_each_priority: usize,
    in_all: usize,
) -> Result<Vec<Candidate>, QueueError> {
    sqlx::query_as(concat!(
        candidates!("s.state = 'pending' AND s.priority = 3", "CAST(?2 AS INTEGER)"),
        " UNION ALL ",
        candidates!("s.state = 'pending' AND s.priority = 2", "CAST(?2 AS INTEGER)"),
        " UNION ALL ",
        candidates!("s.state = 'pending' AND s.priority = 1", "CAST(?2 AS INTEGER)"),
        " UNION ALL ",
        candidates!("s.state = 'pending' AND s.priority = 0", "CAST(?2 AS INTEGER)"),
        " LIMIT CAST(?3 AS INTEGER)",
    ))
    .bind(now.unix.seconds())
    .bind(i64::try_from(of_each_priority).unwrap_or(i64::MAX))
    .bind(i64::try_from(in_all).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
    .map_err(QueueError::of("looking for what is due"))
}

/// Rows in doubt.
pub(super) async fn in_doubt(
    connection: &mut SqliteConnection,
    now: Now,
    limit: usize,
) -> Result<Vec<Candidate>, QueueError> {
    sqlx::query_as(candidates!("s.state = 'in_doubt'", "CAST(?2 AS INTEGER)"))
        .bind(now.unix.seconds())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .map_err(QueueError::of("looking for what is in doubt"))
}
