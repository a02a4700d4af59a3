//! Claims: which rows are sent next, and as what kind of request. Before anything is sent, a claim writes the row of the
//! request and, for a commit, moves the submission to in flight.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::due_order::{self, DueLimits, DueRow, HIGHEST_PRIORITY, PRIORITIES, Valid};
use super::error::QueueError;
use super::postpone::{self, Obstacle, Waiting};
use super::recorded_evidence;
use super::rejected_write::RejectedWrite;
use super::run::Run;
use super::write_mode::{Write, WriteMode, write};
use crate::clock::Now;
use crate::submission::{CertificateId, Evidence, RequestKind, Row, State, VerifyPolicy, VerifyType};

/// A selection looks past this many rows that wait for a readback.
const READBACK_FIRST_MARGIN: usize = 32;
/// If more of them wait, they are postponed and the rows behind them examined, up to about this many rows per batch.
const MAX_EXAMINED: usize = 512;
/// A second selection looks past rows whose claims a rule rejected.
const ROUNDS: usize = 2;
/// A selection looks past this many unsettled rows in doubt, and makes those due later that it doesn't select.
const UNSETTLED_MARGIN: usize = 64;

/// A submission for which a request is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The number of its request.
    pub request: i64,
    /// What the request is for.
    pub kind: RequestKind,
    /// The submission's id.
    pub submission: i64,
    /// The certificate.
    pub certificate_id: CertificateId,
    /// How its domain is to be validated; none for a readback.
    pub verify_type: Option<VerifyType>,
    /// What the decision on the result needs to know of the row: its state from now on, its tries and its evidence.
    pub row: Row,
}

/// What may be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimLimits {
    /// The maximum of commits; none are claimed while the queue is paused.
    pub commits: usize,
    /// The maximum of readbacks.
    pub readbacks: usize,
    /// The ids of submissions to skip, because a rule has just rejected their claims.
    pub skip: Vec<i64>,
    /// The number of the probe, counted from 0, if the commit is one. Probes rotate through the priorities: the result for
    /// one certificate says nothing about the others.
    pub probe: Option<u32>,
    /// How soon rows in doubt may be read back before they have settled.
    pub early_readbacks_in: Duration,
    /// Whether readback is paused, so that rows that need a readback before their next try wait longer.
    pub readback_paused: bool,
}

/// What was claimed; durable once the transaction is.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The claims.
    pub(super) claims: Vec<Claim>,
    /// Rows that can't be claimed, because a rule rejects the claim or a value is invalid. They stay as they are.
    pub(super) rejected: Vec<RejectedWrite>,
    /// How many rows that can't be claimed now were postponed because they hid others: there may be more.
    pub(super) postponed: usize,
}

/// Claims rows that are due, within the limits.
///
/// # Errors
/// With [`WriteMode::AllAtOnce`], also [`QueueError::Refused`], if a rule rejected any claim.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    mode: WriteMode,
    run: &Run,
    now: Now,
    limits: &ClaimLimits,
    verify: &VerifyPolicy,
) -> Result<Claims, QueueError> {
    let seen = limits.skip.iter().copied().collect();
    let (selected, waiting, claims) = (Vec::new(), Vec::new(), Claims::default());
    let mut selection = Selection { connection, run, now, limits, verify, seen, selected, waiting, claims };
    let rounds = if limits.commits + limits.readbacks > 0 { ROUNDS } else { 0 };
    for _ in 0..rounds {
        selection.select().await?;
        if !selection.claim(mode).await? {
            break;
        }
    }
    Ok(selection.claims)
}

/// A selection of rows to claim, within a transaction.
struct Selection<'a> {
    connection: &'a mut SqliteConnection,
    run: &'a Run,
    now: Now,
    limits: &'a ClaimLimits,
    verify: &'a VerifyPolicy,
    /// The ids of the rows that were examined or are skipped.
    seen: HashSet<i64>,
    /// Rows to claim.
    selected: Vec<Selected>,
    /// Rows that need a readback, and can't be read back now.
    waiting: Vec<Waiting>,
    claims: Claims,
}

/// A row to claim.
struct Selected {
    submission: i64,
    kind: RequestKind,
    certificate_id: CertificateId,
    verify_type: Option<VerifyType>,
    row: Row,
}

impl Selection<'_> {
    /// Selects from as many due rows as may be claimed and, if some of them can't be claimed now, from the rows behind them.
    async fn select(&mut self) -> Result<(), QueueError> {
        let ClaimLimits { commits, readbacks, skip, probe, .. } = self.limits;
        let in_doubt = if *readbacks > 0 { readbacks + UNSETTLED_MARGIN + skip.len() } else { 0 };
        let of_each_priority = if *commits > 0 { commits + skip.len() } else { 0 };
        let first_priority = HIGHEST_PRIORITY - i64::from(probe.unwrap_or(0)) % PRIORITIES;
        let pending = if probe.is_some() { usize::MAX } else { of_each_priority };
        let limits = DueLimits { in_doubt, of_each_priority, pending, first_priority };
        let due = due_order::due(self.connection, self.now, limits).await?;
        self.select_in_doubt(&due.in_doubt).await?;
        self.select_pending(&due.pending).await?;
        if due.pending.len() < of_each_priority {
            return Ok(());
        }
        let of_each_priority = of_each_priority + readbacks + READBACK_FIRST_MARGIN;
        let limits = DueLimits { in_doubt: 0, of_each_priority, pending: usize::MAX, first_priority };
        while self.has_room_for(RequestKind::Commit) {
            let due = due_order::due(self.connection, self.now, limits).await?;
            self.select_pending(&due.pending).await?;
            let is_all = !due.may_hide_others(of_each_priority);
            if is_all || !self.postpone_waiting().await? || self.seen.len() >= MAX_EXAMINED {
                break;
            }
        }
        Ok(())
    }

    /// Claims the selected rows. Returns whether a rule rejected any.
    async fn claim(&mut self, mode: WriteMode) -> Result<bool, QueueError> {
        let selected = std::mem::take(&mut self.selected);
        let statement = ClaimWrite { run: self.run, now: self.now };
        let written = write(self.connection, mode, &selected, &statement).await?;
        let rejected_before = self.claims.rejected.len();
        for (selected, written) in selected.into_iter().zip(written) {
            match written {
                Ok(request) => self.claims.claims.push(selected.claimed(request)),
                Err(rejected) => self.claims.rejected.push(rejected),
            }
        }
        Ok(self.claims.rejected.len() > rejected_before)
    }

    /// Whether the limit allows another request of this kind.
    fn has_room_for(&self, kind: RequestKind) -> bool {
        let limit = match kind {
            RequestKind::Commit => self.limits.commits,
            RequestKind::Readback => self.limits.readbacks,
        };
        let claimed = self.claims.claims.iter().map(|claim| claim.kind);
        claimed.chain(self.selected.iter().map(|row| row.kind)).filter(|taken| *taken == kind).count() < limit
    }

    /// Postpones the rows that wait for a readback. Returns whether any were postponed.
    async fn postpone_waiting(&mut self) -> Result<bool, QueueError> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() || !postpone::postpone(self.connection, &waiting, self.now).await? {
            return Ok(false);
        }
        self.claims.postponed += waiting.len();
        Ok(true)
    }

    /// Selects rows in doubt. Readbacks that can decide come first. A row that hasn't settled is read back once, which may
    /// show its order already.
    async fn select_in_doubt(&mut self, rows: &[DueRow]) -> Result<(), QueueError> {
        let mut unsettled = Vec::new();
        for row in rows {
            if !self.has_room_for(RequestKind::Readback) {
                break;
            }
            let Some((valid, evidence)) = self.examine(row).await? else { continue };
            if evidence.settles_in(self.verify).is_zero() {
                self.take(row.id, RequestKind::Readback, State::InDoubt, valid, evidence);
            } else {
                unsettled.push((row.id, valid, evidence));
            }
        }
        for (submission, valid, evidence) in unsettled {
            let settles_in = evidence.settles_in(self.verify);
            let is_read = evidence.was_read_early;
            let due_in = if is_read { settles_in } else { self.limits.early_readbacks_in.min(settles_in) };
            if due_in.is_zero() && self.has_room_for(RequestKind::Readback) {
                self.take(submission, RequestKind::Readback, State::InDoubt, valid, evidence);
            } else {
                self.waiting.push(Waiting::in_doubt(submission, due_in));
            }
        }
        self.postpone_waiting().await.map(drop)
    }

    /// Selects the rows that can be sent now. For a row that needs a readback first, selects the readback if it can be sent now.
    async fn select_pending(&mut self, rows: &[DueRow]) -> Result<(), QueueError> {
        for row in rows {
            if !self.has_room_for(RequestKind::Commit) {
                break;
            }
            let Some((valid, evidence)) = self.examine(row).await? else { continue };
            if !evidence.needs_readback() {
                self.take(row.id, RequestKind::Commit, State::InFlight, valid, evidence);
            } else if let Some(obstacle) = self.obstacle(&evidence) {
                self.waiting.push(Waiting::new(row.id, obstacle, &evidence));
            } else {
                self.take(row.id, RequestKind::Readback, State::Pending, valid, evidence);
            }
        }
        Ok(())
    }

    /// The values of a row and the evidence for it; none if it was examined before, or if a value is invalid.
    async fn examine(&mut self, row: &DueRow) -> Result<Option<(Valid, Evidence)>, QueueError> {
        if !self.seen.insert(row.id) {
            return Ok(None);
        }
        let Some(valid) = row.parse() else {
            self.claims.rejected.push(RejectedWrite::malformed(row.id, row.certificate_id.clone()));
            return Ok(None);
        };
        let evidence = if row.has_history {
            recorded_evidence::evidence(self.connection, &valid.certificate_id, self.run, self.now, self.verify).await?
        } else {
            recorded_evidence::none(self.run, self.now)
        };
        Ok(Some((valid, evidence)))
    }

    fn take(&mut self, submission: i64, kind: RequestKind, state: State, valid: Valid, evidence: Evidence) {
        let Valid { certificate_id, verify_type, tries } = valid;
        let verify_type = verify_type.filter(|_| kind == RequestKind::Commit);
        let is_probe = kind == RequestKind::Commit && self.limits.probe.is_some();
        let row = Row { state, tries, is_probe, evidence };
        self.selected.push(Selected { submission, kind, certificate_id, verify_type, row });
    }

    /// Why a row with this evidence can't be read back now, if it can't.
    fn obstacle(&self, evidence: &Evidence) -> Option<Obstacle> {
        let too_early = evidence.readbacks_count_in(self.verify);
        if !too_early.is_zero() {
            return Some(Obstacle::Unsettled(too_early));
        }
        let is_paused = self.limits.readback_paused;
        (!self.has_room_for(RequestKind::Readback)).then_some(if is_paused {
            Obstacle::Paused
        } else {
            Obstacle::Queued
        })
    }
}

impl Selected {
    fn claimed(self, request: i64) -> Claim {
        let Self { submission, kind, certificate_id, verify_type, row } = self;
        Claim { request, kind, submission, certificate_id, verify_type, row }
    }
}

/// Writes requests, and moves the submissions of commits to in flight.
struct ClaimWrite<'a> {
    run: &'a Run,
    now: Now,
}

impl Write for ClaimWrite<'_> {
    type Item = Selected;
    /// The request's number.
    type Output = i64;

    async fn write(&self, connection: &mut SqliteConnection, items: &[Selected]) -> Result<Vec<i64>, QueueError> {
        const WHAT: &str = "claiming";
        let requests = items.iter().map(|row| {
            json!({ "submission": row.submission, "kind": row.kind.as_str(), "certificate_id": row.certificate_id.as_str() })
        });
        let numbers: String = sqlx::query_scalar(
            "INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at)
             SELECT value ->> 'certificate_id', value ->> 'kind', ?2, ?3, ?4 FROM jsonb_each(?1);
             UPDATE submissions SET state = 'in_flight', updated_at = ?5
              WHERE id IN (SELECT value ->> 'submission' FROM jsonb_each(?1) WHERE value ->> 'kind' = 'commit');
             SELECT json_group_object(r.certificate_id, r.number)
               FROM jsonb_each(?1) JOIN requests r ON r.certificate_id = value ->> 'certificate_id'
              WHERE r.finished_at IS NULL
                AND (value ->> 'kind' = 'read' OR EXISTS (SELECT 1 FROM submissions s
                      WHERE s.certificate_id = r.certificate_id AND s.state = 'in_flight'))",
        )
        .bind(Value::from_iter(requests).to_string())
        .bind(&self.run.id)
        .bind(self.run.millis_at(self.now))
        .bind(self.now.unix.0)
        .bind(self.now.unix.seconds())
        .fetch_one(connection)
        .await
        .map_err(QueueError::of(WHAT))?;
        let numbers: Result<HashMap<String, i64>, _> = serde_json::from_str(&numbers);
        let mut numbers = numbers.map_err(|error| QueueError::json(WHAT, &error))?;
        // SQLite reports no error if a trigger ignores a write. No two items may share a request.
        let numbers: Option<Vec<i64>> = items.iter().map(|row| numbers.remove(row.certificate_id.as_str())).collect();
        numbers.ok_or_else(QueueError::ignored)
    }

    fn rejected(&self, item: &Selected, sentence: String) -> RejectedWrite {
        RejectedWrite::of_claim(item.submission, Some(item.certificate_id.to_string()), sentence)
    }
}
