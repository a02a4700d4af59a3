//! One turn of the daemon at the database: results, claims and heartbeat in one short transaction.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::claim::{self, Claim, Wanted};
use super::error::QueueError;
use super::open::Queue;
use super::record::{self, Record};
use super::report::Counts;
use crate::clock::{Now, UnixMillis, millis};

/// One run of the daemon, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Random; in `daemon.run_id` and in every request of this run.
    pub id: String,
    /// When it started.
    pub started: Now,
}

impl Run {
    /// Monotonic milliseconds from the start of the run.
    #[must_use]
    pub fn millis_at(&self, now: Now) -> i64 {
        millis(now.instant.duration_since(self.started.instant))
    }
}

/// What the daemon is doing, as `daemon.mode` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sends what is due.
    Running,
    /// `control.paused` is set.
    PausedByOperator,
    /// A fault that is no row's; it probes.
    PausedByFault,
    /// Waits for the requests on the way.
    Stopping,
    /// Ended in good order.
    Stopped,
}

impl Mode {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::PausedByOperator => "paused_by_operator",
            Self::PausedByFault => "paused_by_fault",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// What the `daemon` row says.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// What the daemon is doing.
    pub mode: Mode,
    /// Why, if it isn't simply running.
    pub why: Option<String>,
    /// Commits a second at present.
    pub pace: f64,
}

/// What people ask of the daemon, in the row `control`.
#[derive(Debug, Clone, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct Control {
    /// No commits go out.
    pub paused: bool,
    /// Why.
    pub pause_reason: Option<String>,
    /// End a pause by fault with a probe at once.
    pub probe_requested: bool,
}

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
    /// The `daemon` row, when it is to be written.
    pub heartbeat: Option<&'a Heartbeat>,
}

/// What one turn did and found.
#[derive(Debug, Default)]
pub struct TurnReport {
    /// Claimed commits; their rows are in flight, durably.
    pub commits: Vec<Claim>,
    /// Claimed reads.
    pub reads: Vec<Claim>,
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
}

impl Queue {
    /// Begins a run: the `daemon` row says so from now on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_run(&mut self, run: &Run) -> Result<(), QueueError> {
        let at = run.started.unix.seconds();
        sqlx::query(
            "UPDATE daemon SET run_id = ?, pid = ?, version = ?, started_at = ?, heartbeat_at = ?, mode = 'running', why = NULL",
        )
        .bind(&run.id)
        .bind(i64::from(std::process::id()))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(at)
        .bind(at)
        .execute(&mut self.connection)
        .await
        .map_err(QueueError::of("beginning the run"))?;
        Ok(())
    }

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
        let report = take(&mut transaction, run, turn).await?;
        transaction.commit().await.map_err(&failed)?;
        self.place().check()?;
        Ok(report)
    }
}

async fn take(connection: &mut SqliteConnection, run: &Run, turn: &Turn<'_>) -> Result<TurnReport, QueueError> {
    check_run(connection, run).await?;
    let mut report = TurnReport::default();
    for record in turn.records {
        match record::write(connection, record, turn.now.unix).await {
            Err(QueueError::Refused(sentence)) => report.refused.push((record.request, sentence)),
            written => written?,
        }
    }
    report.control = control(connection).await?;
    let commits = if report.control.paused { 0 } else { turn.commits };
    let wanted = Wanted { commits, reads: turn.reads, read_first: turn.read_first };
    claim::claim(connection, run, turn.now, wanted, &mut report).await?;
    if let Some(heartbeat) = turn.heartbeat {
        beat(connection, heartbeat, turn.now.unix).await?;
    }
    (report.next_commit, report.next_read) = claim::next_due(connection).await?;
    report.counts = super::report::counts(connection).await?;
    Ok(report)
}

/// A daemon that started on the same file, for instance after the lock file was unlinked, took over.
async fn check_run(connection: &mut SqliteConnection, run: &Run) -> Result<(), QueueError> {
    let (run_id, pid): (Option<String>, Option<i64>) = sqlx::query_as("SELECT run_id, pid FROM daemon")
        .fetch_one(connection)
        .await
        .map_err(QueueError::of("checking the run"))?;
    if run_id.as_deref() == Some(run.id.as_str()) {
        return Ok(());
    }
    let holder = pid.map_or("an unknown process".to_owned(), |pid| format!("process {pid}"));
    Err(QueueError::Held { path: "the queue".into(), holder })
}

async fn control(connection: &mut SqliteConnection) -> Result<Control, QueueError> {
    let control: Control = sqlx::query_as("SELECT paused, pause_reason, probe_requested FROM control")
        .fetch_one(&mut *connection)
        .await
        .map_err(QueueError::of("reading the controls"))?;
    if control.probe_requested {
        sqlx::query("UPDATE control SET probe_requested = 0")
            .execute(connection)
            .await
            .map_err(QueueError::of("reading the controls"))?;
    }
    Ok(control)
}

async fn beat(connection: &mut SqliteConnection, heartbeat: &Heartbeat, now: UnixMillis) -> Result<(), QueueError> {
    sqlx::query("UPDATE daemon SET heartbeat_at = ?, mode = ?, why = ?, pace = ?")
        .bind(now.seconds())
        .bind(heartbeat.mode.as_str())
        .bind(&heartbeat.why)
        .bind(heartbeat.pace)
        .execute(connection)
        .await
        .map_err(QueueError::of("writing the heartbeat"))?;
    Ok(())
}
