//! What a turn takes that claims, and one that writes what became of it. As many rows as are done with are enqueued
//! again, so that the queue stays as long as it is.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use certcommit::clock;
use certcommit::config::Settings;
use certcommit::queue::{Claim, Finished, NewSubmission, Opening, Queue, Record, Run, Turn};
use certcommit::submission::{CommitOutcome, Event, Policy, Receipt, VerifyPolicy, next_state};

use super::super::report::percentile;

/// A machine that others share holds everything up now and then, for many turns on end: of five series, the middle one's
/// 99 % count.
const SERIES: usize = 500;
const TURNS: usize = 5 * SERIES;

/// How long the turns of one kind took.
pub(super) struct Times {
    p50: Duration,
    pub(super) p99: Duration,
}

/// How long turns took.
pub(super) struct Turns {
    pub(super) claiming: Times,
    pub(super) recording: Times,
}

/// Claims so many rows a turn, on a copy of the database in this directory.
pub(super) async fn measure(database: &Path, directory: &Path, rows: i64, each: usize) -> Turns {
    let directory = tempfile::tempdir_in(directory).unwrap();
    let copy = directory.path().join("queue.db");
    std::fs::copy(database, &copy).expect("there is room for a copy");
    // Else the first sync would have to write all of it.
    File::open(&copy).unwrap().sync_all().unwrap();
    let policy = Settings::from_text(Path::new("none"), "", []).unwrap().policy();
    let mut queue = Queue::open(&copy, Opening::Existing).await.unwrap();
    let run = Run { id: "this".to_owned(), started: clock::now() };
    queue.begin_run(&run).await.unwrap();
    let (mut claiming, mut recording) = (Vec::new(), Vec::new());
    let mut newest = rows;
    for _ in 0..TURNS {
        let since = clock::now().instant;
        let claims = queue.turn(&run, &turn(&[], each)).await.unwrap().claims.commits;
        claiming.push(clock::now().instant - since);
        assert_eq!(claims.len(), each, "so many are due");
        let records: Vec<Record> = claims.iter().map(|claim| submitted(claim, &policy)).collect();
        let since = clock::now().instant;
        queue.turn(&run, &turn(&records, 0)).await.unwrap();
        recording.push(clock::now().instant - since);
        let again: Vec<NewSubmission> = claims.iter().zip(newest..).map(|(_, number)| submission(number + 1)).collect();
        newest += i64::try_from(again.len()).unwrap();
        queue.enqueue(&again).await.unwrap();
    }
    queue.close().await.unwrap();
    Turns { claiming: Times::of(&claiming), recording: Times::of(&recording) }
}

const VERIFY: VerifyPolicy = VerifyPolicy { settle: Duration::from_secs(60), resend_after: Duration::from_secs(600) };

fn turn(records: &[Record], commits: usize) -> Turn<'_> {
    Turn { records, commits, ..Turn::new(clock::now(), VERIFY) }
}

fn submitted(claim: &Claim, policy: &Policy) -> Record {
    let order_id = format!("SO{}", claim.request);
    let finished = Finished {
        http_status: Some(200),
        request_id: Some("00000000-0000-4000-8000-000000000001".to_owned()),
        order_id: Some(order_id.clone()),
        status: Some(8),
        duration: Duration::from_millis(50),
        ..Finished::without_reply(clock::now().unix, 0, "submitted")
    };
    let receipt = Receipt { order_id, status: 8, request_id: finished.request_id.clone() };
    let change = next_state(&claim.row, &Event::Commit(CommitOutcome::Submitted(receipt)), policy, 0.0);
    Record::of(claim, finished, change)
}

fn submission(number: i64) -> NewSubmission {
    // As `filling::ID` has it.
    let certificate_id = format!("{:08x}", (number * 2_654_435_761) & 0xffff_ffff).parse().unwrap();
    let priority = u8::try_from(number % 4).unwrap();
    NewSubmission { certificate_id, verify_type: None, priority, due_at: None, reference: None }
}

impl Times {
    fn of(times: &[Duration]) -> Self {
        let at = |times: &[Duration], part| percentile(times, part).expect("there were turns");
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
