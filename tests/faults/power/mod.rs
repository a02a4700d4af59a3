//! Power cuts: whatever reached the disk, every commit that was sent is on record.
//!
//! A daemon's writes, syncs and sends are recorded. The recording yields images of what the disk may hold at any moment, and a
//! daemon starts on each image.

mod image;
mod states;
mod trace;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use certcommit::config::Settings;
use certcommit::daemon::{self, CredentialSource, Stop};
use certcommit::queue::{RestoreMarker, RuntimeDirectories};
use certcommit::simulator::{Fault, Options};
use certcommit::tencent::Credentials;
use fastrand::Rng;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use crate::support::{Bench, ids, output, seed, test_size, text, variable};
use image::{Disk, Survival, Syncs};
use states::States;
use trace::Event;

/// Submissions in the recording.
const ROWS: usize = 12;
/// Images to check; at least one for each event.
const IMAGES: usize = 700;
const INDEX_BYTES: usize = 32_768;

const SURVIVALS: [Survival; 6] = [
    Survival::None,
    Survival::Some(0.5),
    Survival::All,
    Survival::Some(0.9),
    Survival::Some(0.1),
    Survival::Some(0.99),
];

/// What programs did, starting from a synced queue or from none.
struct Recording {
    before: Vec<(String, Vec<u8>)>,
    /// Rows that were enqueued before the recording.
    enqueued: usize,
    events: Vec<Event>,
    ids: Vec<String>,
}

/// What had irrevocably happened before the power cut.
struct Known {
    /// How many commits were sent, by certificate.
    sent: HashMap<String, i64>,
    /// How many rows had been reported as enqueued.
    enqueued: usize,
}

/// Records a daemon that processes its queue, with a few lost replies.
async fn record_work(rows: usize) -> Recording {
    let ids = ids(rows);
    let bench = unreliable(&ids).await;
    bench.enqueue(&ids).await;
    assert!(!bench.path("queue.db-wal").exists(), "the queue is in one file when no process has it open");
    let recording = record(&bench, &[], ids).await;
    bench.assert_each_submitted_once(&recording.ids).await;
    recording
}

/// Records commands that enqueue with and without a daemon, a daemon that creates the database, one that is killed, and one
/// that recovers.
async fn record_commands(rows: usize) -> Recording {
    const SCRIPT: &str = r#"
        certcommit() { "$0" "$@"; }
        enqueue() { certcommit "$@" enqueue --file "$HOME-$list"; }
        run() { certcommit "$@" run --until-empty; }
        set -eu
        run "$@"
        list=first enqueue "$@"
        timeout -s KILL 2 "$0" "$@" run || [ $? = 137 ]
        run "$@" & list=second enqueue "$@"
        wait $!
        run "$@"
    "#;
    let ids = ids(rows);
    let bench = unreliable(&ids).await;
    remove_database(&bench);
    let (first, second) = ids.split_at(rows.div_ceil(2));
    for (list, ids) in [("first", first), ("second", second)] {
        std::fs::write(bench.path(&format!("home-{list}")), ids.join("\n")).unwrap();
    }
    let recording = record(&bench, &["sh", "-c", SCRIPT], ids).await;
    let reported = |event: &Event| if let Event::Reported { rows } = event { *rows } else { 0 };
    assert_eq!(
        recording.events.iter().map(reported).sum::<usize>(),
        rows,
        "each report of enqueued rows is in the recording"
    );
    bench.assert_each_submitted_once(&recording.ids).await;
    recording
}

/// A bench whose API loses some replies.
async fn unreliable(ids: &[String]) -> Bench {
    let mut bench = Bench::with(Options { rate_limit: None, ..Options::default() }, &[]).await;
    bench.set("pause.after", "1000");
    for id in ids.iter().step_by(7) {
        bench.simulator.script_commits(id, vec![Fault::CutAfter]);
    }
    for id in ids.iter().skip(3).step_by(7) {
        bench.simulator.script_commits(id, vec![Fault::CutBefore]);
    }
    bench
}

fn remove_database(bench: &Bench) {
    for file in ["queue.db", "queue.db.lock"] {
        std::fs::remove_file(bench.path(file)).unwrap();
    }
}

/// Records a daemon that creates its queue.
async fn record_first_start() -> Recording {
    let bench = Bench::new().await;
    remove_database(&bench);
    record(&bench, &[], Vec::new()).await
}

/// Records a daemon until its queue is empty, or a shell with the program and its options as arguments.
async fn record(bench: &Bench, shell: &[&str], ids: Vec<String>) -> Recording {
    let before: Vec<(String, Vec<u8>)> =
        std::fs::read(bench.database()).map(|bytes| ("queue.db".to_owned(), bytes)).into_iter().collect();
    let file = bench.path("recording");
    let calls = format!("trace={}", trace::CALLS);
    let strace = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-e", &calls, "-o", &text(&file)];
    let arguments = if shell.is_empty() { &["run", "--until-empty"][..] } else { &[] };
    let ended = output(bench.command_under(&[&strace[..], shell].concat(), arguments)).await;
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    let events = trace::read(&std::fs::read_to_string(file).unwrap(), bench.database().parent().unwrap(), &names);
    let sends = events.iter().filter(|event| matches!(event, Event::Send { .. })).count();
    let arrived = bench.simulator.commits().len();
    assert!(sends >= arrived, "each commit that arrived is in the recording: {sends} of {arrived}");
    let enqueued = if before.is_empty() { 0 } else { ids.len() };
    Recording { before, enqueued, events, ids }
}

/// The moments of a recording that one thread checks: every nth.
struct Moments {
    first: usize,
    step: usize,
}

/// Cuts the power at each of these moments, with this many images. Returns what was wrong.
fn cut_power_at(
    moments: &Moments,
    recording: &Recording,
    syncs: Syncs,
    images: usize,
    random: &mut Rng,
) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut disk = Disk::new(syncs, recording.before.clone());
    let mut known = Known { sent: HashMap::new(), enqueued: recording.enqueued };
    let mut durable = 0;
    let mut wrong = Vec::new();
    for moment in 0..=recording.events.len() {
        let is_ours = moment % moments.step == moments.first;
        for _ in 0..if is_ours { images } else { 0 } {
            let survival = SURVIVALS[random.usize(..SURVIVALS.len())];
            let directory = scratch();
            disk.cut_power(survival, random, directory.path());
            if random.bool() {
                // The index of the write-ahead log is mapped, not written, so it may hold anything.
                let garbage: Vec<u8> = (0..INDEX_BYTES).map(|_| random.u8(..)).collect();
                std::fs::write(directory.path().join("queue.db-shm"), garbage).unwrap();
            }
            let found = runtime.block_on(start_on(directory.path(), recording, &known));
            match found {
                Ok(submitted) if submitted < durable => wrong.push(format!(
                    "event {moment}, {survival:?}: {submitted} are submitted, but {durable} were durably"
                )),
                Ok(submitted) if survival == Survival::None => durable = submitted,
                Ok(_) => {}
                Err(error) => wrong.push(format!("event {moment}, {survival:?}: {error}")),
            }
        }
        if let Some(event) = recording.events.get(moment) {
            disk.apply(event);
            if let Event::Send { certificate_id } = event {
                *known.sent.entry(certificate_id.clone()).or_default() += 1;
            }
            if let Event::Reported { rows } = event {
                known.enqueued += rows;
            }
        }
    }
    wrong
}

/// Cuts the power once at each of these moments, and checks that no transaction is half there.
fn find_partial_states(
    moments: &Moments,
    recording: &Recording,
    states: &States,
    syncs: Syncs,
    random: &mut Rng,
) -> Vec<String> {
    let mut disk = Disk::new(syncs, recording.before.clone());
    let mut wrong = Vec::new();
    for moment in 0..=recording.events.len() {
        if moment % moments.step == moments.first {
            let survival = SURVIVALS[random.usize(..SURVIVALS.len())];
            match states::after_power_cut(&disk, survival, random) {
                Ok(state) if states.allow(state, moment) => {}
                Ok(_) => {
                    wrong.push(format!("event {moment}, {survival:?}: neither the last durable state nor the next"))
                }
                Err(error) => wrong.push(format!("event {moment}, {survival:?}: {error}")),
            }
        }
        if let Some(event) = recording.events.get(moment) {
            disk.apply(event);
        }
    }
    wrong
}

/// A directory in memory if possible, since it is written hundreds of times.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Starts a daemon on an image, and checks the result. Returns how many are submitted.
async fn start_on(directory: &Path, recording: &Recording, known: &Known) -> Result<i64, String> {
    let database = directory.join("queue.db");
    let empty = directory.join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    let variables =
        [(variable("database.path"), text(&database)), (variable("api.endpoint"), "http://127.0.0.1:9".to_owned())];
    let settings = Settings::load(Some(&empty), variables).unwrap();
    let source = CredentialSource::of(Credentials {
        secret_id: "id".to_owned(),
        secret_key: "key".to_owned().into(),
        token: None,
    });
    drop(daemon::start(settings, source, &RuntimeDirectories::default()).await.map_err(|error| error.to_string())?);
    let options = SqliteConnectOptions::new().filename(&database);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(|error| error.to_string())?;
    let checked = check(&mut connection, recording, known).await;
    connection.close().await.unwrap();
    checked
}

/// Checks the database of a daemon that started on an image. Returns how many rows are submitted.
async fn check(connection: &mut SqliteConnection, recording: &Recording, known: &Known) -> Result<i64, String> {
    let integrity: String = query_one(connection, "PRAGMA integrity_check(1)").await;
    if integrity != "ok" {
        return Err(format!("the database is corrupt: {integrity}"));
    }
    let paused: bool = query_one(connection, "SELECT paused FROM control").await;
    if paused {
        let why: String = query_one(connection, "SELECT pause_reason FROM control").await;
        return Err(format!("it starts paused: {why}"));
    }
    let rows: i64 = query_one(connection, "SELECT count(*) FROM submissions").await;
    if !usize::try_from(rows).is_ok_and(|rows| (known.enqueued..=recording.ids.len()).contains(&rows)) {
        return Err(format!("{rows} rows are left of {}", known.enqueued));
    }
    let recorded: Vec<(String, i64)> =
        sqlx::query_as("SELECT certificate_id, count(*) FROM requests WHERE kind = 'commit' GROUP BY certificate_id")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    let recorded: HashMap<String, i64> = recorded.into_iter().collect();
    for (id, commits) in &known.sent {
        let on_record = recorded.get(id).copied().unwrap_or_default();
        if *commits > on_record {
            return Err(format!("{id}: {commits} commits were sent, and {on_record} are on record"));
        }
    }
    let blind: Option<String> = sqlx::query_scalar(
        "SELECT s.certificate_id FROM submissions s JOIN requests c ON c.number =
                (SELECT max(number) FROM requests WHERE certificate_id = s.certificate_id AND kind = 'commit')
          WHERE s.state IN ('pending', 'in_flight') AND coalesce(c.outcome, 'in_doubt') = 'in_doubt'
            AND 2 > (SELECT count(*) FROM requests r WHERE r.certificate_id = s.certificate_id
                        AND r.outcome = 'not_committed' AND r.number > c.number)",
    )
    .fetch_optional(&mut *connection)
    .await
    .unwrap();
    match blind {
        Some(id) => Err(format!("{id} would be sent again without having been read back")),
        None => Ok(query_one(connection, "SELECT count(*) FROM submissions WHERE state = 'submitted'").await),
    }
}

async fn query_one<T>(connection: &mut SqliteConnection, query: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

/// Cuts the power at every moment of the recording, with at least this many images, in parallel, and asserts that each is right.
fn assert_survives(recording: Recording, images: usize) {
    let (states, recording, seed) = (Arc::new(States::of(&recording)), Arc::new(recording), seed());
    let moments = recording.events.len() + 1;
    let each = images.div_ceil(moments);
    let step = std::thread::available_parallelism().unwrap().get();
    let workers = (0..step).zip(seed..).map(|(first, seed)| {
        let (recording, states) = (Arc::clone(&recording), Arc::clone(&states));
        std::thread::spawn(move || {
            let (moments, mut random) = (Moments { first, step }, Rng::with_seed(seed));
            let mut wrong = cut_power_at(&moments, &recording, Syncs::Kept, each, &mut random);
            wrong.extend(find_partial_states(&moments, &recording, &states, Syncs::Kept, &mut random));
            wrong
        })
    });
    let workers: Vec<_> = workers.collect();
    let wrong: Vec<String> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    println!("{} events, {} images, {} wrong", recording.events.len(), each * moments, wrong.len());
    assert!(wrong.is_empty(), "{} images are wrong; the first: {}", wrong.len(), wrong[0]);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn after_a_power_cut_every_commit_that_was_sent_is_on_record() {
    assert_survives(block_on(record_work(test_size("ROWS", ROWS))), test_size("IMAGES", IMAGES));
}

#[test]
fn a_power_cut_loses_no_row_that_was_reported_as_enqueued() {
    assert_survives(block_on(record_commands(test_size("ROWS", ROWS / 2))), test_size("IMAGES", IMAGES / 2));
}

#[test]
fn a_first_start_interrupted_by_a_power_cut_can_be_repeated() {
    assert_survives(block_on(record_first_start()), test_size("IMAGES", IMAGES) / 10);
}

#[test]
fn a_disk_that_lies_about_syncs_loses_commits_and_the_images_show_it() {
    let recording = block_on(record_work(4));
    let all = Moments { first: 0, step: 1 };
    let wrong = cut_power_at(&all, &recording, Syncs::Ignored, 1, &mut Rng::with_seed(0));
    assert!(wrong.iter().any(|wrong| wrong.contains("1 commits were sent, and 0 are on record")), "{wrong:?}");
    let states = States::of(&recording);
    let wrong = find_partial_states(&all, &recording, &states, Syncs::Ignored, &mut Rng::with_seed(0));
    assert!(wrong.iter().any(|wrong| wrong.contains("neither the last durable state")), "{wrong:?}");
}

#[tokio::test]
async fn a_restore_marker_that_lags_behind_its_database_is_updated_by_the_next_start() {
    let bench = Bench::new().await;
    bench.enqueue(&ids(2)).await;
    bench.run_until_empty().await;
    let marker = || RestoreMarker::open(&bench.database()).unwrap().number();
    assert_eq!(marker(), Some(2));
    std::fs::write(bench.path("queue.db.mark"), format!("{:020}\n", 1)).unwrap();
    bench.start().await.stop(Stop::Soon).await;
    assert_eq!(marker(), Some(2));
    assert_eq!(bench.value::<i64>("SELECT paused FROM control").await, 0);
}
