//! What the record of requests shows for a certificate.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::run::Run;
use crate::submission::{CertificateId, CommitClass, Evidence, ReadClass};

/// More requests for one certificate than this are not looked at; what lies before counts as in doubt.
const MOST_REQUESTS: i64 = 500;
/// Negative reads that disprove a commit.
const DISPROVED_BY: u32 = 2;

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
    let lines: Vec<Line> = sqlx::query_as(
        "SELECT kind, outcome, run_id, run_ms FROM requests WHERE certificate_id = ? ORDER BY number DESC LIMIT ?",
    )
    .bind(certificate_id.as_str())
    .bind(MOST_REQUESTS)
    .fetch_all(connection)
    .await
    .map_err(QueueError::of("reading the record of requests"))?;
    let complete = lines.len() < usize::try_from(MOST_REQUESTS).unwrap_or(usize::MAX);
    let requests: Vec<Request> = lines.into_iter().map(Request::from).collect();
    Ok(weigh(&requests, complete, run, run_ms))
}

impl From<Line> for Request {
    /// An outcome that this version doesn't know, or none, proves nothing.
    fn from(line: Line) -> Self {
        let outcome = line.outcome.unwrap_or_default();
        match line.kind.as_str() {
            "commit" => Self::Commit {
                class: outcome.parse().unwrap_or(CommitClass::InDoubt),
                run_id: line.run_id,
                run_ms: line.run_ms,
            },
            _ => Self::Read(outcome.parse().unwrap_or(ReadClass::Retry)),
        }
    }
}

/// Weighs the requests, newest first.
fn weigh(requests: &[Request], complete: bool, run: &Run, run_ms: i64) -> Evidence {
    let newest = requests.iter().position(|request| matches!(request, Request::Commit { .. }));
    let (since, before) = requests.split_at(newest.unwrap_or(requests.len()));
    let reads: Vec<ReadClass> = since.iter().filter_map(Request::read).collect();
    let (last_commit, signed_ms) = match before.first() {
        // A commit of an earlier run was signed before this one began.
        Some(Request::Commit { class, run_id, run_ms }) => (Some(*class), if *run_id == run.id { *run_ms } else { 0 }),
        Some(Request::Read(_)) | None => (None, 0),
    };
    Evidence {
        last_commit,
        age: Duration::from_millis(u64::try_from(run_ms.saturating_sub(signed_ms)).unwrap_or(0)),
        negative_reads: count(&reads, |class| class == ReadClass::NotCommitted),
        reads: count(&reads, |_| true),
        read_denied: reads.contains(&ReadClass::Denied),
        earlier_in_doubt: !complete || any_in_doubt(before.get(1..).unwrap_or_default()),
    }
}

/// Whether one of these commits, newest first, is in doubt and was not disproved before the next one.
fn any_in_doubt(requests: &[Request]) -> bool {
    let mut negative_reads = 0;
    for request in requests {
        match request {
            Request::Read(ReadClass::NotCommitted) => negative_reads += 1,
            Request::Read(_) => {}
            Request::Commit { class: CommitClass::InDoubt, .. } if negative_reads < DISPROVED_BY => return true,
            Request::Commit { .. } => negative_reads = 0,
        }
    }
    false
}

fn count(reads: &[ReadClass], counts: impl Fn(ReadClass) -> bool) -> u32 {
    u32::try_from(reads.iter().filter(|class| counts(**class)).count()).unwrap_or(u32::MAX)
}

impl Request {
    fn read(&self) -> Option<ReadClass> {
        match self {
            Self::Read(class) => Some(*class),
            Self::Commit { .. } => None,
        }
    }
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
        let age = |requests: &[Request]| weigh(requests, true, &run(), 10_000).age;
        assert_eq!(age(&[commit(CommitClass::InDoubt, "this", 4_000)]), Duration::from_secs(6));
        assert_eq!(age(&[commit(CommitClass::InDoubt, "before", 9_000)]), Duration::from_secs(10));
        assert_eq!(age(&[]), Duration::from_secs(10));
    }

    #[test]
    fn only_reads_since_the_newest_commit_count() {
        let requests = [NEGATIVE, Request::Read(ReadClass::Retry), commit(CommitClass::InDoubt, "this", 0), NEGATIVE];
        let evidence = weigh(&requests, true, &run(), 0);
        assert_eq!((evidence.negative_reads, evidence.reads), (1, 2));
        assert_eq!(evidence.last_commit, Some(CommitClass::InDoubt));
    }

    #[test]
    fn an_earlier_commit_in_doubt_counts_until_two_negative_reads_disproved_it() {
        let newest = || commit(CommitClass::StatusRefused, "this", 0);
        let doubt = || commit(CommitClass::InDoubt, "this", 0);
        let earlier = |requests: &[Request]| weigh(requests, true, &run(), 0).earlier_in_doubt;
        assert!(earlier(&[newest(), doubt()]));
        assert!(earlier(&[newest(), NEGATIVE, doubt()]));
        assert!(!earlier(&[newest(), NEGATIVE, NEGATIVE, doubt()]));
        assert!(earlier(&[newest(), NEGATIVE, NEGATIVE, commit(CommitClass::Retry, "this", 0), doubt()]));
        assert!(!earlier(&[newest()]));
        assert!(weigh(&[newest()], false, &run(), 0).earlier_in_doubt);
    }
}
