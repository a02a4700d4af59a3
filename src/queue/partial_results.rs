//! Submissions in flight whose newest commit has ended on record: a result of which only the one half was written. The
//! other half follows from it.

use sqlx::sqlite::SqliteConnection;

use super::complete::{self, Record};
use super::error::QueueError;
use super::rejected_write::RejectedWrite;
use super::request::Finished;
use super::untrusted_text::UntrustedText;
use crate::clock::Now;
use crate::submission::{
    CertificateId, CommitClass, CommitOutcome, Event, Evidence, Policy, Receipt, Refusal, Row, State, next_state,
};

/// One of them, with its newest commit.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct PartialResult {
    submission: i64,
    certificate_id: UntrustedText,
    tries: u32,
    request: i64,
    outcome: String,
    order_id: Option<String>,
    status: Option<i64>,
    request_id: Option<String>,
    error_code: Option<String>,
}

/// All of them but those of the `held` requests.
pub(super) async fn half_written(
    connection: &mut SqliteConnection,
    held: &[i64],
) -> Result<Vec<PartialResult>, QueueError> {
    let all: Vec<PartialResult> = sqlx::query_as(
        "SELECT s.id AS submission, s.certificate_id, s.tries, r.number AS request, r.outcome, r.order_id, r.status,
                r.request_id, r.error_code
           FROM submissions s
           JOIN requests r ON r.number = (SELECT max(c.number) FROM requests c
                                           WHERE c.certificate_id = s.certificate_id AND c.kind = 'commit')
          WHERE s.state = 'in_flight' AND r.finished_at IS NOT NULL",
    )
    .fetch_all(connection)
    .await
    .map_err(QueueError::of("looking for results that were written by half"))?;
    Ok(all.into_iter().filter(|half| !held.contains(&half.request)).collect())
}

impl PartialResult {
    /// Writes the other half.
    ///
    /// # Errors
    /// Also [`QueueError::Refused`], if a rule refuses it, or if what is on record can't be right.
    pub(super) async fn complete(
        &self,
        connection: &mut SqliteConnection,
        now: Now,
        policy: &Policy,
    ) -> Result<(), QueueError> {
        let (Ok(certificate_id), Some(outcome)) = (self.certificate_id.parse::<CertificateId>(), self.outcome()) else {
            return Err(QueueError::Refused("its newest commit ended in a way that can't be right".to_owned()));
        };
        let row = Row { state: State::InFlight, tries: self.tries, evidence: Evidence::none() };
        let finished = Finished::without_reply(now.unix, 0, outcome.class().as_str());
        // It is due as soon as may be: nobody waits with it.
        let change = next_state(&row, &Event::Commit(outcome), policy, 0.0);
        let (request, submission) = (self.request, self.submission);
        // Its request is finished, and stays as it is.
        let record = Record { request, submission, certificate_id, from: State::InFlight, finished, change };
        complete::write_at_once(connection, &[record], now.unix).await
    }

    pub(super) fn refused(&self, sentence: String) -> RejectedWrite {
        RejectedWrite::of_outcome(self.request, Some(self.submission), self.certificate_id.to_string(), sentence)
    }

    /// How its commit ended, as far as that is on record.
    fn outcome(&self) -> Option<CommitOutcome> {
        let refusal = || Refusal {
            code: self.error_code.clone().unwrap_or_default(),
            message: String::new(),
            request_id: self.request_id.clone(),
        };
        let outcome = match self.outcome.parse().ok()? {
            CommitClass::Submitted => CommitOutcome::Submitted(Receipt {
                order_id: self.order_id.clone()?,
                status: self.status?,
                request_id: self.request_id.clone(),
            }),
            CommitClass::Retry => CommitOutcome::Retry(refusal()),
            CommitClass::BackendError => CommitOutcome::BackendError(refusal()),
            CommitClass::Throttled => CommitOutcome::Throttled(refusal()),
            CommitClass::Account => CommitOutcome::Account(refusal()),
            CommitClass::Denied => CommitOutcome::Denied(refusal()),
            CommitClass::Failed => CommitOutcome::Failed(refusal()),
            CommitClass::StatusRefused => CommitOutcome::StatusRefused(refusal()),
            CommitClass::NotSent => CommitOutcome::NotSent("the request never left".to_owned()),
            CommitClass::InDoubt => CommitOutcome::InDoubt {
                why: "its outcome isn't known".to_owned(),
                refusal: self.error_code.is_some().then(refusal),
            },
        };
        Some(outcome)
    }
}
