//! One turn of the daemon at the database: results, claims and heartbeat in one short transaction.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::claim::{self, Claims, Wanted};
use super::error::QueueError;
use super::open::Queue;
use super::record::{self, Record};
use super::report::{self, Counts};
use super::run::{self, Control, Heartbeat, Run};
use crate::clock::{self, Now};

/// What one turn is to do.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The time.
    pub now: Now,
    /// Results to write.
    pub records: &'a [Record],
    /// The most commits to claim.
    pub commits: usize,
    /// The most reads to claim.
    pub reads: usize,
    /// Whether a row whose backend answered in error has to be read before its next try; not if reading isn't
    /// permitted.
    pub read_first: bool,
    /// How long what is in doubt settles before it is read.
    pub settle: Duration,
    /// The `daemon` row, when it is to be written.
    pub heartbeat: Option<&'a Heartbeat>,
}

/// What one turn did and found.
#[derive(Debug, Default)]
pub struct TurnReport {
    /// What was claimed, durably.
    pub claims: Claims,
    /// Records that a rule of the queue refused, by request number, with the rule's sentence.
    pub refused: Vec<(i64, String)>,
    /// What people ask for. `probe_requested` is cleared by this turn.
    pub control: Control,
    /// When the next commit is due, in unix seconds; perhaps now.
    pub next_commit: Option<i64>,
    /// When the next read is due, in unix seconds; perhaps now.
    pub next_read: Option<i64>,
    /// Submissions by state.
    pub counts: Counts,
    /// For how long nobody else could write.
    pub held: Duration,
}

impl Queue {
    /// Does one turn, all of it or nothing.
    ///
    /// # Errors
    /// When the database fails, its file was replaced, or another daemon took the queue over. After a failure
    /// the turn may have landed all the same: write the records again, and reconcile with
    /// [`recover`](Self::recover) before the next claims.
    pub async fn turn(&mut self, run: &Run, turn: &Turn<'_>) -> Result<TurnReport, QueueError> {
        self.place().check()?;
        let failed = QueueError::of("taking a turn");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let since = clock::now().instant;
        let mut report = take(&mut transaction, run, turn).await?;
        transaction.commit().await.map_err(&failed)?;
        report.held = clock::now().instant.duration_since(since);
        self.place().check()?;
        Ok(report)
    }
}

async fn take(connection: &mut SqliteConnection, run: &Run, turn: &Turn<'_>) -> Result<TurnReport, QueueError> {
    run::check(connection, run).await?;
    let mut done = TurnReport::default();
    for record in turn.records {
        match record::write(connection, record, turn.now.unix).await {
            Err(QueueError::Refused(sentence)) => done.refused.push((record.request, sentence)),
            written => written?,
        }
    }
    done.control = run::control(connection).await?;
    let commits = if done.control.paused { 0 } else { turn.commits };
    let wanted = Wanted { commits, reads: turn.reads, read_first: turn.read_first, settle: turn.settle };
    done.claims = claim::claim(connection, run, turn.now, wanted).await?;
    if let Some(heartbeat) = turn.heartbeat {
        run::beat(connection, heartbeat, turn.now.unix).await?;
    }
    (done.next_commit, done.next_read) = claim::next_due(connection).await?;
    done.counts = report::counts(connection).await?;
    Ok(done)
}
