//! The daemon's database session: its one connection, its restore marker, and what it keeps between batches.

use super::batch::{BatchReport, BatchRequest, PruneStep};
use super::connection::Queue;
use super::error::QueueError;
use super::files::departure_marker::Departures;
use super::files::restore_marker::RestoreMarker;
use super::prune::Pruned;
use super::recover::Recovered;
use super::run::Run;
use crate::clock;
use crate::submission::VerifyPolicy;

/// The session.
#[derive(Debug)]
pub struct Session {
    queue: Queue,
    marker: RestoreMarker,
    run: Run,
    /// Whether an error may have damaged the connection.
    is_suspect: bool,
    /// Whether the last batch found wrong counts.
    is_miscounted: bool,
}

impl Session {
    /// A session of this run.
    #[must_use]
    pub fn new(queue: Queue, marker: RestoreMarker, run: Run) -> Self {
        Self { queue, marker, run, is_suspect: false, is_miscounted: false }
    }

    /// Runs one batch, with the steps that it needs before and after. `None`: nothing had changed, and there was nothing to
    /// do.
    ///
    /// # Errors
    /// The same as [`Queue::batch`]. After [`QueueError::Busy`], the batch has not landed, and the same request can be run
    /// again. After any other error, it may have landed, and the next request has to reconcile.
    pub async fn execute(&mut self, request: &BatchRequest) -> Result<Option<BatchReport>, QueueError> {
        let done = match self.run_batch(request).await {
            // A missing table or column explains more than the statement that needed it.
            Err(error @ QueueError::Failed(_)) if !request.waive_rules => {
                match self.queue.require_intact_schema().await {
                    Err(altered @ QueueError::Altered { .. }) => Err(altered),
                    Ok(()) | Err(_) => Err(error),
                }
            }
            // So does a filesystem that became read-only.
            Err(error @ (QueueError::Io(_) | QueueError::ReadOnly(_) | QueueError::CannotOpen(_))) => {
                Err(self.queue.refused_by_filesystem().unwrap_or(error))
            }
            done => done,
        };
        self.is_suspect |= done.as_ref().is_err_and(|error| !error.leaves_connection_usable());
        done
    }

    async fn run_batch(&mut self, request: &BatchRequest) -> Result<Option<BatchReport>, QueueError> {
        if self.is_suspect {
            self.queue.reconnect().await?;
            self.is_suspect = false;
        }
        if request.waive_rules {
            self.queue.allow_altered_schema();
        }
        let made = self.marker.number().unwrap_or(0);
        let recovered = match &request.reconcile {
            Some(in_flight) => Some(self.reconcile(in_flight, made, request).await?),
            None => None,
        };
        self.queue.files().check()?;
        if request.follow_clock {
            self.queue.follow_clock(clock::now()).await?;
        }
        let pruned = match request.prune {
            Some(step) => Some(self.prune(&request.policy.verify, step).await?),
            None => None,
        };
        let is_recounted = self.recount_if_wrong().await?;
        if request.only_if_changed && pruned.is_none() && !self.queue.has_changed().await? && !is_recounted {
            return Ok(None);
        }
        let oldest_open = if request.find_oldest { self.queue.oldest_open().await? } else { None };
        let report = self.queue.batch(&self.run, clock::now(), made, request).await?;
        self.is_miscounted = report.miscounted;
        if let Some(number) = report.claims.iter().map(|claim| claim.request).max() {
            // Without the marker, a restored database would go unnoticed: no claim is sent that the marker doesn't cover.
            self.marker.advance(number)?;
        }
        Ok(Some(BatchReport { recovered, pruned, oldest_open, ..report }))
    }

    /// Settles orphaned requests. `made` is the newest request by the marker.
    async fn reconcile(
        &mut self,
        in_flight: &[i64],
        made: i64,
        request: &BatchRequest,
    ) -> Result<Recovered, QueueError> {
        self.queue.check_newest(made).await?;
        // While the marker can't be written, every claim would be returned: claim nothing until it can.
        self.marker.rewrite()?;
        // The requests of these results were sent, even if they aren't in the list.
        let results = request.results.iter().map(|result| result.claim.request);
        let held: Vec<i64> = in_flight.iter().copied().chain(results).collect();
        self.queue.recover(&self.run, clock::now(), &held, &Departures::default(), &request.policy).await
    }

    /// Corrects the counts if the last batch found them wrong. Not right after that batch: an error would hide its claims.
    async fn recount_if_wrong(&mut self) -> Result<bool, QueueError> {
        if !self.is_miscounted {
            return Ok(false);
        }
        self.queue.recount().await?;
        self.is_miscounted = false;
        tracing::warn!("the counts in state_counts were wrong; counted the submissions again");
        Ok(true)
    }

    /// Runs one pruning step. A failure ends the pass, and blocks nothing else.
    async fn prune(&mut self, verify: &VerifyPolicy, step: PruneStep) -> Result<Pruned, QueueError> {
        use QueueError::{CannotOpen, Failed, Full, Io, Refused};
        match self.queue.prune(&self.run, clock::now(), verify, step.before, step.after).await {
            Err(error @ (Refused(_) | Full(_) | Io(_) | CannotOpen(_) | Failed(_))) => {
                tracing::warn!("cannot prune old requests: {error}. The next pass is in a day");
                self.queue.reconnect().await?;
                Ok(Pruned { deleted: 0, up_to: None })
            }
            pruned => pruned,
        }
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When the database can't be closed cleanly.
    pub async fn close(self) -> Result<(), QueueError> {
        self.queue.close().await
    }
}
