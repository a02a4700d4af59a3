//! A snapshot of the queue: which run holds it, what operators ask for, and what is left to do.

use std::sync::LazyLock;

use sqlx::sqlite::SqliteConnection;

use super::counts::Counts;
use super::due_order::{IDLE, for_each_priority};
use super::error::QueueError;
use super::run::{Control, Holder};
use crate::submission::State;

/// The queue at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) state: QueueState,
    /// Submissions by state, as the queue's triggers count them. Whether a state has any is read from the submissions
    /// themselves, because anyone can write a count.
    pub(super) counts: Counts,
    /// Whether a count is certainly wrong.
    pub(super) miscounted: bool,
}

/// Everything but the counts. It is read as one row, because each row costs a thread switch.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct QueueState {
    /// The run that holds the queue.
    #[sqlx(flatten)]
    pub(super) holder: Holder,
    /// What operators ask for.
    #[sqlx(flatten)]
    pub(super) control: Control,
    /// When the next commit is due, in unix seconds; possibly in the past.
    pub(super) next_commit: Option<i64>,
    /// When the next readback is due, in unix seconds; possibly in the past.
    pub(super) next_readback: Option<i64>,
    /// Changes with the schema.
    pub(super) schema_version: i64,
    /// The number of the newest request ever made.
    pub(super) newest_request: i64,
    /// As JSON, for each state: its name, its stored count, whether there are any.
    counts: String,
}

/// When the first row that meets a condition is due. A row with a request in flight is not.
fn first_due(condition: &str) -> String {
    ["(SELECT s.due_at FROM submissions s WHERE ", condition, IDLE, " ORDER BY s.due_at LIMIT 1)"].concat()
}

static SNAPSHOT: LazyLock<String> = LazyLock::new(|| {
    [
        "SELECT run_id, pid, paused, pause_reason, pause_code, pause_parameters, probe_requested,
                CAST(paused_at AS INTEGER) AS paused_at, CAST(verified_at AS INTEGER) AS verified_at,
                (SELECT schema_version FROM pragma_schema_version) AS schema_version,
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0) AS newest_request,
                (SELECT json_group_array(json_array(states.state, coalesce(CAST(n.count AS INTEGER), 0),
                          EXISTS (SELECT 1 FROM submissions WHERE submissions.state = states.state)))
                   FROM (",
        &State::ALL.map(|state| ["SELECT '", state.as_str(), "' AS state"].concat()).join(" UNION ALL "),
        ") states LEFT JOIN state_counts n ON n.state = states.state) AS counts, ",
        &first_due("s.state = 'in_doubt'"),
        " AS next_readback, (SELECT min(due) FROM (",
        &for_each_priority(|condition| ["SELECT ", &first_due(condition), " AS due"].concat()),
        ")) AS next_commit FROM daemon, control",
    ]
    .concat()
});

/// Takes a snapshot.
pub(super) async fn snapshot(connection: &mut SqliteConnection) -> Result<Snapshot, QueueError> {
    const WHAT: &str = "reading the state of the queue";
    let state: QueueState =
        sqlx::query_as(SNAPSHOT.as_str()).fetch_one(connection).await.map_err(QueueError::of(WHAT))?;
    let stored: Vec<(String, i64, i64)> =
        serde_json::from_str(&state.counts).map_err(|error| QueueError::json(WHAT, &error))?;
    let miscounted = stored.iter().any(|(_, count, any)| (*count > 0) != (*any > 0) || *count < 0);
    let believed = |count: i64, any: i64| if any > 0 { count.max(1) } else { 0 };
    let counts = stored.into_iter().filter_map(|(state, count, any)| Some((state.parse().ok()?, believed(count, any))));
    let counts = counts.collect();
    Ok(Snapshot { state, counts, miscounted })
}
