//! Tests of the queue through its interface. Each has its own database and run of the daemon, and sets the time.

mod admin;
mod batch;
mod claim;
mod clock_step;
mod complete;
mod early_readbacks;
mod errors;
mod following;
mod integrity;
mod lock_and_marker;
mod migrate;
mod open;
mod probe;
mod prune;
mod readback_before_retry;
mod recover;
mod repair;
mod schema_comparison;
mod session;
mod status_and_history;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::*;
use crate::cause::{ApiError, Cause, Incident, PauseCause, Probes};
use crate::clock::{Now, UnixMillis};
use crate::submission::{
    CertificateId, Event, Outcome, OutcomeClass, Policy, RequestKind, RetryPolicy, State, VerifyPolicy, next_state,
};

/// When the runs of these tests begin, in unix seconds: long ago, so that it can't be mistaken for the time of a real clock.
const BEGIN: i64 = 1_700_000_000;

const POLICY: Policy = Policy {
    retry: RetryPolicy { max_tries: 3, initial_backoff: Duration::from_secs(4), max_backoff: Duration::from_secs(300) },
    verify: VerifyPolicy { settle: Duration::from_secs(60), resend_after: Duration::from_secs(600) },
};

/// A queue with a run of the daemon on it.
struct Site {
    directory: tempfile::TempDir,
    queue: Queue,
    run: Run,
}

/// Runs statements on the database at this path through another connection; creates it if it doesn't exist.
async fn sql(path: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn id(text: &str) -> CertificateId {
    text.parse().unwrap()
}

/// A submission that has been due for a long time.
fn new(text: &str) -> NewSubmission {
    NewSubmission { certificate_id: id(text), verify_type: None, priority: 0, due_at: Some(1000), reference: None }
}

fn run(name: &str) -> Run {
    let started = Now { unix: UnixMillis(BEGIN * 1000), instant: crate::clock::now().instant };
    Run { id: name.to_owned(), started }
}

fn by_operator(reason: &str) -> Cause {
    PauseCause::ByOperator { reason: Some(reason.into()) }.into()
}

fn error() -> ApiError {
    ApiError::new("Some.Code", "words", Some("r-1"))
}

fn refused_with(class: OutcomeClass) -> Outcome {
    Outcome::refused(class, error())
}

fn receipt() -> Outcome {
    Outcome::submitted("SO1".into(), 8, Some("r-2".into()))
}

fn lost() -> Outcome {
    Outcome::unknown(RequestKind::Commit, "cut".into())
}

fn nothing_placed() -> Outcome {
    Outcome::shown(None, Some(13), Some("r-3".into()))
}

/// A batch that claims and has no results.
fn claiming(commits: usize, readbacks: usize) -> BatchRequest {
    let limits = ClaimLimits { commits, readbacks, ..ClaimLimits::default() };
    BatchRequest { limits, ..BatchRequest::new(POLICY) }
}

impl BatchReport {
    fn commits(&self) -> Vec<Claim> {
        self.of_kind(RequestKind::Commit)
    }

    fn readbacks(&self) -> Vec<Claim> {
        self.of_kind(RequestKind::Readback)
    }

    fn of_kind(&self, kind: RequestKind) -> Vec<Claim> {
        self.claims.iter().filter(|claim| claim.kind == kind).cloned().collect()
    }
}

impl Site {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = Queue::open(&directory.path().join("queue.db"), Opening::Create).await.unwrap();
        let run = run("this");
        queue.begin_run(&run).await.unwrap();
        Self { directory, queue, run }
    }

    /// With these submissions, in this order.
    async fn with(ids: &[&str]) -> Self {
        let mut site = Self::new().await;
        for text in ids {
            site.enqueue(new(text)).await;
        }
        site
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("queue.db")
    }

    /// The time this many seconds after the start of the run.
    fn at(&self, seconds: u64) -> Now {
        let since = Duration::from_secs(seconds);
        Now { unix: self.run.started.unix.plus(since), instant: self.run.started.instant + since }
    }

    /// Recovers, without knowing what departed.
    async fn recover(&mut self, seconds: u64, held: &[i64]) -> Recovered {
        let now = self.at(seconds);
        self.queue.recover(&self.run, now, held, &Departures::default(), &POLICY).await.unwrap()
    }

    /// The daemon dies, and another one starts.
    async fn restart(&mut self) {
        self.run = run("next");
        self.queue.begin_run(&self.run).await.unwrap();
    }

    async fn enqueue(&mut self, submission: NewSubmission) {
        let enqueued = self.queue.enqueue(&[submission]).await.unwrap();
        assert_eq!(enqueued.new, 1, "{enqueued:?}");
    }

    async fn sql(&mut self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&mut self.queue.connection).await.unwrap();
    }

    async fn number(&mut self, query: &'static str) -> Option<i64> {
        sqlx::query_scalar(query).fetch_one(&mut self.queue.connection).await.unwrap()
    }

    async fn text(&mut self, query: &'static str) -> Option<String> {
        sqlx::query_scalar(query).fetch_one(&mut self.queue.connection).await.unwrap()
    }

    async fn batch(&mut self, seconds: u64, request: &BatchRequest) -> Result<BatchReport, QueueError> {
        let now = self.at(seconds);
        self.queue.batch(&self.run, now, 0, request).await
    }

    async fn write_and_claim(
        &mut self,
        seconds: u64,
        results: &[Completed],
        commits: usize,
        readbacks: usize,
    ) -> BatchReport {
        let request = BatchRequest { results: results.to_vec(), ..claiming(commits, readbacks) };
        self.batch(seconds, &request).await.unwrap()
    }

    async fn complete(&mut self, seconds: u64, result: Completed) {
        let report = self.write_and_claim(seconds, &[result], 0, 0).await;
        assert_eq!(report.rejected_results, []);
    }

    /// Writes a result again, whose first batch reported an error but landed.
    async fn complete_again(&mut self, seconds: u64, result: &Completed) {
        let reconcile = Some(Vec::new());
        let request = BatchRequest { results: vec![result.clone()], reconcile, ..claiming(0, 0) };
        let report = self.batch(seconds, &request).await.unwrap();
        assert_eq!(report.rejected_results, []);
    }

    /// Claims commits at this time.
    async fn commits(&mut self, seconds: u64, limit: usize) -> Vec<Claim> {
        self.write_and_claim(seconds, &[], limit, 0).await.commits()
    }

    /// Claims readbacks at this time.
    async fn readbacks_at(&mut self, seconds: u64, limit: usize) -> Vec<Claim> {
        self.write_and_claim(seconds, &[], 0, limit).await.readbacks()
    }

    /// Commits the one submission that is due, with this outcome.
    async fn commit(&mut self, seconds: u64, outcome: Outcome) -> Claim {
        let [claim] = <[Claim; 1]>::try_from(self.commits(seconds, 1).await).unwrap();
        let result = self.ended(seconds, &claim, outcome);
        self.complete(seconds, result).await;
        claim
    }

    /// Reads back the one submission that is due for it, with this outcome.
    async fn read_back(&mut self, seconds: u64, outcome: Outcome) -> Claim {
        let [claim] = <[Claim; 1]>::try_from(self.readbacks_at(seconds, 1).await).unwrap();
        let result = self.ended(seconds, &claim, outcome);
        self.complete(seconds, result).await;
        claim
    }

    /// Reads back the one pending submission that needs it before its next try, with this outcome.
    async fn read_back_first(&mut self, seconds: u64, outcome: Outcome) -> Claim {
        let claims = self.write_and_claim(seconds, &[], 1, 1).await;
        assert_eq!(names(&claims.commits()), [""; 0]);
        let [claim] = <[Claim; 1]>::try_from(claims.readbacks()).unwrap();
        let result = self.ended(seconds, &claim, outcome);
        self.complete(seconds, result).await;
        claim
    }

    /// The request of a claim ended with this outcome.
    fn ended(&self, seconds: u64, claim: &Claim, outcome: Outcome) -> Completed {
        let event = Event::Ended(outcome.clone());
        let at = self.at(seconds);
        Completed {
            change: next_state(&claim.row, claim.kind, &event, &POLICY, 1.0),
            claim: claim.clone(),
            outcome,
            http_status: Some(200),
            sent: at,
            finished: at.unix,
            duration: Duration::from_millis(123),
        }
    }

    async fn line(&mut self, text: &str) -> SubmissionLine {
        self.queue.submission(&id(text)).await.unwrap().unwrap()
    }

    async fn state(&mut self, text: &str) -> String {
        self.line(text).await.state.to_string()
    }

    /// How each request for this certificate ended; none while it is in flight.
    async fn outcomes(&mut self, text: &str) -> Vec<Option<String>> {
        self.queue
            .history(&id(text))
            .await
            .unwrap()
            .into_iter()
            .map(|line| line.outcome.map(|outcome| outcome.to_string()))
            .collect()
    }
}

fn rejected_write(submission: i64, certificate_id: &str, request: Option<i64>, sentence: &str) -> RejectedWrite {
    let certificate_id = Some(certificate_id.to_owned());
    RejectedWrite {
        submission: Some(submission),
        certificate_id,
        request,
        is_malformed: false,
        sentence: sentence.to_owned(),
    }
}

fn names(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.certificate_id.as_str()).collect()
}
