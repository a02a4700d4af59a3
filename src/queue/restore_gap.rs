//! Whether requests that were made are missing on record, by their numbers: in the database, and in the mark beside it.

use std::fmt;

use super::connection::Queue;
use super::error::QueueError;

/// Requests were made that the database doesn't know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreGap {
    /// The mark is ahead: the database was restored from a backup, or made anew.
    Behind {
        /// The newest request that the database knows of.
        newest: i64,
        /// The newest that was made.
        made: i64,
    },
    /// There is no mark, as where a backup was restored or moved to.
    Unmarked {
        /// The newest request that the database knows of.
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
    /// What is missing, where the mark holds this number. The mark has to be read first: a daemon at work goes on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gap(&mut self, mark: Option<i64>) -> Result<Option<RestoreGap>, QueueError> {
        let (newest, on_record) = self.requests_made().await?;
        Ok(match mark {
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
