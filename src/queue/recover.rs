//! Recovery: settling orphaned requests, which nobody holds any more, after a crash or a failed COMMIT.

use sqlx::sqlite::SqliteConnection;

use super::complete::{Completion, CompletionWrite};
use super::connection::Queue;
use super::error::QueueError;
use super::files::departure_marker::Departures;
use super::partial_results::partial_results;
use super::rejected_write::RejectedWrite;
use super::run::{self, Run, pause};
use super::untrusted_text::UntrustedText;
use super::write_mode::{WriteMode, write};
use crate::cause::{Cause, RowCause};
use crate::clock::Now;
use crate::submission::{Event, Evidence, Policy, RequestKind, Row, State, next_state};

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Submissions that an earlier run left in flight; they are in doubt now.
    pub in_doubt: u64,
    /// Submissions that an earlier run had claimed and never sent; they are pending again.
    pub never_sent: u64,
    /// Submissions that this run claimed in a batch that reported an error but landed; they are pending again.
    pub returned: u64,
    /// Submissions whose row lacked the recorded result of its commit; the row has it now.
    pub completed: u64,
    /// Requests that a rule of the queue keeps from being settled. They stay as they are until the next recovery.
    pub rejected: Vec<RejectedWrite>,
}

/// An orphaned request.
#[derive(Debug, sqlx::FromRow)]
struct Orphan {
    number: i64,
    certificate_id: UntrustedText,
    kind: String,
    run_id: String,
    submission: Option<i64>,
    tries: Option<u32>,
}

impl Queue {
    /// Settles every unfinished request except the `held` ones, which are this run's and in flight.
    ///
    /// A commit of an earlier run may have been sent, unless the `departures` exclude it: its submission becomes in doubt. A
    /// commit of this run that isn't held was claimed by a batch whose COMMIT reported an error but landed; it was never
    /// sent.
    ///
    /// # Errors
    /// When the database fails, or another daemon took the queue over.
    pub async fn recover(
        &mut self,
        run: &Run,
        now: Now,
        held: &[i64],
        departures: &Departures,
        policy: &Policy,
    ) -> Result<Recovered, QueueError> {
        let (mut skipped, mut rejected) = (held.to_vec(), Vec::new());
        loop {
            match self.recover_all_but(&skipped, run, now, departures, policy).await {
                Err(QueueError::RolledBack { refused: Some(write), .. }) if write.request.is_some() => {
                    skipped.extend(write.request);
                    rejected.push(*write);
                    self.reconnect().await?;
                }
                recovered => {
                    let mut recovered = recovered?;
                    recovered.rejected.extend(rejected);
                    return Ok(recovered);
                }
            }
        }
    }

    async fn recover_all_but(
        &mut self,
        held: &[i64],
        run: &Run,
        now: Now,
        departures: &Departures,
        policy: &Policy,
    ) -> Result<Recovered, QueueError> {
        self.files().check()?;
        self.write("recovering", async |connection| {
            run::check(connection, run).await?;
            let mut recovered = Recovered::default();
            let orphans = orphans(connection, held).await?;
            let settled = orphans.into_iter().map(|orphan| {
                let fate = orphan.fate(run, departures);
                (orphan.settle(fate, now, policy), fate)
            });
            let (completions, fates): (Vec<_>, Vec<_>) = settled.unzip();
            let written = write(connection, WriteMode::OneByOne, &completions, &CompletionWrite).await?;
            for ((written, completion), fate) in written.into_iter().zip(&completions).zip(fates) {
                match (written, fate) {
                    (Err(rejected), _) => recovered.rejected.push(rejected),
                    (Ok(()), _) if !completion.changes_a_row() => {}
                    (Ok(()), Fate::MaybeSent) => recovered.in_doubt += 1,
                    (Ok(()), Fate::NeverSent) => recovered.never_sent += 1,
                    (Ok(()), Fate::ClaimLost) => recovered.returned += 1,
                }
            }
            let mut completions = Vec::new();
            for partial in partial_results(connection, held).await? {
                match partial.completion(now, policy) {
                    Ok(completion) => completions.push(completion),
                    Err(rejected) => recovered.rejected.push(rejected),
                }
            }
            for written in write(connection, WriteMode::OneByOne, &completions, &CompletionWrite).await? {
                match written {
                    Ok(()) => recovered.completed += 1,
                    Err(rejected) => recovered.rejected.push(rejected),
                }
            }
            Ok(recovered)
        })
        .await
    }

    /// Checks that the database has a record of as many requests as were `made`.
    ///
    /// # Errors
    /// [`QueueError::Rewound`], and when the database fails.
    pub async fn check_newest(&mut self, made: i64) -> Result<(), QueueError> {
        let newest = self.newest_request().await?;
        if newest < made { Err(QueueError::Rewound { path: self.path().to_owned(), newest, made }) } else { Ok(()) }
    }

    /// The number of the newest request ever made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_request(&mut self) -> Result<i64, QueueError> {
        self.requests_made().await.map(|(newest, _)| newest)
    }

    /// Pauses a restored database, and makes its request numbers continue after this one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pause_restored(&mut self, cause: &Cause, number: i64) -> Result<(), QueueError> {
        const WHAT: &str = "pausing a restored database";
        self.write(WHAT, async |connection| {
            pause(connection, cause).await.map_err(QueueError::of(WHAT))?;
            sqlx::query(
                "DELETE FROM sqlite_sequence WHERE name = 'requests';
                 INSERT INTO sqlite_sequence (name, seq) VALUES ('requests', ?1)",
            )
            .bind(number)
            .execute(connection)
            .await
            .map(drop)
            .map_err(QueueError::of(WHAT))
        })
        .await
    }
}

/// What became of an orphaned request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// A transaction of this run lost it: it was never sent.
    ClaimLost,
    /// An earlier run never sent it.
    NeverSent,
    /// An earlier run may have sent it.
    MaybeSent,
}

impl Orphan {
    fn fate(&self, run: &Run, departures: &Departures) -> Fate {
        if self.run_id == run.id {
            Fate::ClaimLost
        } else if departures.exclude(&self.run_id, self.number) {
            Fate::NeverSent
        } else {
            Fate::MaybeSent
        }
    }

    /// Its completion.
    fn settle(self, fate: Fate, now: Now, policy: &Policy) -> Completion {
        let event = match fate {
            Fate::ClaimLost => Event::Returned(RowCause::ClaimLost),
            Fate::NeverSent => Event::Returned(RowCause::CrashedUnsent),
            Fate::MaybeSent => Event::Interrupted,
        };
        let kind = self.kind.parse().unwrap_or(RequestKind::Readback);
        let completion =
            Completion::of_request(self.number, self.certificate_id.to_string(), &event.outcome(kind), now.unix);
        let (Ok(certificate_id), Some(submission)) = (self.certificate_id.parse(), self.submission) else {
            return completion;
        };
        let tries = self.tries.unwrap_or_default();
        let row = Row { state: State::InFlight, tries, is_probe: false, evidence: Evidence::none() };
        // This decision has no backoff, so it needs no random number.
        let Some(change) = next_state(&row, kind, &event, policy, 0.0) else { return completion };
        completion.with_change(submission, &certificate_id, row.state, Some(&change), now.unix)
    }
}

async fn orphans(connection: &mut SqliteConnection, held: &[i64]) -> Result<Vec<Orphan>, QueueError> {
    // The plus makes SQLite look up the certificate instead of searching all submissions in flight.
    let unfinished: Vec<Orphan> = sqlx::query_as(
        "SELECT r.number, r.certificate_id, r.kind, r.run_id, s.id AS submission, s.tries
           FROM requests r LEFT JOIN submissions s ON s.certificate_id = r.certificate_id AND +s.state = 'in_flight'
          WHERE r.finished_at IS NULL",
    )
    .fetch_all(connection)
    .await
    .map_err(QueueError::of("looking for unfinished requests"))?;
    Ok(unfinished.into_iter().filter(|orphan| !held.contains(&orphan.number)).collect())
}
