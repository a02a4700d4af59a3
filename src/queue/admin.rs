//! What the commands do to the queue. Operators could do the same with plain SQL.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use super::connection::Queue;
use super::error::QueueError;
use super::run::{pause, resume};
use crate::cause::{Cause, RowCause};
use crate::submission::{CertificateId, State, VerifyType};

/// Which submissions to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Ids(Vec<CertificateId>),
    /// All in the state that have this error code and this reference, if they are given.
    With {
        /// The server's error code.
        error_code: Option<String>,
        /// The caller's key.
        reference: Option<String>,
    },
    /// All in the state.
    All,
}

/// What a change of submissions did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shifted {
    /// How many were moved.
    pub moved: u64,
    /// Submissions that were named but are in none of these states, or not in the queue; each once.
    pub unmoved: Vec<CertificateId>,
}

/// An operator's decision on a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Its order is placed, with this ID.
    Submitted(String),
    /// No order is to be placed.
    Failed,
    /// It is sent, or sent again.
    Pending,
}

impl Queue {
    /// Moves the selected submissions that are in one of the states `from` to another.
    ///
    /// # Errors
    /// When the database fails, or a rule rejects it; then nothing is moved.
    pub async fn shift(
        &mut self,
        selection: &Selection,
        from: &[State],
        to: State,
        verify_type: Option<VerifyType>,
    ) -> Result<Shifted, QueueError> {
        self.write("changing submissions", async |connection| {
            let by = |keys| Shift { keys, from, to, verify_type };
            let keys = match selection {
                Selection::Ids(ids) => {
                    let (mut shifted, mut seen) = (Shifted::default(), HashSet::new());
                    for id in ids.iter().filter(|id| seen.insert(id.as_str())) {
                        match by(vec![("certificate_id", id.as_str())]).execute(connection).await? {
                            0 => shifted.unmoved.push(id.clone()),
                            moved => shifted.moved += moved,
                        }
                    }
                    return Ok(shifted);
                }
                Selection::With { error_code, reference } => {
                    let keys = [("error_code", error_code), ("reference", reference)];
                    keys.into_iter().filter_map(|(column, value)| Some((column, value.as_deref()?))).collect()
                }
                Selection::All => {
                    if (from, to) == (&[State::Pending], State::InDoubt) {
                        note_verification(connection).await?;
                    }
                    Vec::new()
                }
            };
            Ok(Shifted { moved: by(keys).execute(connection).await?, unmoved: Vec::new() })
        })
        .await
    }

    /// Carries out an operator's decision on a submission that is held or in doubt. Returns false if it is neither.
    ///
    /// # Errors
    /// When the database fails, or a rule rejects it.
    pub async fn resolve(&mut self, id: &CertificateId, resolution: &Resolution) -> Result<bool, QueueError> {
        const WHAT: &str = "resolving a submission";
        let decided = RowCause::DecidedByOperator;
        let decision = match resolution {
            Resolution::Submitted(order_id) => sqlx::query(
                "UPDATE submissions SET state = 'submitted', reason = ?2, reason_code = ?3, reason_parameters = NULL,
                        order_id = ?4, resolved_by = 'operator', error_code = NULL, error_message = NULL
                  WHERE certificate_id = ?1 AND state = 'held'",
            )
            .bind(id.as_str())
            .bind(decided.to_string())
            .bind(decided.code())
            .bind(order_id),
            Resolution::Failed => sqlx::query(
                "UPDATE submissions SET state = 'failed', reason = ?2, reason_code = ?3, reason_parameters = NULL
                  WHERE certificate_id = ?1 AND state = 'held'",
            )
            .bind(id.as_str())
            .bind(decided.to_string())
            .bind(decided.code()),
            Resolution::Pending => {
                sqlx::query("UPDATE submissions SET state = 'pending' WHERE certificate_id = ?1 AND state = 'held'")
                    .bind(id.as_str())
            }
        };
        self.write(WHAT, async |connection| {
            let hold = "UPDATE submissions SET state = 'held' WHERE certificate_id = ? AND state = 'in_doubt'";
            sqlx::query(hold).bind(id.as_str()).execute(&mut *connection).await.map_err(QueueError::of(WHAT))?;
            let resolved = decision.execute(connection).await.map_err(QueueError::of(WHAT))?;
            Ok(resolved.rows_affected() == 1)
        })
        .await
    }

    /// Pauses for this cause; without one, resumes, which ends any pause and asks for a probe at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_paused(&mut self, cause: Option<&Cause>) -> Result<(), QueueError> {
        let what = if cause.is_some() { "pausing" } else { "resuming" };
        self.write(what, async |connection| {
            let result = match cause {
                Some(cause) => pause(connection, cause).await,
                None => resume(connection).await,
            };
            result.map_err(QueueError::of(what))
        })
        .await
    }
}

/// Records that everything pending is to be read back, for those who restored the queue.
async fn note_verification(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let noted = sqlx::query("UPDATE control SET verified_at = CAST(strftime('%s', 'now') AS INTEGER)");
    noted.execute(connection).await.map(drop).map_err(QueueError::of("changing submissions"))
}

/// A move of the submissions that have all of these values in their columns.
struct Shift<'a> {
    keys: Vec<(&'static str, &'a str)>,
    from: &'a [State],
    to: State,
    verify_type: Option<VerifyType>,
}

impl Shift<'_> {
    /// Returns how many it moved.
    async fn execute(&self, connection: &mut SqliteConnection) -> Result<u64, QueueError> {
        let mut query = QueryBuilder::<Sqlite>::new("UPDATE submissions SET state = ");
        query.push_bind(self.to.as_str());
        if self.to == State::InDoubt {
            // It is read back at once. The queue's rules decide when it is sent again.
            query.push(", due_at = CAST(strftime('%s', 'now') AS INTEGER)");
        }
        if let Some(verify_type) = self.verify_type {
            query.push(", verify_type = ").push_bind(verify_type.as_str());
        }
        query.push(" WHERE (");
        let mut states = query.separated(" OR ");
        for state in self.from {
            // Not as parameters: SQLite wouldn't use the index on failed submissions.
            states.push(format_args!("state = '{}'", state.as_str()));
        }
        query.push(")");
        for (column, value) in &self.keys {
            query.push(" AND ").push(column).push(" = ").push_bind((*value).to_owned());
        }
        let moved = query.build().execute(connection).await.map_err(QueueError::of("changing submissions"))?;
        Ok(moved.rows_affected())
    }
}
