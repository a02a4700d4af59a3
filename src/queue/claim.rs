//! Claims: which rows go out next. A claim writes the request's row, and with a commit moves its submission to
//! in flight, before anything is sent.

use std::time::Duration;

use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{Connection as _, Transaction};

use super::error::QueueError;
use super::evidence::evidence;
use super::poison::{self, Poison};
use super::request::RequestKind;
use super::run::Run;
use super::shown::Shown;
use crate::clock::Now;
use crate::submission::{CertificateId, Row, State, VerifyType};

const PRIORITIES: [i64; 4] = [3, 2, 1, 0];
/// Rows that have to be read first, and can't be now, must not hide those behind them.
const READ_FIRST_MARGIN: usize = 32;
/// Nor must rows in doubt that are due by a clock that was set forward, and haven't settled.
const UNSETTLED_MARGIN: usize = 64;

/// A submission that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The number of its request.
    pub request: i64,
    /// The submission's id.
    pub submission: i64,
    /// The certificate.
    pub certificate_id: CertificateId,
    /// How its domain is to be validated.
    pub verify_type: Option<VerifyType>,
    /// The row as the decision will need it: its state from now on, its tries, its evidence.
    pub row: Row,
}

/// A row as it stands there. The rules let none in whose values can't be right, but rules can be dropped.
#[derive(Debug, sqlx::FromRow)]
struct Candidate {
    id: i64,
    /// None if it isn't text.
    certificate_id: Option<Vec<u8>>,
    verify_type: Option<Shown>,
    /// None if it is no number of tries.
    tries: Option<u32>,
}

/// What was claimed; it is durable once the transaction is.
#[derive(Debug, Default)]
pub struct Claims {
    /// Commits; their rows are in flight.
    pub commits: Vec<Claim>,
    /// Reads.
    pub reads: Vec<Claim>,
    /// Rows that can't be claimed.
    pub poison: Vec<Poison>,
}

/// What a turn may claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) commits: usize,
    pub(super) reads: usize,
    pub(super) read_first: bool,
    pub(super) settle: Duration,
}

/// Claims what is due, up to what is wanted.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    wanted: Wanted,
) -> Result<Claims, QueueError> {
    let Wanted { commits, reads, settle, .. } = wanted;
    let failed = QueueError::of("claiming");
    let mut claims = Claims::default();
    if reads > 0 {
        for candidate in in_doubt(connection, now, reads + UNSETTLED_MARGIN).await? {
            if claims.reads.len() >= reads {
                break;
            }
            let submission = candidate.id;
            let claimed = {
                let mut savepoint = connection.begin().await.map_err(&failed)?;
                let claimed = claim_in_doubt(&mut savepoint, run, now, &candidate, settle, &mut claims).await;
                end(savepoint, claimed).await?
            };
            if let Some(sentence) = claimed {
                claims.poison.push(Poison { submission, sentence, canceled: false });
            }
        }
    }
    if commits == 0 {
        return Ok(claims);
    }
    for priority in PRIORITIES {
        for candidate in pending(connection, now, priority, commits + reads + READ_FIRST_MARGIN).await? {
            if claims.commits.len() >= commits {
                return Ok(claims);
            }
            let submission = candidate.id;
            let claimed = {
                let mut savepoint = connection.begin().await.map_err(&failed)?;
                let claimed = claim_pending(&mut savepoint, run, now, &candidate, wanted, &mut claims).await;
                end(savepoint, claimed).await?
            };
            if let Some(sentence) = claimed {
                claims.poison.push(poison::set_aside(connection, submission, sentence, now).await?);
            }
        }
    }
    Ok(claims)
}

/// Keeps what a claim wrote, or undoes what a rule refused, and gives the rule's sentence.
async fn end(
    savepoint: Transaction<'_, Sqlite>,
    claimed: Result<(), QueueError>,
) -> Result<Option<String>, QueueError> {
    let failed = QueueError::of("claiming");
    match claimed {
        Ok(()) => savepoint.commit().await.map_err(failed).map(|()| None),
        Err(QueueError::Refused(sentence)) => savepoint.rollback().await.map_err(failed).map(|()| Some(sentence)),
        Err(error) => Err(error),
    }
}

/// When the next commit and the next read are due. A row whose request is on the way waits for that.
pub(super) async fn next_due(connection: &mut SqliteConnection) -> Result<(Option<i64>, Option<i64>), QueueError> {
    let failed = QueueError::of("looking for the next due time");
    let mut commit: Option<i64> = None;
    for priority in PRIORITIES {
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT s.due_at FROM submissions s WHERE s.state = 'pending' AND s.priority = ? AND typeof(s.due_at) = 'integer'
                AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id AND r.finished_at IS NULL)
              ORDER BY s.due_at LIMIT 1",
        )
        .bind(priority)
        .fetch_optional(&mut *connection)
        .await
        .map_err(&failed)?;
        commit = commit.into_iter().chain(due).min();
    }
    let read: Option<i64> = sqlx::query_scalar(
        "SELECT s.due_at FROM submissions s WHERE s.state = 'in_doubt' AND typeof(s.due_at) = 'integer'
            AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id AND r.finished_at IS NULL)
          ORDER BY s.due_at LIMIT 1",
    )
    .fetch_optional(connection)
    .await
    .map_err(&failed)?;
    Ok((commit, read))
}

async fn pending(
    connection: &mut SqliteConnection,
    now: Now,
    priority: i64,
    limit: usize,
) -> Result<Vec<Candidate>, QueueError> {
    sqlx::query_as(
        "SELECT s.id, CASE typeof(s.certificate_id) WHEN 'text' THEN CAST(s.certificate_id AS BLOB) END AS certificate_id,
                s.verify_type, CASE WHEN typeof(s.tries) = 'integer' AND s.tries BETWEEN 0 AND 4294967295 THEN s.tries END AS tries
           FROM submissions s
          WHERE s.state = 'pending' AND s.priority = ? AND typeof(s.due_at) = 'integer' AND s.due_at <= ?
            AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id AND r.finished_at IS NULL)
          ORDER BY s.due_at, s.id LIMIT ?",
    )
    .bind(priority)
    .bind(now.unix.seconds())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .map_err(QueueError::of("looking for what is due"))
}

async fn in_doubt(connection: &mut SqliteConnection, now: Now, limit: usize) -> Result<Vec<Candidate>, QueueError> {
    sqlx::query_as(
        "SELECT s.id, CASE typeof(s.certificate_id) WHEN 'text' THEN CAST(s.certificate_id AS BLOB) END AS certificate_id,
                s.verify_type, CASE WHEN typeof(s.tries) = 'integer' AND s.tries BETWEEN 0 AND 4294967295 THEN s.tries END AS tries
           FROM submissions s
          WHERE s.state = 'in_doubt' AND typeof(s.due_at) = 'integer' AND s.due_at <= ?
            AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id AND r.finished_at IS NULL)
          ORDER BY s.due_at, s.id LIMIT ?",
    )
    .bind(now.unix.seconds())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .map_err(QueueError::of("looking for what is in doubt"))
}

async fn claim_pending(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    candidate: &Candidate,
    wanted: Wanted,
    claims: &mut Claims,
) -> Result<(), QueueError> {
    let Valid { certificate_id, verify_type, tries } = candidate.check()?;
    let evidence = evidence(connection, &certificate_id, run, run.millis_at(now)).await?;
    if wanted.read_first && evidence.unread_backend_error {
        if claims.reads.len() < wanted.reads {
            let row = Row { state: State::Pending, tries, evidence };
            claim_read(connection, run, now, candidate.id, certificate_id, row, claims).await?;
        }
        return Ok(());
    }
    let request = write_request(connection, run, now, &certificate_id, RequestKind::Commit).await?;
    sqlx::query("UPDATE submissions SET state = 'in_flight', updated_at = ? WHERE id = ?")
        .bind(now.unix.seconds())
        .bind(candidate.id)
        .execute(connection)
        .await
        .map_err(QueueError::of("claiming"))?;
    let row = Row { state: State::InFlight, tries, evidence };
    claims.commits.push(Claim { request, submission: candidate.id, certificate_id, verify_type, row });
    Ok(())
}

async fn claim_in_doubt(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    candidate: &Candidate,
    settle: Duration,
    claims: &mut Claims,
) -> Result<(), QueueError> {
    let Valid { certificate_id, tries, .. } = candidate.check()?;
    let evidence = evidence(connection, &certificate_id, run, run.millis_at(now)).await?;
    if !evidence.has_settled(settle) {
        return Ok(());
    }
    let row = Row { state: State::InDoubt, tries, evidence };
    claim_read(connection, run, now, candidate.id, certificate_id, row, claims).await
}

async fn claim_read(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    submission: i64,
    certificate_id: CertificateId,
    row: Row,
    claims: &mut Claims,
) -> Result<(), QueueError> {
    let request = write_request(connection, run, now, &certificate_id, RequestKind::Read).await?;
    // A read has no way of validation.
    claims.reads.push(Claim { request, submission, certificate_id, verify_type: None, row });
    Ok(())
}

async fn write_request(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    certificate_id: &CertificateId,
    kind: RequestKind,
) -> Result<i64, QueueError> {
    sqlx::query_scalar(
        "INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at) VALUES (?, ?, ?, ?, ?) RETURNING number",
    )
    .bind(certificate_id.as_str())
    .bind(kind.as_str())
    .bind(&run.id)
    .bind(run.millis_at(now))
    .bind(now.unix.0)
    .fetch_one(connection)
    .await
    .map_err(QueueError::of("writing a request"))
}

/// A candidate whose values can be right.
struct Valid {
    certificate_id: CertificateId,
    verify_type: Option<VerifyType>,
    tries: u32,
}

impl Candidate {
    fn check(&self) -> Result<Valid, QueueError> {
        let valid = self.parse();
        valid.ok_or_else(|| QueueError::Refused("its certificate_id, verify_type or tries can't be right".to_owned()))
    }

    fn parse(&self) -> Option<Valid> {
        let certificate_id = std::str::from_utf8(self.certificate_id.as_deref()?).ok()?.parse().ok()?;
        let verify_type = self.verify_type.as_deref().map(str::parse).transpose().ok()?;
        Some(Valid { certificate_id, verify_type, tries: self.tries? })
    }
}
