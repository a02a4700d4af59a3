//! The evidence for a certificate, from the record of its requests.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::run::Run;
use crate::clock::Now;
use crate::submission::{CertificateId, Evidence, OutcomeClass, RequestKind, VerifyPolicy, effects};

/// At most this many requests of a certificate are read, and its newest commit. Earlier ones count as in doubt.
const MAX_REQUESTS: usize = 500;

/// A request on record.
struct Request {
    kind: RequestKind,
    outcome: OutcomeClass,
    run_id: String,
    run_ms: i64,
}

/// A row of `requests`: its number, kind, outcome, `run_id` and `run_ms`.
type RequestRow = (i64, String, Option<String>, String, i64);

/// Gathers the evidence for a certificate.
pub(super) async fn evidence(
    connection: &mut SqliteConnection,
    certificate_id: &CertificateId,
    run: &Run,
    now: Now,
    verify: &VerifyPolicy,
) -> Result<Evidence, QueueError> {
    let mut rows: Vec<RequestRow> = sqlx::query_as(
        // The index has each kind in the order of the numbers, so the two are merged without sorting.
        "SELECT number, kind, outcome, run_id, run_ms FROM requests WHERE certificate_id = ?1 AND kind = 'commit'
         UNION ALL
         SELECT number, kind, outcome, run_id, run_ms FROM requests WHERE certificate_id = ?1 AND kind = 'read'
          ORDER BY number DESC LIMIT CAST(?2 AS INTEGER)",
    )
    .bind(certificate_id.as_str())
    .bind(i64::try_from(MAX_REQUESTS).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await
    .map_err(QueueError::of("reading the record of requests"))?;
    let complete = rows.len() < MAX_REQUESTS;
    if !complete && !rows.iter().any(|(_, kind, ..)| kind == RequestKind::Commit.as_str()) {
        rows.extend(newest_commit(connection, certificate_id).await?);
    }
    let requests = rows.into_iter().rev().map(Request::from);
    let evidence = weigh(requests, complete, (&run.id, run.millis_at(now)), verify);
    let placed = evidence.placed || is_order_on_record(connection, certificate_id).await?;
    Ok(Evidence { placed, ..evidence })
}

/// The evidence for a certificate for which no request was ever made.
pub(super) fn none(run: &Run, now: Now) -> Evidence {
    Evidence { age: since_start(run.millis_at(now)), ..Evidence::none() }
}

/// Whether an order is on record, of whatever age, or established by an operator.
async fn is_order_on_record(
    connection: &mut SqliteConnection,
    certificate_id: &CertificateId,
) -> Result<bool, QueueError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM resolutions WHERE certificate_id = ?1)
             OR EXISTS (SELECT 1 FROM requests WHERE certificate_id = ?1 AND kind = 'commit' AND outcome = 'submitted')
             OR EXISTS (SELECT 1 FROM requests WHERE certificate_id = ?1 AND kind = 'read' AND outcome = 'committed')",
    )
    .bind(certificate_id.as_str())
    .fetch_one(connection)
    .await
    .map_err(QueueError::of("reading the record of requests"))
}

async fn newest_commit(
    connection: &mut SqliteConnection,
    certificate_id: &CertificateId,
) -> Result<Option<RequestRow>, QueueError> {
    sqlx::query_as(
        "SELECT number, kind, outcome, run_id, run_ms FROM requests WHERE certificate_id = ? AND kind = 'commit'
          ORDER BY number DESC LIMIT 1",
    )
    .bind(certificate_id.as_str())
    .fetch_optional(connection)
    .await
    .map_err(QueueError::of("reading the record of requests"))
}

impl From<RequestRow> for Request {
    /// An outcome that is missing, or that this version doesn't know, proves nothing.
    fn from((_, kind, outcome, run_id, run_ms): RequestRow) -> Self {
        let kind = kind.parse().unwrap_or(RequestKind::Readback);
        let outcome = outcome.and_then(|outcome| outcome.parse().ok()).unwrap_or(OutcomeClass::unknown(kind));
        Self { kind, outcome, run_id, run_ms }
    }
}

/// A run, and milliseconds since its start.
type Moment<'a> = (&'a str, i64);

/// Weighs the requests, oldest first.
fn weigh(
    requests: impl IntoIterator<Item = Request>,
    complete: bool,
    present: Moment<'_>,
    verify: &VerifyPolicy,
) -> Evidence {
    let mut evidence = Evidence { age: since_start(present.1), earlier_in_doubt: !complete, ..Evidence::none() };
    let mut newest: Option<Request> = None;
    for request in requests {
        let class = request.outcome;
        match request.kind {
            RequestKind::Commit => {
                evidence = evidence.with_commit(class, elapsed(request.moment(), present));
                if effects(RequestKind::Commit, class).readbacks_to_disprove > 0 {
                    newest = Some(request);
                }
            }
            RequestKind::Readback => {
                let since = newest.as_ref().map(|commit| elapsed(commit.moment(), request.moment()));
                evidence = evidence.with_readback(class, since.unwrap_or(evidence.age), verify);
            }
        }
    }
    evidence
}

impl Request {
    fn moment(&self) -> Moment<'_> {
        (&self.run_id, self.run_ms)
    }
}

/// The time that passed between two moments; between moments of two runs, a lower bound: the time since the later run started.
fn elapsed((run_then, then): Moment<'_>, (run_now, now): Moment<'_>) -> Duration {
    since_start(if run_then == run_now { now.saturating_sub(then) } else { now })
}

fn since_start(run_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(run_ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFY: VerifyPolicy =
        VerifyPolicy { settle: Duration::from_secs(60), resend_after: Duration::from_secs(600) };

    fn commit(outcome: OutcomeClass, run_id: &str, run_ms: i64) -> Request {
        Request { kind: RequestKind::Commit, outcome, run_id: run_id.into(), run_ms }
    }

    fn read(outcome: OutcomeClass, run_id: &str, run_ms: i64) -> Request {
        Request { kind: RequestKind::Readback, outcome, run_id: run_id.into(), run_ms }
    }

    fn negative(run_id: &str, run_ms: i64) -> Request {
        read(OutcomeClass::NotCommitted, run_id, run_ms)
    }

    fn weighed(requests: Vec<Request>) -> Evidence {
        weigh(requests, true, ("this", 10_000), &VERIFY)
    }

    #[test]
    fn a_commit_of_this_run_ages_from_its_sending_and_an_earlier_one_from_the_start_of_this_run() {
        let age = |requests: Vec<Request>| weighed(requests).age;
        assert_eq!(age(vec![commit(OutcomeClass::InDoubt, "this", 4_000)]), Duration::from_secs(6));
        assert_eq!(age(vec![commit(OutcomeClass::InDoubt, "before", 9_000)]), Duration::from_secs(10));
        assert_eq!(age(vec![]), Duration::from_secs(10));
    }

    #[test]
    fn a_readback_counts_by_a_lower_bound_of_the_time_since_the_commit() {
        let counted = |commit_ms, read_run, read_ms| {
            let doubt = commit(OutcomeClass::InDoubt, "this", commit_ms);
            let evidence = weighed(vec![doubt, negative(read_run, read_ms)]);
            (evidence.negative_readbacks, evidence.late_readback)
        };
        assert_eq!(counted(0, "this", 59_999), (0, false));
        assert_eq!(counted(0, "this", 60_000), (1, false));
        assert_eq!(counted(1, "this", 600_000), (1, false));
        assert_eq!(counted(1, "this", 600_001), (1, true));
        assert_eq!(counted(900_000, "later", 59_999), (0, false), "from the start of the later run");
        assert_eq!(counted(900_000, "later", 600_000), (1, true));
    }

    #[test]
    fn only_readbacks_since_the_newest_commit_that_may_have_been_executed_count() {
        let requests = vec![
            negative("this", 0),
            commit(OutcomeClass::Retry, "this", 0),
            read(OutcomeClass::Retry, "this", 1),
            negative("this", 2),
            commit(OutcomeClass::Throttled, "this", 3),
        ];
        let evidence = weighed(requests);
        assert_eq!((evidence.negative_readbacks, evidence.readbacks), (1, 2));
        assert_eq!(evidence.last_commit, Some(OutcomeClass::Retry));
    }

    #[test]
    fn requests_beyond_the_limit_count_as_in_doubt() {
        assert!(weigh([], false, ("this", 0), &VERIFY).earlier_in_doubt);
        assert!(!weigh([], true, ("this", 0), &VERIFY).earlier_in_doubt);
    }
}
