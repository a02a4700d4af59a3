//! Claims: which rows go out next. A claim writes the request's row, and with a commit moves its submission to
//! in flight, before anything is sent.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use super::batch::Manner;
use super::due::{self, Due, DueRow, HIGHEST_PRIORITY, Most, PRIORITIES, Valid};
use super::error::QueueError;
use super::evidence;
use super::postpone::{self, Obstacle, Waiting};
use super::rejected_write::RejectedWrite;
use super::run::Run;
use super::savepoint;
use crate::clock::Now;
use crate::submission::{CertificateId, Evidence, Row, State, VerifyPolicy, VerifyType};

/// Rows that have to be read first, and can't be now, must not hide those behind them.
const READ_FIRST_MARGIN: usize = 32;
/// If there are so many that they do, they are put off, and others looked at: at most about so many in a turn.
const MOST_LOOKED_AT: usize = 512;
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

/// What was claimed; it is durable once the transaction is.
#[derive(Debug, Default)]
pub struct Claims {
    /// Commits; their rows are in flight.
    pub commits: Vec<Claim>,
    /// Reads.
    pub reads: Vec<Claim>,
    /// Rows that a rule of the queue lets nobody claim. They stay as they are.
    pub refused: Vec<RejectedWrite>,
    /// How many rows that can't be claimed now were put off, since they hid others: there may be more.
    pub put_off: usize,
}

/// What a turn may claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) commits: usize,
    pub(super) reads: usize,
    /// Submissions that are passed over, by their ids.
    pub(super) skip: &'a [i64],
    pub(super) verify: VerifyPolicy,
    /// Which probe the commit is, if it is one: each begins with the next priority.
    pub(super) probe: Option<u32>,
    pub(super) reading_paused: bool,
}

/// Claims what is due, up to what is wanted.
///
/// # Errors
/// At once: also [`QueueError::Refused`], if a rule refused any of it.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    manner: Manner,
    run: &Run,
    now: Now,
    wanted: Wanted<'_>,
) -> Result<Claims, QueueError> {
    let seen = wanted.skip.iter().copied().collect();
    let claims = Claims::default();
    let mut claiming = Claiming { connection, manner, run, now, wanted, claims, seen, waiting: Vec::new() };
    if wanted.commits + wanted.reads > 0 {
        claiming.claim().await?;
    }
    Ok(claiming.claims)
}

/// Claiming, in a transaction.
struct Claiming<'a> {
    connection: &'a mut SqliteConnection,
    manner: Manner,
    run: &'a Run,
    now: Now,
    wanted: Wanted<'a>,
    claims: Claims,
    /// The candidates that were looked at, or are passed over, by their ids.
    seen: HashSet<i64>,
    /// Those that have to be read first, and can't be now.
    waiting: Vec<Waiting>,
}

impl Wanted<'_> {
    /// The priority that goes first.
    fn first_priority(self) -> i64 {
        HIGHEST_PRIORITY - i64::from(self.probe.unwrap_or(0)) % PRIORITIES
    }
}

/// A commit that may be claimed.
struct Fit {
    submission: i64,
    valid: Valid,
    evidence: Evidence,
}

impl Claiming<'_> {
    /// First just as many as are wanted; then also what lies behind those that can't go now.
    async fn claim(&mut self) -> Result<(), QueueError> {
        let Wanted { commits, reads, skip, .. } = self.wanted;
        let in_doubt = if reads > 0 { reads + UNSETTLED_MARGIN + skip.len() } else { 0 };
        let of_each = if commits > 0 { commits + skip.len() } else { 0 };
        let first_priority = self.wanted.first_priority();
        let pending = if self.wanted.probe.is_some() { usize::MAX } else { of_each };
        let most = Most { in_doubt, of_each_priority: of_each, pending, first_priority };
        let Due { in_doubt, pending: first } = due::due(self.connection, self.now, most).await?;
        self.read_what_is_in_doubt(in_doubt).await?;
        let is_all = first.len() < of_each;
        self.commit(first).await?;
        if is_all || self.claims.commits.len() >= commits {
            return Ok(());
        }
        let of_each_priority = of_each + reads + READ_FIRST_MARGIN;
        let most = Most { in_doubt: 0, of_each_priority, pending: usize::MAX, first_priority };
        loop {
            let behind = due::due(self.connection, self.now, most).await?;
            let is_all = !behind.may_hide_others(of_each_priority);
            self.commit(behind.pending).await?;
            let is_enough = self.claims.commits.len() >= commits;
            if is_all || is_enough || !self.clear_the_way().await? || self.seen.len() >= MOST_LOOKED_AT {
                return Ok(());
            }
        }
    }

    /// Puts off what has to be read first, and can't be now. Whether there was any.
    async fn clear_the_way(&mut self) -> Result<bool, QueueError> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() || !postpone::postpone(self.connection, &waiting, self.now).await? {
            return Ok(false);
        }
        self.claims.put_off += waiting.len();
        Ok(true)
    }

    async fn read_what_is_in_doubt(&mut self, candidates: Vec<DueRow>) -> Result<(), QueueError> {
        for candidate in candidates {
            if self.claims.reads.len() >= self.wanted.reads {
                break;
            }
            if !self.seen.insert(candidate.id) {
                continue;
            }
            if let Some(sentence) = self.read_if_settled(&candidate).await? {
                self.pass_over(candidate.id, candidate.certificate_id.clone(), sentence);
            }
        }
        Ok(())
    }

    /// Claims of these candidates as many as are wanted still.
    async fn commit(&mut self, page: Vec<DueRow>) -> Result<(), QueueError> {
        let mut fit = Vec::new();
        for candidate in page {
            if self.claims.commits.len() + fit.len() >= self.wanted.commits {
                break;
            }
            if self.seen.insert(candidate.id) {
                fit.extend(self.weigh(&candidate).await?);
            }
        }
        self.write_commits(fit).await
    }

    /// The values of a candidate; none if they can't be right, and it is passed over.
    fn valid(&mut self, candidate: &DueRow) -> Option<Valid> {
        let valid = candidate.parse();
        if valid.is_none() {
            let wrong = "its certificate_id, verify_type or tries can't be right".to_owned();
            let refused = RejectedWrite::of_claim(candidate.id, candidate.certificate_id.clone(), wrong);
            self.claims.refused.push(RejectedWrite { is_malformed: true, ..refused });
        }
        valid
    }

    /// Whether a pending row may be sent now. One that has to be read first is, if a read is wanted.
    async fn weigh(&mut self, candidate: &DueRow) -> Result<Option<Fit>, QueueError> {
        let Some(valid) = self.valid(candidate) else { return Ok(None) };
        let evidence = self.evidence(candidate, &valid).await?;
        if !evidence.needs_read() {
            return Ok(Some(Fit { submission: candidate.id, valid, evidence }));
        }
        if let Some(obstacle) = self.obstacle(&evidence) {
            self.waiting.push(Waiting::new(candidate.id, obstacle, &evidence));
            return Ok(None);
        }
        let row = Row { state: State::Pending, tries: valid.tries, evidence };
        if let Some(sentence) = self.read(candidate.id, valid.certificate_id, row).await? {
            self.pass_over(candidate.id, candidate.certificate_id.clone(), sentence);
        }
        Ok(None)
    }

    /// Why a row with this evidence can't be read now, if it can't.
    fn obstacle(&self, evidence: &Evidence) -> Option<Obstacle> {
        let Wanted { reads, verify, reading_paused, .. } = self.wanted;
        let too_early = evidence.reads_count_in(&verify);
        if !too_early.is_zero() {
            return Some(Obstacle::Unsettled(too_early));
        }
        let none_wanted = self.claims.reads.len() >= reads;
        none_wanted.then_some(if reading_paused { Obstacle::Pause } else { Obstacle::Line })
    }

    /// A rule's sentence, if one refused it.
    async fn read_if_settled(&mut self, candidate: &DueRow) -> Result<Option<String>, QueueError> {
        let Some(valid) = self.valid(candidate) else { return Ok(None) };
        let evidence = self.evidence(candidate, &valid).await?;
        if !evidence.has_settled(self.wanted.verify.settle) {
            return Ok(None);
        }
        let row = Row { state: State::InDoubt, tries: valid.tries, evidence };
        self.read(candidate.id, valid.certificate_id, row).await
    }

    async fn evidence(&mut self, candidate: &DueRow, valid: &Valid) -> Result<Evidence, QueueError> {
        if !candidate.has_history {
            return Ok(evidence::none(self.run, self.now));
        }
        evidence::evidence(self.connection, &valid.certificate_id, self.run, self.now, &self.wanted.verify).await
    }

    fn pass_over(&mut self, submission: i64, certificate_id: Option<String>, sentence: String) {
        self.claims.refused.push(RejectedWrite::of_claim(submission, certificate_id, sentence));
    }

    /// Claims a read. A rule's sentence, if one refused it: then nothing of it is written.
    async fn read(
        &mut self,
        submission: i64,
        certificate_id: CertificateId,
        row: Row,
    ) -> Result<Option<String>, QueueError> {
        savepoint::begin(self.connection).await?;
        let written = write_read(self.connection, self.run, self.now, &certificate_id).await;
        let ended = savepoint::end(self.connection, &written).await;
        ended.map_err(|error| {
            error.concerning(|sentence| RejectedWrite::of_claim(submission, Some(certificate_id.to_string()), sentence))
        })?;
        match written {
            Ok(request) => {
                // A read has no way of validation.
                self.claims.reads.push(Claim { request, submission, certificate_id, verify_type: None, row });
                Ok(None)
            }
            Err(QueueError::Refused(sentence)) => Ok(Some(sentence)),
            Err(error) => Err(error),
        }
    }

    async fn write_commits(&mut self, fit: Vec<Fit>) -> Result<(), QueueError> {
        match self.manner {
            Manner::AtOnce => self.write_at_once(fit).await,
            Manner::RowByRow => {
                for one in fit {
                    self.write_alone(one).await?;
                }
                Ok(())
            }
        }
    }

    async fn write_at_once(&mut self, fit: Vec<Fit>) -> Result<(), QueueError> {
        if fit.is_empty() {
            return Ok(());
        }
        let asked: Vec<Asked<'_>> = fit.iter().map(Fit::asked).collect();
        let numbers = write_commits(self.connection, self.run, self.now, &asked).await?;
        self.claims.commits.extend(fit.into_iter().filter_map(|one| one.claimed(&numbers)));
        Ok(())
    }

    async fn write_alone(&mut self, one: Fit) -> Result<(), QueueError> {
        let (submission, certificate_id) = (one.submission, one.valid.certificate_id.to_string());
        savepoint::begin(self.connection).await?;
        let written = self.write_at_once(vec![one]).await;
        let ended = savepoint::end(self.connection, &written).await;
        ended.map_err(|error| {
            error.concerning(|sentence| RejectedWrite::of_claim(submission, Some(certificate_id.to_string()), sentence))
        })?;
        match written {
            Err(QueueError::Refused(sentence)) => {
                self.pass_over(submission, Some(certificate_id), sentence);
                Ok(())
            }
            written => written,
        }
    }
}

impl Fit {
    fn asked(&self) -> Asked<'_> {
        Asked { submission: self.submission, certificate_id: self.valid.certificate_id.as_str() }
    }

    fn claimed(self, numbers: &Numbers) -> Option<Claim> {
        let Valid { certificate_id, verify_type, tries } = self.valid;
        let request = *numbers.get(certificate_id.as_str())?;
        let row = Row { state: State::InFlight, tries, evidence: self.evidence };
        Some(Claim { request, submission: self.submission, certificate_id, verify_type, row })
    }
}

/// A request to be written.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    submission: i64,
    certificate_id: &'a str,
}

/// The numbers of requests, by their certificates.
type Numbers = HashMap<String, i64>;

/// Writes the requests of commits, and takes their submissions in flight.
async fn write_commits(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    asked: &[Asked<'_>],
) -> Result<Numbers, QueueError> {
    let unwritable = |error| QueueError::unwritable("claiming", &error);
    let numbers: String = sqlx::query_scalar(
        "INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at)
         SELECT value ->> 'certificate_id', 'commit', ?2, ?3, ?4 FROM jsonb_each(?1);
         UPDATE submissions SET state = 'in_flight', updated_at = ?5
          WHERE id IN (SELECT value ->> 'submission' FROM jsonb_each(?1));
         SELECT json_group_object(certificate_id, number) FROM requests
          WHERE finished_at IS NULL AND certificate_id IN (SELECT value ->> 'certificate_id' FROM jsonb_each(?1))
            AND EXISTS (SELECT 1 FROM submissions s WHERE s.certificate_id = requests.certificate_id AND s.state = 'in_flight')",
    )
    .bind(serde_json::to_string(asked).map_err(unwritable)?)
    .bind(&run.id)
    .bind(run.millis_at(now))
    .bind(now.unix.0)
    .bind(now.unix.seconds())
    .fetch_one(connection)
    .await
    .map_err(QueueError::of("claiming"))?;
    let numbers: Numbers = serde_json::from_str(&numbers).map_err(unwritable)?;
    if numbers.len() < asked.len() { Err(QueueError::ignored()) } else { Ok(numbers) }
}

/// Writes the request of a read.
async fn write_read(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    certificate_id: &CertificateId,
) -> Result<i64, QueueError> {
    let number = sqlx::query_scalar(
        "INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at) VALUES (?, 'read', ?, ?, ?) RETURNING number",
    )
    .bind(certificate_id.as_str())
    .bind(&run.id)
    .bind(run.millis_at(now))
    .bind(now.unix.0)
    .fetch_optional(connection)
    .await
    .map_err(QueueError::of("writing a request"))?;
    number.ok_or_else(QueueError::ignored)
}
