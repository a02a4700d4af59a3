//! The time of a batch that claims, and of one that writes the results. Finished rows are replaced by new ones, so the queue
//! keeps its length.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use certcommit::clock;
use certcommit::config::Settings;
use certcommit::queue::{BatchRequest, Claim, ClaimLimits, Completed, NewSubmission, Opening, Queue, Run};
use certcommit::submission::{Event, Outcome, Policy, next_state};

use super::super::report::percentile;

/// A shared machine is sometimes slow for many batches in a row, so the median of five series' 99th percentiles counts.
const SERIES: usize = 500;
const BATCHES: usize = 5 * SERIES;

/// The times of batches of one kind.
pub(super) struct Times {
    p50: Duration,
    pub(super) p99: Duration,
}

/// The times of both kinds of batches.
pub(super) struct BatchTimes {
    pub(super) claiming: Times,
    pub(super) recording: Times,
}

/// Claims this many rows per batch, on a copy of the database in this directory.
pub(super) async fn measure(database: &Path, directory: &Path, rows: i64, each: usize) -> BatchTimes {
    let directory = tempfile::tempdir_in(directory).unwrap();
    let copy = directory.path().join("queue.db");
    std::fs::copy(database, &copy).expect("there is room for a copy");
    // Otherwise the first sync would have to write all of it.
    File::open(&copy).unwrap().sync_all().unwrap();
    let policy = Settings::from_text(Path::new("none"), "", []).unwrap().policy();
    let mut queue = Queue::open(&copy, Opening::Existing).await.unwrap();
    let run = Run { id: "this".to_owned(), started: clock::now() };
    queue.begin_run(&run).await.unwrap();
    let (mut claiming, mut recording) = (Vec::new(), Vec::new());
    let mut newest = rows;
    for _ in 0..BATCHES {
        let since = clock::now().instant;
        let claims = queue.batch(&run, clock::now(), 0, &batch(Vec::new(), each, &policy)).await.unwrap().claims;
        claiming.push(clock::now().instant - since);
        assert_eq!(claims.len(), each, "enough rows are due");
        let results = claims.iter().map(|claim| submitted(claim, &policy)).collect();
        let request = batch(results, 0, &policy);
        let since = clock::now().instant;
        queue.batch(&run, clock::now(), 0, &request).await.unwrap();
        recording.push(clock::now().instant - since);
        let replacements: Vec<NewSubmission> =
            claims.iter().zip(newest..).map(|(_, number)| submission(number + 1)).collect();
        newest += i64::try_from(replacements.len()).unwrap();
        queue.enqueue(&replacements).await.unwrap();
    }
    queue.close().await.unwrap();
    BatchTimes { claiming: Times::of(&claiming), recording: Times::of(&recording) }
}

fn batch(results: Vec<Completed>, commits: usize, policy: &Policy) -> BatchRequest {
    let limits = ClaimLimits { commits, ..ClaimLimits::default() };
    BatchRequest { results, limits, ..BatchRequest::new(*policy) }
}

fn submitted(claim: &Claim, policy: &Policy) -> Completed {
    let request_id = Some("00000000-0000-4000-8000-000000000001".to_owned());
    let outcome = Outcome::submitted(format!("SO{}", claim.request), 8, request_id);
    let change = next_state(&claim.row, claim.kind, &Event::Ended(outcome.clone()), policy, 0.0);
    let (now, http_status, duration) = (clock::now(), Some(200), Duration::from_millis(50));
    Completed { claim: claim.clone(), outcome, http_status, sent: now, finished: now.unix, duration, change }
}

fn submission(number: i64) -> NewSubmission {
    // As in `filling::ID`.
    let certificate_id = format!("{:08x}", (number * 2_654_435_761) & 0xffff_ffff).parse().unwrap();
    let priority = u8::try_from(number % 4).unwrap();
    NewSubmission { certificate_id, verify_type: None, priority, due_at: None, reference: None }
}

impl Times {
    fn of(times: &[Duration]) -> Self {
        let at = |times: &[Duration], part| percentile(times, part).expect("there were batches");
        let p99s: Vec<Duration> = times.chunks(SERIES).map(|series| at(series, 0.99)).collect();
        Self { p50: at(times, 0.5), p99: at(&p99s, 0.5) }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(formatter, "{:.2} ms, p99 {:.2} ms", ms(self.p50), ms(self.p99))
    }
}
