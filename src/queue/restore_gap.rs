//! Whether requests that were made are missing on record, by the newest number in the database and in the marker beside it.

use std::fmt;

use super::connection::Queue;
use super::error::QueueError;

/// Requests were made that are not on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreGap {
    /// The marker is ahead: the database was restored from a backup, or created anew.
    Behind {
        /// The newest request on record.
        newest: i64,
        /// The newest that was made.
        made: i64,
    },
    /// There is no marker, as where a backup was restored or moved to.
    Unmarked {
        /// The newest request on record.
        newest: i64,
    },
    /// All are gone.
    Emptied {
        /// How many were made.
        made: i64,
    },
}

impl fmt::Display for RestoreGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { newest, made } => write!(
                f,
                "this database was restored from a backup, or made anew: it knows of {newest} requests, and {made} were made"
            ),
            Self::Unmarked { newest } => write!(
                f,
                "the mark beside this database is missing, as it is where a backup was restored or moved to: whether more \
                 than the {newest} requests that it knows of were made can't be told"
            ),
            Self::Emptied { made } => {
                write!(f, "this database was emptied: {made} requests were made, and none of them is on record")
            }
        }
    }
}

impl Queue {
    /// What is missing, where the marker holds this number. It has to be read before the database, since a daemon may be at
    /// work.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gap(&mut self, marker: Option<i64>) -> Result<Option<RestoreGap>, QueueError> {
        let (newest, on_record) = self.requests_made().await?;
        Ok(match marker {
            Some(made) if made > newest => Some(RestoreGap::Behind { newest, made }),
            _ if newest > 0 && !on_record => Some(RestoreGap::Emptied { made: newest }),
            None if newest > 0 || self.last_run().await?.is_some() => Some(RestoreGap::Unmarked { newest }),
            Some(_) | None => None,
        })
    }

    /// The number of the newest request ever made, and whether any is on record.
    pub(super) async fn requests_made(&mut self) -> Result<(i64, bool), QueueError> {
        sqlx::query_as(
            "SELECT max(coalesce(newest, 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0)),
                    newest IS NOT NULL FROM (SELECT max(number) AS newest FROM requests)",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(QueueError::of("looking for the newest request"))
    }
}
