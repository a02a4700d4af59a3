//! SIGKILL at every point: nothing is lost, and nothing is committed twice unknowingly.
//!
//! The simulators run on separate threads, since waiting for a killed process must not delay arrivals.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;
use std::time::Duration;
use std::vec::IntoIter;

use certcommit::simulator::{Mixture, Options, worst_second};
use fastrand::Rng;
use serde_json::Value;
use sqlx::Connection as _;
use tokio::task::{JoinSet, LocalSet, spawn_local};

use crate::support::{Bench, Call, MARKER, Point, event_of, ids, seed, test_size};

const RUN: [&str; 2] = ["run", "--until-empty"];

/// System calls that every run makes, and those that send a commit and receive its reply.
const EVERY_RUN: [&str; 4] = ["openat", "flock", "pwrite64", "fsync"];
const ON_THE_WIRE: [&str; 3] = ["connect", "writev", "recvfrom"];

/// What the daemon is doing when it is killed.
#[derive(Debug, Clone)]
enum Work {
    /// Submitting this many rows.
    Rows(usize),
    /// Recovering this many rows, some of which a run killed at this point left in flight.
    LeftBehind(usize, Point),
    /// Creating the database; a row follows once it exists.
    NoDatabase,
}

impl Work {
    fn ids(&self) -> Vec<String> {
        match self {
            Self::Rows(rows) | Self::LeftBehind(rows, _) => ids(*rows),
            Self::NoDatabase => ids(1),
        }
    }

    /// The system calls that must be hit.
    fn calls(&self) -> Vec<&'static str> {
        let on_the_wire = match self {
            Self::Rows(_) | Self::LeftBehind(..) => &ON_THE_WIRE[..],
            Self::NoDatabase => &[],
        };
        [&EVERY_RUN[..], on_the_wire].concat()
    }

    async fn bench(&self) -> Bench {
        let bench = Bench::with(own_account(), &[("verify.resend_after", "800ms")]).await;
        match self {
            Self::Rows(_) => bench.enqueue(&self.ids()).await,
            Self::LeftBehind(_, point) => {
                bench.enqueue(&self.ids()).await;
                assert!(bench.killed_at(point, &RUN).await, "{point}: the previous run ended by itself");
            }
            Self::NoDatabase => std::fs::remove_file(bench.database()).unwrap(),
        }
        bench
    }

    /// Runs the daemon until all is done. Returns the log of the run that recovered.
    async fn finish(&self, bench: &Bench) -> Vec<Value> {
        let log = finished(bench).await;
        if matches!(self, Self::NoDatabase) {
            let mode = std::fs::metadata(bench.database()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o660, "the group enqueues");
            bench.enqueue(&self.ids()).await;
            finished(bench).await;
        }
        bench.assert_each_submitted_once(&self.ids()).await;
        bench.assert_nothing_resent_blindly().await;
        bench.assert_each_repeat_explained().await;
        log
    }

    /// How often a run with this work enters each system call.
    async fn call_counts(&self) -> BTreeMap<Call, usize> {
        let bench = self.bench().await;
        let mut call_counts = bench.call_counts(&RUN).await;
        if matches!(self, Self::NoDatabase) {
            // The marker of a database that doesn't exist yet has no name.
            call_counts.retain(|call, _| call.file.as_deref() != Some(MARKER));
        }
        self.finish(&bench).await;
        call_counts
    }
}

/// An account of its own. Ports are reused all the time: if a daemon of another bench finds this simulator at its port, it is
/// refused.
fn own_account() -> Options {
    Options { secret_id: format!("id-{:016x}", fastrand::u64(..)), ..Options::default() }
}

/// Runs the daemon to its end. Returns its log.
async fn finished(bench: &Bench) -> Vec<Value> {
    let (code, log) = bench.spawn(&RUN).end().await;
    assert_eq!(code, Some(0), "{log:#?}");
    log
}

/// How far the work was when the daemon was killed, as the next run found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// Nothing in flight, something to submit.
    Unsent,
    /// Something in flight.
    InFlight,
    /// Everything done.
    Done,
}

impl Found {
    fn of(log: &[Value]) -> Self {
        let begun = log.iter().position(|line| event_of(line) == "ready").expect("the daemon became ready");
        let (start, then) = log.split_at(begun);
        if start.iter().any(|line| event_of(line) == "in_doubt") {
            Self::InFlight
        } else if then.iter().any(|line| ["submitted", "verified"].contains(&event_of(line))) {
            Self::Unsent
        } else {
            Self::Done
        }
    }
}

/// A run that is killed at this point, and one that recovers. `None` if the first ended by itself.
async fn cycle(work: Work, point: Point) -> Option<Found> {
    let bench = work.bench().await;
    let killed = bench.killed_at(&point, &RUN).await;
    let log = work.finish(&bench).await;
    killed.then(|| Found::of(&log))
}

/// Kills a daemon at each of these points, several in parallel, since each mostly waits.
async fn sweep(work: &Work, points: Vec<Point>) -> Vec<(Point, Option<Found>)> {
    let left = Rc::new(RefCell::new(points.into_iter()));
    let lanes = (0..test_size("LANES", 6)).map(|_| lane(work.clone(), Rc::clone(&left)));
    LocalSet::new()
        .run_until(async {
            let mut tasks = JoinSet::new();
            lanes.for_each(|lane| drop(tasks.spawn_local(lane)));
            tasks.join_all().await.concat()
        })
        .await
}

async fn lane(work: Work, left: Rc<RefCell<IntoIter<Point>>>) -> Vec<(Point, Option<Found>)> {
    let mut done = Vec::new();
    loop {
        let next = left.borrow_mut().next();
        let Some(point) = next else { return done };
        if left.borrow().len().is_multiple_of(100) {
            println!("{} points left", left.borrow().len());
        }
        let found = spawn_local(cycle(work.clone(), point.clone())).await;
        let found = found.unwrap_or_else(|failed| panic!("{work:?}, killed at {point}: {failed}"));
        done.push((point, found));
    }
}

/// Every point of each system call.
fn points(call_counts: &BTreeMap<Call, usize>) -> Vec<Point> {
    let points_of = |(call, count): (&Call, &usize)| {
        (1..=*count).map({
            let call = call.clone();
            move |nth| Point { call: call.clone(), nth }
        })
    };
    call_counts.iter().flat_map(points_of).collect()
}

/// One point for each system call, and others up to this number. Counts vary a little between runs, so that one is in the first
/// half, which every run reaches.
fn sample(call_counts: &BTreeMap<Call, usize>, number: usize, rng: &mut Rng) -> Vec<Point> {
    let mut chosen: BTreeSet<Point> = call_counts
        .iter()
        .map(|(call, count)| Point { call: call.clone(), nth: rng.usize(1..=count.div_ceil(2)) })
        .collect();
    let mut others = points(call_counts);
    rng.shuffle(&mut others);
    for other in others {
        if chosen.len() < number {
            chosen.insert(other);
        }
    }
    chosen.into_iter().collect()
}

/// Kills at the points of this work, and asserts that most kills hit. Returns how far each found the work.
async fn kill_everywhere(work: &Work, bounded: usize) -> BTreeMap<Found, usize> {
    let mut rng = Rng::with_seed(seed());
    let call_counts = work.call_counts().await;
    let number: usize = call_counts.values().sum();
    let mut points = sample(&call_counts, test_size("POINTS", bounded), &mut rng);
    rng.shuffle(&mut points);
    let done = sweep(work, points).await;
    let mut kills: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found: BTreeMap<Found, usize> = BTreeMap::new();
    for (point, state) in &done {
        if let Some(state) = state {
            *kills.entry(&point.call.name).or_default() += 1;
            *found.entry(*state).or_default() += 1;
        }
    }
    let killed: usize = kills.values().sum();
    println!("{work:?}: {killed} kills at {} of {number} points; found {found:?}; by call {kills:?}", done.len());
    // Counts vary a little between runs.
    assert!(killed * 10 >= done.len() * 8, "{killed} kills at {} points", done.len());
    for call in work.calls() {
        assert!(kills.contains_key(call), "no kill at {call}: {kills:?}");
    }
    found
}

/// Asserts that kills hit before, during and after the work.
fn assert_all_found(found: &BTreeMap<Found, usize>) {
    for state in [Found::Unsent, Found::InFlight, Found::Done] {
        assert!(found.contains_key(&state), "no kill found the work {state:?}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_system_call_of_a_submission_the_row_is_submitted_once() {
    assert_all_found(&kill_everywhere(&Work::Rows(1), 36).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_system_call_of_a_batch_each_row_is_submitted_once() {
    assert_all_found(&kill_everywhere(&Work::Rows(8), 36).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_system_call_of_a_recovery_each_row_is_submitted_once() {
    let in_flight = Point { call: Call::named("writev"), nth: 1 };
    kill_everywhere(&Work::LeftBehind(2, in_flight), 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_system_call_of_the_first_start_the_next_completes_the_database() {
    kill_everywhere(&Work::NoDatabase, 30).await;
}

/// The result of many short runs on one queue.
#[derive(Debug, Default)]
struct Figures {
    runs: usize,
    rows: usize,
    orders: usize,
    commits: usize,
    /// Commits that arrived after the first one of their certificate.
    repeats: usize,
    /// Commits that were refused temporarily, and followed by another.
    retries: usize,
    /// Commits on record with an unknown outcome, followed by another after two negative reads.
    doubts: usize,
    /// The most arrivals in one second.
    worst_second: usize,
}

impl Figures {
    fn and(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            rows: self.rows + other.rows,
            orders: self.orders + other.orders,
            commits: self.commits + other.commits,
            repeats: self.repeats + other.repeats,
            retries: self.retries + other.retries,
            doubts: self.doubts + other.doubts,
            worst_second: self.worst_second.max(other.worst_second),
        }
    }
}

/// A bench whose API is slow, loses replies before and after the order, and is sometimes busy.
async fn unreliable(seed: u64) -> Bench {
    let latency = Duration::from_millis(80);
    let options = Options { latency, jitter: latency, rate_limit: None, seed, ..own_account() };
    let bench = Bench::with(options, &[("rate.guard", "150ms"), ("verify.resend_after", "1s")]).await;
    let mixture = Mixture { lost_before: 0.08, lost_after: 0.08, network_error: 0.08, ..Mixture::default() };
    bench.simulator.mixture(mixture);
    bench
}

/// One run on a growing queue, killed after a number of arrivals or after some time.
async fn killed_run(bench: &Bench, ids: &mut Vec<String>, rng: &mut Rng) {
    grow(bench, ids, rng.usize(1..8)).await;
    let seen = bench.simulator.arrivals().len();
    let daemon = bench.spawn(&["run"]);
    let arrivals = seen + rng.usize(1..=25);
    let enough = bench.simulator.until(|simulator| simulator.arrivals().len() >= arrivals);
    // The time of the kill is the fault itself.
    let time_limit = Duration::from_millis(rng.u64(0..=3_500));
    grow(bench, ids, rng.usize(1..8)).await;
    drop(tokio::time::timeout(time_limit, enough).await);
    daemon.kill();
}

/// Enqueues more rows.
async fn grow(bench: &Bench, ids: &mut Vec<String>, more: usize) {
    let fresh: Vec<String> = (1..=more).map(|number| format!("cert-{:05}", ids.len() + number)).collect();
    bench.enqueue(&fresh).await;
    ids.extend(fresh);
}

/// This many runs on one queue, each killed, and a last one that ends by itself.
async fn killed_runs(number: usize, seed: u64) -> Figures {
    let bench = unreliable(seed).await;
    let mut rng = Rng::with_seed(seed);
    let mut ids = Vec::new();
    for _ in 0..number {
        killed_run(&bench, &mut ids, &mut rng).await;
    }
    finished(&bench).await;
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    let repeats = bench.assert_each_repeat_explained().await;
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= 20, "seed {seed}: {worst} in one second");
    Figures {
        runs: number,
        rows: ids.len(),
        orders: bench.simulator.orders(),
        commits: bench.simulator.commits().len(),
        repeats,
        retries: followed(&bench, "retry").await,
        doubts: followed(&bench, "in_doubt").await,
        worst_second: worst,
    }
}

/// How many commits had this outcome and were followed by another.
async fn followed(bench: &Bench, outcome: &str) -> usize {
    let mut connection = bench.connect().await;
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM requests earlier WHERE kind = 'commit' AND outcome = ? AND EXISTS
            (SELECT 1 FROM requests later WHERE later.certificate_id = earlier.certificate_id
                AND later.kind = 'commit' AND later.number > earlier.number)",
    )
    .bind(outcome)
    .fetch_one(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_while_the_queue_grows_lose_nothing_and_repeat_nothing() {
    let seed = seed();
    let queues = test_size("QUEUES", 2);
    let each = test_size("CYCLES", 16_usize).div_ceil(queues);
    let mut rng = Rng::with_seed(seed);
    let local = LocalSet::new();
    let mut tasks = JoinSet::new();
    for _ in 0..queues {
        tasks.spawn_local_on(killed_runs(each, rng.u64(..)), &local);
    }
    let figures = local.run_until(tasks.join_all()).await.into_iter().fold(Figures::default(), Figures::and);
    println!("{figures:?}");
    assert_eq!((figures.orders, figures.runs), (figures.rows, each * queues));
    assert!(figures.doubts > 0 && figures.retries > 0, "no fault occurred: {figures:?}");
}
