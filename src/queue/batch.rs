//! One turn of the daemon at the database: results, claims and heartbeat in one short transaction.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::claim::{self, Claims, Wanted};
use super::complete::{self, Record};
use super::connection::Queue;
use super::counts::Counts;
use super::error::QueueError;
use super::rejected_write::RejectedWrite;
use super::run::{self, Control, Heartbeat, Run};
use super::snapshot::{Snapshot, outlook};
use crate::clock::{self, Now};
use crate::submission::VerifyPolicy;

/// What one turn is to do.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// The time.
    pub now: Now,
    /// Results to write.
    pub records: &'a [Record],
    /// Whether some of them may be written already, by a turn that failed and landed all the same.
    pub may_be_written: bool,
    /// The most commits to claim; none are while the queue is paused.
    pub commits: usize,
    /// The most reads to claim.
    pub reads: usize,
    /// Submissions that are not to be claimed, by their ids: that was refused a moment ago.
    pub skip: &'a [i64],
    /// The waits of the read-back.
    pub verify: VerifyPolicy,
    /// The number of the newest request, as the mark has it: a database that knows of fewer was put back.
    pub newest_request: i64,
    /// The `daemon` row, when it is to be written.
    pub heartbeat: Option<&'a Heartbeat>,
    /// Which probe the commit is, counted from 0, if it is one. Probes take turns among the priorities: what one
    /// certificate gets says nothing of the others.
    pub probe: Option<u32>,
    /// Whether reading is paused, so that what has to be read first waits for longer.
    pub reading_paused: bool,
}

impl Turn<'_> {
    /// A turn that brings nothing and asks for nothing, under these waits of the read-back.
    #[must_use]
    pub fn new(now: Now, verify: VerifyPolicy) -> Self {
        Self {
            now,
            records: &[],
            may_be_written: false,
            commits: 0,
            reads: 0,
            skip: &[],
            verify,
            newest_request: 0,
            heartbeat: None,
            probe: None,
            reading_paused: false,
        }
    }
}

/// What one turn did and found.
#[derive(Debug, Default)]
pub struct TurnReport {
    /// What was claimed, durably.
    pub claims: Claims,
    /// Records that a rule of the queue refused. Nothing of them is written, so they have to be kept.
    pub refused: Vec<RejectedWrite>,
    /// What people ask for. `probe_requested` is cleared by this turn.
    pub control: Control,
    /// When the next commit is due, in unix seconds; perhaps now.
    pub next_commit: Option<i64>,
    /// When the next read is due, in unix seconds; perhaps now.
    pub next_read: Option<i64>,
    /// Submissions by state.
    pub counts: Counts,
    /// Whether they are certainly wrong, but for whether there are any.
    pub miscounted: bool,
    /// For how long nobody else could write.
    pub held: Duration,
}

/// How a turn writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// By as few statements as can be: each costs a change of threads and back, which is most of what a turn costs.
    AtOnce,
    /// Row by row, so that what a rule refuses, and what is written already, concerns its row alone.
    RowByRow,
}

impl Queue {
    /// Does one turn, all of it or nothing.
    ///
    /// # Errors
    /// When the database fails, its file was replaced, another daemon took the queue over, or rules that are insisted on
    /// are gone. After a failure the turn may have landed all the same: write the records again, and reconcile with
    /// [`recover`](Self::recover) before the next claims.
    pub async fn turn(&mut self, run: &Run, turn: &Turn<'_>) -> Result<TurnReport, QueueError> {
        let turned = self.turn_as_it_suits(run, turn).await;
        let Err(QueueError::Uncompared) = turned else { return turned };
        self.require_intact_schema().await?;
        // Who changes the schema again and again has it compared at the next turn.
        self.turn_as_it_suits(run, turn).await
    }

    async fn turn_as_it_suits(&mut self, run: &Run, turn: &Turn<'_>) -> Result<TurnReport, QueueError> {
        if turn.may_be_written {
            return self.turn_in(Manner::RowByRow, run, turn).await;
        }
        match self.turn_in(Manner::AtOnce, run, turn).await {
            // All of it is undone; and the transaction is gone too, if a trigger rolled it back.
            Err(QueueError::Refused(_)) => {
                self.reconnect().await?;
                self.turn_in(Manner::RowByRow, run, turn).await
            }
            done => done,
        }
    }

    async fn turn_in(&mut self, manner: Manner, run: &Run, turn: &Turn<'_>) -> Result<TurnReport, QueueError> {
        self.files().check()?;
        let failed = QueueError::of("taking a turn");
        let compared = self.compared;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let since = clock::now().instant;
        let (mut report, versions) = take(&mut transaction, manner, run, turn).await?;
        // Nothing of the turn stands yet: without the rules, no claim may be written.
        if compared.is_some_and(|compared| compared != versions.schema) {
            return Err(QueueError::Uncompared);
        }
        let (newest, made) = (versions.newest_request, turn.newest_request);
        if newest < made {
            drop(transaction);
            return Err(QueueError::Rewound { path: self.path().to_owned(), newest, made });
        }
        transaction.commit().await.map_err(&failed)?;
        report.held = clock::now().instant.duration_since(since);
        self.files().check()?;
        Ok(report)
    }
}

/// What tells whether the database is still what it was.
struct Versions {
    schema: i64,
    newest_request: i64,
}

/// What it did and found.
async fn take(
    connection: &mut SqliteConnection,
    manner: Manner,
    run: &Run,
    turn: &Turn<'_>,
) -> Result<(TurnReport, Versions), QueueError> {
    let refused = complete::write(connection, manner, turn.records, turn.now.unix).await?;
    let Turn { commits, reads, skip, verify, probe, reading_paused, .. } = *turn;
    let wanted = Wanted { commits, reads, skip, verify, probe, reading_paused };
    let claims = claim::claim(connection, manner, run, turn.now, wanted).await?;
    if let Some(heartbeat) = turn.heartbeat {
        run::beat(connection, heartbeat, turn.now.unix).await?;
    }
    let outlook = outlook(connection).await?;
    let Snapshot { holder, control, next_commit, next_read, counts, miscounted, schema_version, newest_request } =
        outlook;
    holder.check(run)?;
    if control.probe_requested {
        run::accept_probe(connection).await?;
    }
    let held = Duration::ZERO;
    let report = TurnReport { claims, refused, control, next_commit, next_read, counts, miscounted, held };
    Ok((report, Versions { schema: schema_version, newest_request }))
}
