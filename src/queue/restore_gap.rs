//! Whether the record lacks requests that were made, by the newest number in the database and in the marker beside it.

use std::fmt;

use super::connection::Queue;
use super::error::QueueError;
use crate::cause::PauseCause;

/// The record lacks requests that were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreGap {
    /// The marker is ahead: the database was restored from a backup or created again.
    Behind {
        /// The newest request on record.
        newest: i64,
        /// The newest request made.
        made: i64,
    },
    /// There is no marker: the database was restored, or moved here, without it.
    Unmarked {
        /// The newest request on record.
        newest: i64,
    },
    /// No request is left on record.
    Emptied {
        /// How many were made.
        made: i64,
    },
}

impl From<RestoreGap> for PauseCause {
    fn from(gap: RestoreGap) -> Self {
        match gap {
            RestoreGap::Behind { newest, made } => Self::RestoredBehind { newest, made },
            RestoreGap::Unmarked { newest } => Self::RestoredUnmarked { newest },
            RestoreGap::Emptied { made } => Self::RestoredEmptied { made },
        }
    }
}

impl fmt::Display for RestoreGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PauseCause::from(*self).fmt(f)
    }
}

impl Queue {
    /// What the record lacks, if anything, compared with the number in the marker. The marker has to be read before the
    /// database, because a daemon may be running.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gap(&mut self, marker: Option<i64>) -> Result<Option<RestoreGap>, QueueError> {
        let (newest, on_record) = self.requests_made().await?;
        Ok(match marker {
            Some(made) if made > newest && !on_record => Some(RestoreGap::Emptied { made }),
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
