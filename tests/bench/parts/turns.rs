//! Turns at a queue of 150,000 rows, in a file system in memory: what the program and SQLite take, without the disk. So
//! many that none comes up a second time, with a history to be read.

use std::time::Duration;

use certcommit::clock;
use certcommit::config::Settings;
use certcommit::queue::{Claim, Finished, NewSubmission, Opening, Queue, Record, Run, Turn};
use certcommit::submission::{Event, Policy, VerifyPolicy, next_state};
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

/// How long a turn took that claimed, and one that wrote what became of it.
struct Took {
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

    /// Claims so many rows, and gives them back: they go to the end of the queue.
    fn round(&mut self, each: usize) -> Took {
        let Self { runtime, queue, run, policy } = self;
        runtime.block_on(async {
            let since = clock::now().instant;
            let claims = queue.turn(run, &turn(&[], each)).await.unwrap().claims.commits;
            let claiming = clock::now().instant - since;
            assert_eq!(claims.len(), each, "so many are due");
            let records: Vec<Record> = claims.iter().map(|claim| unsent(claim, policy)).collect();
            let since = clock::now().instant;
            queue.turn(run, &turn(&records, 0)).await.unwrap();
            Took { claiming, recording: clock::now().instant - since }
        })
    }
}

fn submission(number: u32) -> NewSubmission {
    // Scattered, as the service's own are.
    let certificate_id = format!("{:08x}", number.wrapping_mul(2_654_435_761)).parse().unwrap();
    NewSubmission { certificate_id, verify_type: None, priority: 3, due_at: None, reference: None }
}

fn turn(records: &[Record], commits: usize) -> Turn<'_> {
    Turn { records, commits, ..Turn::new(clock::now(), VERIFY) }
}

const VERIFY: VerifyPolicy = VerifyPolicy { settle: Duration::from_secs(60), resend_after: Duration::from_secs(600) };

fn unsent(claim: &Claim, policy: &Policy) -> Record {
    let finished = Finished::without_reply(clock::now().unix, 0, "not_sent");
    let change = next_state(&claim.row, &Event::Unsent("measured".to_owned()), policy, 0.0);
    Record::of(claim, finished, change)
}

pub(super) fn claiming_and_recording(criterion: &mut Criterion) {
    for each in [1, 16] {
        let directory = tempfile::tempdir_in(MEMORY).unwrap();
        let mut bench = Bench::new(directory.path());
        criterion.bench_function(&format!("a turn that claims {each}"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| bench.round(each).claiming).sum());
        });
        criterion.bench_function(&format!("a turn that records {each}"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| bench.round(each).recording).sum());
        });
    }
}
