//! Claims: which rows go out next. A claim writes the request's row, and with a commit moves its submission to
//! in flight, before anything is sent.

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::evidence::evidence;
use super::request::RequestKind;
use super::run::Run;
use crate::clock::Now;
use crate::submission::{CertificateId, Row, State, VerifyType};

const PRIORITIES: [i64; 4] = [3, 2, 1, 0];
/// Rows that have to be read first, and can't be now, must not hide those behind them.
const READ_FIRST_MARGIN: usize = 32;

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

#[derive(Debug, sqlx::FromRow)]
struct Candidate {
    id: i64,
    certificate_id: String,
    verify_type: Option<String>,
    tries: u32,
}

/// What was claimed; it is durable once the transaction is.
#[derive(Debug, Default)]
pub struct Claims {
    /// Commits; their rows are in flight.
    pub commits: Vec<Claim>,
    /// Reads.
    pub reads: Vec<Claim>,
}

/// What a turn may claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) commits: usize,
    pub(super) reads: usize,
    pub(super) read_first: bool,
}

/// Claims what is due, up to what is wanted.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    wanted: Wanted,
) -> Result<Claims, QueueError> {
    let Wanted { commits, reads, .. } = wanted;
    let mut claims = Claims::default();
    if reads > 0 {
        for candidate in in_doubt(connection, now, reads).await? {
            claim_read(connection, run, now, candidate, State::InDoubt, &mut claims).await?;
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
            claim_pending(connection, run, now, candidate, wanted, &mut claims).await?;
        }
    }
    Ok(claims)
}

/// When the next commit and the next read are due. A row whose request is on the way waits for that.
pub(super) async fn next_due(connection: &mut SqliteConnection) -> Result<(Option<i64>, Option<i64>), QueueError> {
    let failed = QueueError::of("looking for the next due time");
    let mut commit: Option<i64> = None;
    for priority in PRIORITIES {
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT s.due_at FROM submissions s WHERE s.state = 'pending' AND s.priority = ?
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
        "SELECT s.due_at FROM submissions s WHERE s.state = 'in_doubt'
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
        "SELECT s.id, s.certificate_id, s.verify_type, s.tries FROM submissions s
          WHERE s.state = 'pending' AND s.priority = ? AND s.due_at <= ?
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
        "SELECT s.id, s.certificate_id, s.verify_type, s.tries FROM submissions s
          WHERE s.state = 'in_doubt' AND s.due_at <= ?
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
    candidate: Candidate,
    wanted: Wanted,
    claims: &mut Claims,
) -> Result<(), QueueError> {
    let Some((certificate_id, verify_type)) = candidate.parse() else {
        return set_aside(connection, candidate.id).await;
    };
    let evidence = evidence(connection, &certificate_id, run, run.millis_at(now)).await?;
    if wanted.read_first && evidence.unread_backend_error {
        if claims.reads.len() < wanted.reads {
            claim_read(connection, run, now, candidate, State::Pending, claims).await?;
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
    let row = Row { state: State::InFlight, tries: candidate.tries, evidence };
    claims.commits.push(Claim { request, submission: candidate.id, certificate_id, verify_type, row });
    Ok(())
}

async fn claim_read(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    candidate: Candidate,
    state: State,
    claims: &mut Claims,
) -> Result<(), QueueError> {
    let Some((certificate_id, verify_type)) = candidate.parse() else {
        return Ok(());
    };
    let evidence = evidence(connection, &certificate_id, run, run.millis_at(now)).await?;
    let request = write_request(connection, run, now, &certificate_id, RequestKind::Read).await?;
    let row = Row { state, tries: candidate.tries, evidence };
    claims.reads.push(Claim { request, submission: candidate.id, certificate_id, verify_type, row });
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

/// A row that no rule would have let in, for instance after a trigger was dropped: it must not block the rest. The
/// rules for changes would refuse it as it is, so what is wrong with `verify_type` moves into the reason.
async fn set_aside(connection: &mut SqliteConnection, id: i64) -> Result<(), QueueError> {
    sqlx::query(
        "UPDATE submissions SET state = 'canceled', verify_type = NULL,
                reason = 'certificate_id or verify_type can not be right' || coalesce(': ' || verify_type, '')
          WHERE id = ?",
    )
    .bind(id)
    .execute(connection)
    .await
    .map_err(QueueError::of("setting a row aside"))?;
    Ok(())
}

impl Candidate {
    fn parse(&self) -> Option<(CertificateId, Option<VerifyType>)> {
        let verify_type = self.verify_type.as_deref().map(str::parse).transpose().ok()?;
        Some((self.certificate_id.parse().ok()?, verify_type))
    }
}
