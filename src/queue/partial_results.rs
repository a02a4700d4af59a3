//! Partial results: submissions in flight whose newest commit is finished on record. Only one half of such a result was
//! written, and the other half follows from it.

use sqlx::sqlite::SqliteConnection;

use super::complete::Completion;
use super::error::QueueError;
use super::rejected_write::RejectedWrite;
use super::untrusted_text::UntrustedText;
use crate::cause::ApiError;
use crate::clock::Now;
use crate::submission::{Event, Evidence, Outcome, OutcomeClass, Policy, RequestKind, Row, State, next_state};

/// A submission in flight, with its newest commit.
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

/// All partial results except those of the `held` requests.
pub(super) async fn partial_results(
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
    .map_err(QueueError::of("looking for partial results"))?;
    Ok(all.into_iter().filter(|partial| !held.contains(&partial.request)).collect())
}

impl PartialResult {
    /// The completion that writes the missing half; or a rejection, if the recorded half is invalid.
    pub(super) fn completion(&self, now: Now, policy: &Policy) -> Result<Completion, RejectedWrite> {
        let label = self.certificate_id.to_string();
        let (Ok(certificate_id), Some(outcome)) = (self.certificate_id.parse(), self.outcome()) else {
            let sentence = "the recorded outcome of its newest commit is invalid".to_owned();
            return Err(RejectedWrite::of_outcome(self.request, Some(self.submission), label, sentence));
        };
        // The request is finished, and stays as it is.
        let completion = Completion::of_request(self.request, label, &outcome, now.unix);
        let row = Row { state: State::InFlight, tries: self.tries, is_probe: false, evidence: Evidence::none() };
        // With 0 for the random number, it is due as soon as possible.
        let change = next_state(&row, RequestKind::Commit, &Event::Ended(outcome), policy, 0.0);
        Ok(completion.with_change(self.submission, &certificate_id, row.state, change.as_ref(), now.unix))
    }

    /// The outcome of its commit, as far as it is recorded.
    fn outcome(&self) -> Option<Outcome> {
        let class = self.outcome.parse().ok()?;
        if class == OutcomeClass::Submitted {
            return Some(Outcome::submitted(self.order_id.clone()?, self.status?, self.request_id.clone()));
        }
        let error = self.error_code.clone().map(|code| ApiError::new(&code, "", None));
        let detail = error.is_none().then(|| "only the class of its outcome was recorded".to_owned());
        Some(Outcome { class, order_id: None, status: None, request_id: self.request_id.clone(), error, detail })
    }
}
