//! The outlook: whose the queue is, what people ask for, and what is left to do.

use sqlx::sqlite::SqliteConnection;

use super::counts::Counts;
use super::error::QueueError;
use super::run::{Control, Holder};

/// The queue as it stands.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Whose it is.
    pub(super) holder: Holder,
    /// What people ask for.
    pub(super) control: Control,
    /// When the next commit is due, in unix seconds; perhaps long ago.
    pub(super) next_commit: Option<i64>,
    /// When the next read is due, in unix seconds; perhaps long ago.
    pub(super) next_read: Option<i64>,
    /// Submissions by state, as the queue's triggers keep count. Whether there are any in a state is asked of the submissions
    /// themselves: anybody can write a count.
    pub(super) counts: Counts,
    /// Whether a count is certainly wrong.
    pub(super) miscounted: bool,
    /// Changes with the schema.
    pub(super) schema_version: i64,
    /// The number of the newest request ever made.
    pub(super) newest_request: i64,
}

/// When the first of these rows is due. A row whose request is on the way waits for that.
macro_rules! first_due {
    ($which:literal) => {
        concat!(
            "(SELECT s.due_at FROM submissions s WHERE ",
            $which,
            " AND typeof(s.due_at) = 'integer'
                AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.certificate_id = s.certificate_id AND r.finished_at IS NULL)
              ORDER BY s.due_at LIMIT 1)"
        )
    };
}

/// The same, as it is read: in one line, since each costs a change of threads.
#[derive(sqlx::FromRow)]
struct Line {
    #[sqlx(flatten)]
    holder: Holder,
    #[sqlx(flatten)]
    control: Control,
    next_commit: Option<i64>,
    next_read: Option<i64>,
    schema_version: i64,
    newest_request: i64,
    /// As JSON: the state, what was kept, whether there are any.
    counts: String,
}

/// Looks.
pub(super) async fn outlook(connection: &mut SqliteConnection) -> Result<Snapshot, QueueError> {
    let Line { holder, control, next_commit, next_read, schema_version, newest_request, counts } =
        sqlx::query_as(concat!(
            "SELECT run_id, pid, paused, pause_reason, probe_requested, (SELECT min(due) FROM (SELECT ",
            first_due!("s.state = 'pending' AND s.priority = 3"),
            " AS due UNION ALL SELECT ",
            first_due!("s.state = 'pending' AND s.priority = 2"),
            " UNION ALL SELECT ",
            first_due!("s.state = 'pending' AND s.priority = 1"),
            " UNION ALL SELECT ",
            first_due!("s.state = 'pending' AND s.priority = 0"),
            ")) AS next_commit, ",
            first_due!("s.state = 'in_doubt'"),
            " AS next_read, (SELECT schema_version FROM pragma_schema_version) AS schema_version,
          coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0) AS newest_request,
          (SELECT json_group_array(json_array(states.state, coalesce(CAST(n.count AS INTEGER), 0),
                    EXISTS (SELECT 1 FROM submissions WHERE submissions.state = states.state)))
             FROM (SELECT 'pending' AS state UNION ALL SELECT 'in_flight' UNION ALL SELECT 'in_doubt'
                   UNION ALL SELECT 'submitted' UNION ALL SELECT 'failed' UNION ALL SELECT 'held'
                   UNION ALL SELECT 'canceled') states LEFT JOIN state_counts n ON n.state = states.state) AS counts
           FROM daemon, control",
        ))
        .fetch_one(connection)
        .await
        .map_err(QueueError::of("looking for what is left to do"))?;
    let kept: Vec<(String, i64, i64)> =
        serde_json::from_str(&counts).map_err(|error| QueueError::unwritable("counting", &error))?;
    let miscounted = kept.iter().any(|(_, count, any)| (*count > 0) != (*any > 0) || *count < 0);
    let believed = |count: i64, any: i64| if any > 0 { count.max(1) } else { 0 };
    let counts = kept.into_iter().filter_map(|(state, count, any)| Some((state.parse().ok()?, believed(count, any))));
    let counts = counts.collect();
    Ok(Snapshot { holder, control, next_commit, next_read, counts, miscounted, schema_version, newest_request })
}
