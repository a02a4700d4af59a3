//! Recovery: what to make of rows in flight that nobody holds, after a crash or a COMMIT that failed.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::complete::{self, Record};
use super::connection::Queue;
use super::error::QueueError;
use super::partial_results::half_written;
use super::rejected_write::RejectedWrite;
use super::request::{Finished, RequestKind};
use super::run::{self, Run};
use super::savepoint;
use super::untrusted_text::UntrustedText;
use crate::clock::Now;
use crate::submission::{CommitClass, Event, Evidence, Policy, ReadClass, Row, State, next_state};

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Submissions that an earlier run left in flight, and that are in doubt now.
    pub in_doubt: u64,
    /// Submissions that this run had claimed without knowing it, and that are pending again.
    pub returned: u64,
    /// Submissions whose commit has ended on record, and whose own row told nothing of it.
    pub completed: u64,
    /// What a rule of the queue lets nobody settle. It stays as it is, with its submission, until the next recovery.
    pub refused: Vec<RejectedWrite>,
}

/// A request that nobody holds.
#[derive(Debug, sqlx::FromRow)]
struct Orphan {
    number: i64,
    certificate_id: UntrustedText,
    kind: String,
    run_id: String,
    run_ms: i64,
    submission: Option<i64>,
    tries: Option<u32>,
}

impl Queue {
    /// Settles every unfinished request but the `held` ones, which are this run's and on their way.
    ///
    /// A commit of an earlier run may have been sent: its submission becomes in doubt. One of this run that
    /// isn't held was claimed by a turn whose COMMIT failed and landed all the same; it was never sent.
    ///
    /// # Errors
    /// When the database fails, or another daemon took the queue over.
    pub async fn recover(
        &mut self,
        run: &Run,
        now: Now,
        held: &[i64],
        policy: &Policy,
    ) -> Result<Recovered, QueueError> {
        let (mut passed_over, mut refused) = (held.to_vec(), Vec::new());
        loop {
            match self.recover_all_but(&passed_over, run, now, policy).await {
                Err(QueueError::RolledBack { refused: Some(write), .. }) if write.request.is_some() => {
                    passed_over.extend(write.request);
                    refused.push(*write);
                    self.reconnect().await?;
                }
                recovered => {
                    let mut recovered = recovered?;
                    recovered.refused.extend(refused);
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
        policy: &Policy,
    ) -> Result<Recovered, QueueError> {
        self.files().check()?;
        let failed = QueueError::of("recovering");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        run::check(&mut transaction, run).await?;
        let mut recovered = Recovered::default();
        for orphan in orphans(&mut transaction, held).await? {
            savepoint::begin(&mut transaction).await?;
            let settled = settle(&mut transaction, run, now, &orphan, policy).await;
            let ended = savepoint::end(&mut transaction, &settled).await;
            ended.map_err(|error| error.concerning(|sentence| orphan.refused(sentence)))?;
            match settled {
                Ok(Some(State::InDoubt)) => recovered.in_doubt += 1,
                Ok(Some(_)) => recovered.returned += 1,
                Ok(None) => {}
                Err(QueueError::Refused(sentence)) => recovered.refused.push(orphan.refused(sentence)),
                Err(error) => return Err(error),
            }
        }
        for half in half_written(&mut transaction, held).await? {
            savepoint::begin(&mut transaction).await?;
            let completed = half.complete(&mut transaction, now, policy).await;
            let ended = savepoint::end(&mut transaction, &completed).await;
            ended.map_err(|error| error.concerning(|sentence| half.refused(sentence)))?;
            match completed {
                Ok(()) => recovered.completed += 1,
                Err(QueueError::Refused(sentence)) => recovered.refused.push(half.refused(sentence)),
                Err(error) => return Err(error),
            }
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(recovered)
    }

    /// Checks that the database knows of as many requests as were made.
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

    /// Pauses a restored database, and lets its requests go on after this number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pause_restored(&mut self, why: &str, number: i64) -> Result<(), QueueError> {
        let failed = QueueError::of("pausing a restored database");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let statements = [
            sqlx::query("UPDATE control SET paused = 1, pause_reason = ?, probe_requested = 0").bind(why),
            sqlx::query("DELETE FROM sqlite_sequence WHERE name = 'requests'"),
            sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ('requests', ?)").bind(number),
        ];
        for statement in statements {
            statement.execute(&mut *transaction).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }
}

impl Orphan {
    fn refused(&self, sentence: String) -> RejectedWrite {
        RejectedWrite::of_outcome(self.number, self.submission, self.certificate_id.to_string(), sentence)
    }
}

async fn orphans(connection: &mut SqliteConnection, held: &[i64]) -> Result<Vec<Orphan>, QueueError> {
    // The plus makes SQLite look for the certificate, and not through all that is in flight.
    let unfinished: Vec<Orphan> = sqlx::query_as(
        "SELECT r.number, r.certificate_id, r.kind, r.run_id, r.run_ms, s.id AS submission, s.tries
           FROM requests r LEFT JOIN submissions s ON s.certificate_id = r.certificate_id AND +s.state = 'in_flight'
          WHERE r.finished_at IS NULL",
    )
    .fetch_all(connection)
    .await
    .map_err(QueueError::of("looking for unfinished requests"))?;
    Ok(unfinished.into_iter().filter(|orphan| !held.contains(&orphan.number)).collect())
}

/// Settles one. Where its submission is now, if that moved.
async fn settle(
    connection: &mut SqliteConnection,
    run: &Run,
    now: Now,
    orphan: &Orphan,
    policy: &Policy,
) -> Result<Option<State>, QueueError> {
    let ours = orphan.run_id == run.id;
    let outcome = match (orphan.kind.as_str(), ours) {
        ("commit", true) => CommitClass::NotSent.as_str(),
        ("commit", false) => CommitClass::InDoubt.as_str(),
        (_, true) => ReadClass::NotSent.as_str(),
        (_, false) => ReadClass::Retry.as_str(),
    };
    let finished = Finished::without_reply(now.unix, orphan.run_ms, outcome);
    let event = if ours { Event::Unsent("the claim was lost".to_owned()) } else { Event::Interrupted };
    let (Ok(certificate_id), true) = (orphan.certificate_id.parse(), orphan.kind == RequestKind::Commit.as_str())
    else {
        return complete(connection, orphan.number, &finished).await.map(|()| None);
    };
    let Some(submission) = orphan.submission else {
        return complete(connection, orphan.number, &finished).await.map(|()| None);
    };
    let row = Row { state: State::InFlight, tries: orphan.tries.unwrap_or_default(), evidence: Evidence::none() };
    // No backoff hangs on this decision, so no dice.
    let change = next_state(&row, &event, policy, 0.0);
    let to = change.as_ref().map(|change| change.to);
    let record = Record { request: orphan.number, submission, certificate_id, from: State::InFlight, finished, change };
    complete::write_at_once(connection, &[record], now.unix).await?;
    Ok(to)
}

async fn complete(connection: &mut SqliteConnection, request: i64, finished: &Finished) -> Result<(), QueueError> {
    sqlx::query("UPDATE requests SET finished_at = ?, outcome = ? WHERE number = ?")
        .bind(finished.at.0)
        .bind(finished.outcome)
        .bind(request)
        .execute(connection)
        .await
        .map_err(QueueError::of("completing a request"))?;
    Ok(())
}
