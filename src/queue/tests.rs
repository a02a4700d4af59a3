//! The queue, through its own interface: a database in a directory of the test's own, a run of the daemon on it,
//! and times that the test decides.

mod admin;
mod claiming;
mod errors;
mod integrity;
mod lock_and_marker;
mod opening;
mod probing;
mod pruning;
mod reading_first;
mod recording;
mod recovering;
mod repairing;
mod schema_comparison;
mod status_and_history;
mod turning;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::*;
use crate::clock::{Now, UnixMillis};
use crate::submission::{
    CertificateId, CommitOutcome, Event, Policy, ReadOutcome, Reading, Receipt, Refusal, RetryPolicy, State,
    VerifyPolicy, next_state,
};

/// When the runs of these tests begin, in unix seconds: long ago, so that no other clock's time is taken for it.
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

/// Runs statements on a database of this path, which is made if it isn't there, as somebody else would.
async fn sql(path: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn id(text: &str) -> CertificateId {
    text.parse().unwrap()
}

/// A submission that has been due for long.
fn new(text: &str) -> NewSubmission {
    NewSubmission { certificate_id: id(text), verify_type: None, priority: 0, due_at: Some(1000), reference: None }
}

fn run(name: &str) -> Run {
    let started = Now { unix: UnixMillis(BEGIN * 1000), instant: crate::clock::now().instant };
    Run { id: name.to_owned(), started }
}

fn refusal() -> Refusal {
    Refusal { code: "Some.Code".into(), message: "words".into(), request_id: Some("r-1".into()) }
}

fn receipt() -> CommitOutcome {
    CommitOutcome::Submitted(Receipt { order_id: "SO1".into(), status: 8, request_id: Some("r-2".into()) })
}

fn lost() -> CommitOutcome {
    CommitOutcome::InDoubt { why: "cut".into(), refusal: None }
}

fn nothing_placed() -> ReadOutcome {
    ReadOutcome::Seen(Reading { order_id: None, status: Some(13), request_id: Some("r-3".into()) })
}

/// A turn that asks for claims, and brings nothing.
fn asking(now: Now, commits: usize, reads: usize) -> Turn<'static> {
    Turn { commits, reads, ..Turn::new(now, POLICY.verify) }
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

    /// So many seconds after the start of the run.
    fn at(&self, seconds: u64) -> Now {
        let since = Duration::from_secs(seconds);
        Now { unix: self.run.started.unix.plus(since), instant: self.run.started.instant + since }
    }

    /// The daemon dies, and another one begins.
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

    async fn turn(&mut self, seconds: u64, records: &[Record], commits: usize, reads: usize) -> TurnReport {
        let turn = Turn { records, ..asking(self.at(seconds), commits, reads) };
        self.queue.turn(&self.run, &turn).await.unwrap()
    }

    async fn record(&mut self, seconds: u64, record: Record) {
        let done = self.turn(seconds, &[record], 0, 0).await;
        assert_eq!(done.refused, []);
    }

    /// Writes once more what a turn wrote that was reported as failed, and had landed.
    async fn record_again(&mut self, seconds: u64, record: &Record) {
        let records = std::slice::from_ref(record);
        let turn = Turn { records, may_be_written: true, ..asking(self.at(seconds), 0, 0) };
        let done = self.queue.turn(&self.run, &turn).await.unwrap();
        assert_eq!(done.refused, []);
    }

    /// Claims commits at this time.
    async fn commits(&mut self, seconds: u64, most: usize) -> Vec<Claim> {
        self.turn(seconds, &[], most, 0).await.claims.commits
    }

    /// Claims reads at this time.
    async fn reads(&mut self, seconds: u64, most: usize) -> Vec<Claim> {
        self.turn(seconds, &[], 0, most).await.claims.reads
    }

    /// Commits the one submission that is due, with this outcome.
    async fn commit(&mut self, seconds: u64, outcome: CommitOutcome) -> Claim {
        let [claim] = <[Claim; 1]>::try_from(self.commits(seconds, 1).await).unwrap();
        let record = self.committed(seconds, &claim, outcome);
        self.record(seconds, record).await;
        claim
    }

    /// Reads the one submission that is due for it back, with this outcome.
    async fn read(&mut self, seconds: u64, outcome: ReadOutcome) -> Claim {
        let [claim] = <[Claim; 1]>::try_from(self.reads(seconds, 1).await).unwrap();
        let record = self.read_back(seconds, &claim, outcome);
        self.record(seconds, record).await;
        claim
    }

    /// Reads the one pending submission that has to be read before it is sent again, with this outcome.
    async fn read_first(&mut self, seconds: u64, outcome: ReadOutcome) -> Claim {
        let claims = self.turn(seconds, &[], 1, 1).await.claims;
        assert_eq!(names(&claims.commits), [""; 0]);
        let [claim] = <[Claim; 1]>::try_from(claims.reads).unwrap();
        let record = self.read_back(seconds, &claim, outcome);
        self.record(seconds, record).await;
        claim
    }

    fn committed(&self, seconds: u64, claim: &Claim, outcome: CommitOutcome) -> Record {
        let refusal = outcome.refusal().cloned();
        let finished = Finished {
            outcome: outcome.class().as_str(),
            error_code: refusal.map(|refusal| refusal.code),
            order_id: matches!(outcome, CommitOutcome::Submitted(_)).then(|| "SO1".to_owned()),
            ..self.finished(seconds)
        };
        Record::of(claim, finished, next_state(&claim.row, &Event::Commit(outcome), &POLICY, 1.0))
    }

    fn read_back(&self, seconds: u64, claim: &Claim, outcome: ReadOutcome) -> Record {
        let finished = Finished { outcome: outcome.class().as_str(), ..self.finished(seconds) };
        Record::of(claim, finished, next_state(&claim.row, &Event::Read(outcome), &POLICY, 1.0))
    }

    fn finished(&self, seconds: u64) -> Finished {
        let at = self.at(seconds);
        Finished {
            http_status: Some(200),
            request_id: Some("r-9".into()),
            duration: Duration::from_millis(123),
            ..Finished::without_reply(at.unix, self.run.millis_at(at), "")
        }
    }

    async fn line(&mut self, text: &str) -> SubmissionLine {
        self.queue.submission(&id(text)).await.unwrap().unwrap()
    }

    async fn state(&mut self, text: &str) -> String {
        self.line(text).await.state.to_string()
    }

    /// How each request for this certificate ended; none: on the way.
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

fn refused(submission: i64, certificate_id: &str, request: Option<i64>, sentence: &str) -> RejectedWrite {
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
