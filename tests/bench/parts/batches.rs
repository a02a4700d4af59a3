//! Batches on a queue of 150,000 rows in a file system in memory: the time of the program and of SQLite, without the disk. In a
//! queue of this length, no row is claimed twice, so none has earlier requests to read.

use std::time::Duration;

use certcommit::cause::RowCause;
use certcommit::clock;
use certcommit::config::Settings;
use certcommit::queue::{BatchRequest, Claim, ClaimLimits, Completed, NewSubmission, Opening, Queue, Run};
use certcommit::submission::{Event, Policy, next_state};
use criterion::Criterion;
use tokio::runtime::Runtime;

const MEMORY: &str = "/dev/shm";
const ROWS: u32 = 150_000;

struct Bench {
    runtime: Runtime,
    queue: Queue,
    run: Run,
    policy: Policy,
}

/// The times of a batch that claims, and of one that writes the results.
struct RoundTimes {
    claiming: Duration,
    recording: Duration,
}

impl Bench {
    fn new(directory: &std::path::Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (run, policy) = (
            Run { id: "this".to_owned(), started: clock::now() },
            Settings::from_text("none".as_ref(), "", []).unwrap().policy(),
        );
        let queue = runtime.block_on(async {
            let mut queue = Queue::open(&directory.join("queue.db"), Opening::Create).await.unwrap();
            let rows: Vec<NewSubmission> = (0..ROWS).map(submission).collect();
            queue.enqueue(&rows).await.unwrap();
            queue.begin_run(&run).await.unwrap();
            queue
        });
        Self { runtime, queue, run, policy }
    }

    /// Claims this many rows, and returns them: they go to the end of the queue.
    fn round(&mut self, each: usize) -> RoundTimes {
        let Self { runtime, queue, run, policy } = self;
        runtime.block_on(async {
            let since = clock::now().instant;
            let claims = queue.batch(run, clock::now(), 0, &batch(Vec::new(), each, policy)).await.unwrap().claims;
            let claiming = clock::now().instant - since;
            assert_eq!(claims.len(), each, "enough rows are due");
            let results = claims.into_iter().map(|claim| unsent(claim, policy)).collect();
            let recording = batch(results, 0, policy);
            let since = clock::now().instant;
            queue.batch(run, clock::now(), 0, &recording).await.unwrap();
            RoundTimes { claiming, recording: clock::now().instant - since }
        })
    }
}

fn submission(number: u32) -> NewSubmission {
    // Scattered, as the service's own are.
    let certificate_id = format!("{:08x}", number.wrapping_mul(2_654_435_761)).parse().unwrap();
    NewSubmission { certificate_id, verify_type: None, priority: 3, due_at: None, reference: None }
}

fn batch(results: Vec<Completed>, commits: usize, policy: &Policy) -> BatchRequest {
    let limits = ClaimLimits { commits, ..ClaimLimits::default() };
    BatchRequest { results, limits, ..BatchRequest::new(*policy) }
}

fn unsent(claim: Claim, policy: &Policy) -> Completed {
    let (event, now) = (Event::Returned(RowCause::PausedUnsent), clock::now());
    let change = next_state(&claim.row, claim.kind, &event, policy, 0.0);
    let (outcome, finished, duration) = (event.outcome(claim.kind), now.unix, Duration::ZERO);
    Completed { claim, outcome, http_status: None, sent: now, finished, duration, change }
}

pub(super) fn claiming_and_recording(criterion: &mut Criterion) {
    for each in [1, 16] {
        let directory = tempfile::tempdir_in(MEMORY).unwrap();
        let mut bench = Bench::new(directory.path());
        criterion.bench_function(&format!("a batch that claims {each}"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| bench.round(each).claiming).sum());
        });
        criterion.bench_function(&format!("a batch that records {each}"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| bench.round(each).recording).sum());
        });
    }
}
