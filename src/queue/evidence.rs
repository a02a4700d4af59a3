//! What the record of requests shows for a certificate.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::run::Run;
use crate::submission::{CertificateId, CommitClass, Evidence, ReadClass};

/// More requests for one certificate than this are not looked at, but for the newest commit; what lies before
/// counts as in doubt.
const MOST_REQUESTS: usize = 500;

/// One line of `requests`.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Line {
    kind: String,
    outcome: Option<String>,
    run_id: String,
    run_ms: i64,
}

enum Request {
    Commit { class: CommitClass, run_id: String, run_ms: i64 },
    Read(ReadClass),
}

/// Gathers the evidence for a certificate. `run_ms` is the present of the run.
pub(super) async fn evidence(
    connection: &mut SqliteConnection,
    certificate_id: &CertificateId,
    run: &Run,
    run_ms: i64,
) -> Result<Evidence, QueueError> {
    let mut lines: Vec<Line> = sqlx::query_as(
        // The index has each kind in the order of the numbers; so the two are merged, and nothing is sorted.
        "SELECT number, kind, outcome, run_id, run_ms FROM requests WHERE certificate_id = ?1 AND kind = 'commit'
         UNION ALL
         SELECT number, kind, outcome, run_id, run_ms FROM requests WHERE certificate_id = ?1 AND kind = 'read'
          ORDER BY number DESC LIMIT CAST(?2 AS INTEGER)",
    )
    .bind(certificate_id.as_str())
    .bind(i64::try_from(MOST_REQUESTS).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await
    .map_err(QueueError::of("reading the record of requests"))?;
    let complete = lines.len() < MOST_REQUESTS;
    if !complete && !lines.iter().any(Line::is_commit) {
        lines.extend(newest_commit(connection, certificate_id).await?);
    }
    let requests = lines.into_iter().rev().map(Request::from);
    Ok(weigh(requests, complete, run, run_ms))
}

/// The evidence for a certificate for which no request was ever made.
pub(super) fn none(run: &Run, run_ms: i64) -> Evidence {
    weigh([], true, run, run_ms)
}

async fn newest_commit(
    connection: &mut SqliteConnection,
    certificate_id: &CertificateId,
) -> Result<Option<Line>, QueueError> {
    sqlx::query_as(
        "SELECT kind, outcome, run_id, run_ms FROM requests WHERE certificate_id = ? AND kind = 'commit'
          ORDER BY number DESC LIMIT 1",
    )
    .bind(certificate_id.as_str())
    .fetch_optional(connection)
    .await
    .map_err(QueueError::of("reading the record of requests"))
}

impl Line {
    fn is_commit(&self) -> bool {
        self.kind == "commit"
    }
}

impl From<Line> for Request {
    /// An outcome that this version doesn't know, or none, proves nothing.
    fn from(line: Line) -> Self {
        let outcome = line.outcome.as_deref().unwrap_or_default();
        if line.is_commit() {
            let class = outcome.parse().unwrap_or(CommitClass::InDoubt);
            return Self::Commit { class, run_id: line.run_id, run_ms: line.run_ms };
        }
        Self::Read(outcome.parse().unwrap_or(ReadClass::Retry))
    }
}

/// Weighs the requests, oldest first.
fn weigh(requests: impl IntoIterator<Item = Request>, complete: bool, run: &Run, run_ms: i64) -> Evidence {
    let age = |signed_ms: i64| Duration::from_millis(u64::try_from(run_ms.saturating_sub(signed_ms)).unwrap_or(0));
    let before = Evidence { age: age(0), earlier_in_doubt: !complete, ..Evidence::none() };
    requests.into_iter().fold(before, |evidence, request| match request {
        // A commit of an earlier run was signed before this one began.
        Request::Commit { class, run_id, run_ms } => {
            evidence.with_commit(class, age(if run_id == run.id { run_ms } else { 0 }))
        }
        Request::Read(class) => evidence.with_read(class),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run { id: "this".into(), started: crate::clock::now() }
    }

    fn commit(class: CommitClass, run_id: &str, run_ms: i64) -> Request {
        Request::Commit { class, run_id: run_id.into(), run_ms }
    }

    const NEGATIVE: Request = Request::Read(ReadClass::NotCommitted);

    #[test]
    fn a_commit_of_this_run_ages_from_its_sending_and_an_earlier_one_from_the_start() {
        let age = |request: Option<Request>| weigh(request, true, &run(), 10_000).age;
        assert_eq!(age(Some(commit(CommitClass::InDoubt, "this", 4_000))), Duration::from_secs(6));
        assert_eq!(age(Some(commit(CommitClass::InDoubt, "before", 9_000))), Duration::from_secs(10));
        assert_eq!(age(None), Duration::from_secs(10));
    }

    #[test]
    fn only_reads_since_the_newest_commit_count() {
        let requests = [NEGATIVE, commit(CommitClass::InDoubt, "this", 0), Request::Read(ReadClass::Retry), NEGATIVE];
        let evidence = weigh(requests, true, &run(), 0);
        assert_eq!((evidence.negative_reads, evidence.reads), (1, 2));
        assert_eq!(evidence.last_commit, Some(CommitClass::InDoubt));
    }

    #[test]
    fn an_earlier_commit_in_doubt_counts_until_two_negative_reads_disproved_it() {
        let newest = || commit(CommitClass::StatusRefused, "this", 0);
        let doubt = || commit(CommitClass::InDoubt, "this", 0);
        let earlier = |requests: Vec<Request>| weigh(requests, true, &run(), 0).earlier_in_doubt;
        assert!(earlier(vec![doubt(), newest()]));
        assert!(earlier(vec![doubt(), NEGATIVE, newest()]));
        assert!(!earlier(vec![doubt(), NEGATIVE, NEGATIVE, newest()]));
        assert!(earlier(vec![doubt(), commit(CommitClass::Retry, "this", 0), NEGATIVE, NEGATIVE, newest()]));
        assert!(!earlier(vec![newest()]));
        assert!(weigh([newest()], false, &run(), 0).earlier_in_doubt);
    }

    #[test]
    fn a_backend_error_is_unread_until_a_read_shows_no_order() {
        let backend = || commit(CommitClass::BackendError, "this", 0);
        let unread = |requests: Vec<Request>| weigh(requests, true, &run(), 0).unread_backend_error;
        assert!(unread(vec![backend(), Request::Read(ReadClass::Retry)]));
        assert!(unread(vec![backend(), commit(CommitClass::NotSent, "this", 0)]));
        assert!(!unread(vec![backend(), NEGATIVE]));
        assert!(unread(vec![backend(), Request::Read(ReadClass::Denied)]));
        assert!(!unread(vec![commit(CommitClass::Retry, "this", 0)]));
    }
}
