//! A batch: the daemon's results, claims and heartbeat in one short transaction.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::claim::{self, Claim, ClaimLimits, Claims};
use super::complete::{self, Completed, Completion, CompletionWrite};
use super::connection::Queue;
use super::counts::Counts;
use super::error::QueueError;
use super::prune::Pruned;
use super::recover::Recovered;
use super::rejected_write::RejectedWrite;
use super::run::{self, Control, Heartbeat, Run};
use super::snapshot::{Snapshot, snapshot};
use super::write_mode::{WriteMode, write};
use crate::clock::{self, Now, UnixMillis};
use crate::submission::Policy;

/// Another process that keeps changing the schema holds a batch up for so many comparisons; then it counts as failed.
const MAX_COMPARISONS: u32 = 5;

/// What a batch does.
#[derive(Debug, Clone)]
pub struct BatchRequest {
    /// Results to write.
    pub results: Vec<Completed>,
    /// How much to claim.
    pub limits: ClaimLimits,
    /// The `daemon` row, if it is to be written.
    pub heartbeat: Option<Heartbeat>,
    /// The policy for the decisions.
    pub policy: Policy,
    /// Do nothing unless another process has changed the database.
    pub only_if_changed: bool,
    /// After a failed batch: first settle every unfinished request except these, which are in flight, and leave out results
    /// that are already written.
    pub reconcile: Option<Vec<i64>>,
    /// The wall clock was set back: adjust the due times that were set before.
    pub follow_clock: bool,
    /// Also look for the oldest open submission, as it was before this batch.
    pub find_oldest: bool,
    /// A pruning step.
    pub prune: Option<PruneStep>,
    /// Write what can be written even if the queue's rules are gone; for the end of a run.
    pub waive_rules: bool,
}

/// A pruning step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneStep {
    /// Requests made before this time may be deleted.
    pub before: UnixMillis,
    /// The number of the last request that earlier steps examined.
    pub after: i64,
}

/// What a batch did and found.
#[derive(Debug, Default)]
pub struct BatchReport {
    /// The claims, which are durable.
    pub claims: Vec<Claim>,
    /// How many due rows that can't be claimed now were postponed: there may be more.
    pub postponed: usize,
    /// Claims that a rule of the queue rejected.
    pub rejected_claims: Vec<RejectedWrite>,
    /// Results that a rule of the queue rejected. They are not written at all, and must be kept.
    pub rejected_results: Vec<RejectedWrite>,
    /// What operators ask for. This batch has cleared `probe_requested`.
    pub control: Control,
    /// When the next commit is due, in unix seconds; possibly now.
    pub next_commit: Option<i64>,
    /// When the next readback is due, in unix seconds; possibly now.
    pub next_readback: Option<i64>,
    /// Submissions by state.
    pub counts: Counts,
    /// Whether the stored counts are certainly wrong.
    pub miscounted: bool,
    /// How long this batch held the write lock.
    pub locked_for: Duration,
    /// What recovery found, if this batch reconciled.
    pub recovered: Option<Recovered>,
    /// When the oldest open submission was created, in unix seconds, if the request asked for it and there is one.
    pub oldest_open: Option<i64>,
    /// What the pruning step did, if there was one.
    pub pruned: Option<Pruned>,
}

impl BatchRequest {
    /// A batch without results that claims nothing.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            results: Vec::new(),
            limits: ClaimLimits::default(),
            heartbeat: None,
            policy,
            only_if_changed: false,
            reconcile: None,
            follow_clock: false,
            find_oldest: false,
            prune: None,
            waive_rules: false,
        }
    }
}

impl Queue {
    /// Writes results and the heartbeat, and claims: all of it or nothing. `made` is the number of the newest request by the
    /// restore marker.
    ///
    /// # Errors
    /// When the database fails, its file was replaced, it went back to an earlier state, another daemon took it over, or its
    /// schema was altered although it has to be intact. The batch may have landed anyway: reconcile with the next one.
    pub async fn batch(
        &mut self,
        run: &Run,
        now: Now,
        made: i64,
        request: &BatchRequest,
    ) -> Result<BatchReport, QueueError> {
        let mut mode = WriteMode::AllAtOnce;
        let mut comparisons = 0;
        loop {
            match self.batch_in(mode, run, now, made, request).await {
                // The whole batch is undone. If a trigger rolled it back, the connection is no longer in a transaction.
                Err(QueueError::Refused(_)) if mode == WriteMode::AllAtOnce => {
                    self.reconnect().await?;
                    mode = WriteMode::OneByOne;
                }
                Err(QueueError::Uncompared) if comparisons < MAX_COMPARISONS => {
                    self.require_intact_schema().await?;
                    comparisons += 1;
                }
                result => return result,
            }
        }
    }

    async fn batch_in(
        &mut self,
        mode: WriteMode,
        run: &Run,
        now: Now,
        made: i64,
        request: &BatchRequest,
    ) -> Result<BatchReport, QueueError> {
        self.files().check()?;
        let failed = QueueError::of("writing a batch");
        let compared = self.compared;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let locked = clock::now().instant;
        let rejected_results = write_results(&mut transaction, mode, run, now.unix, request).await?;
        let Claims { claims, rejected: rejected_claims, postponed } =
            claim::claim(&mut transaction, mode, run, now, &request.limits, &request.policy.verify).await?;
        if let Some(heartbeat) = &request.heartbeat {
            run::beat(&mut transaction, heartbeat, now.unix).await?;
        }
        let Snapshot { state, counts, miscounted } = snapshot(&mut transaction).await?;
        state.holder.check(run)?;
        if state.control.probe_requested {
            run::accept_probe(&mut transaction).await?;
        }
        // Before anything is durable: without the rules, no claim may be written.
        if compared.is_some_and(|compared| compared != state.schema_version) {
            return Err(QueueError::Uncompared);
        }
        if state.newest_request < made {
            drop(transaction);
            return Err(QueueError::Rewound { path: self.path().to_owned(), newest: state.newest_request, made });
        }
        transaction.commit().await.map_err(&failed)?;
        let locked_for = clock::now().instant.duration_since(locked);
        self.files().check()?;
        Ok(BatchReport {
            claims,
            postponed,
            rejected_claims,
            rejected_results,
            control: state.control,
            next_commit: state.next_commit,
            next_readback: state.next_readback,
            counts,
            miscounted,
            locked_for,
            ..BatchReport::default()
        })
    }
}

/// Completes the requests of the results. Returns the results that a rule rejected.
async fn write_results(
    connection: &mut SqliteConnection,
    mode: WriteMode,
    run: &Run,
    now: UnixMillis,
    request: &BatchRequest,
) -> Result<Vec<RejectedWrite>, QueueError> {
    let completions = request.results.iter().map(|completed| Completion::of(completed, run, now));
    let mut completions: Vec<Completion> = completions.collect();
    if request.reconcile.is_some() {
        completions = complete::unfinished(connection, completions).await?;
    }
    let written = write(connection, mode, &completions, &CompletionWrite).await?;
    Ok(written.into_iter().filter_map(Result::err).collect())
}
