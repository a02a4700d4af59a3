//! The power fails: whatever had reached the disk by then, no commit went out that the database doesn't know of.
//!
//! A daemon's writes, syncs and sends are recorded. From the recording come images of what the disk may have held at any
//! moment, and on each image a daemon starts.

mod image;
mod trace;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use certcommit::config::Settings;
use certcommit::daemon::{self, CredentialSource};
use certcommit::simulator::{Fault, Options};
use certcommit::tencent::Credentials;
use fastrand::Rng;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use crate::support::{Bench, ids, output, scale, seed, text, variable};
use image::{Disk, Survival, Syncs};
use trace::Event;

/// Submissions that the daemon is recorded with.
const ROWS: usize = 12;
/// Images that are looked at; at least one for each event.
const IMAGES: usize = 700;

const SURVIVALS: [Survival; 6] = [
    Survival::None,
    Survival::Some(0.5),
    Survival::All,
    Survival::Some(0.9),
    Survival::Some(0.1),
    Survival::Some(0.99),
];

/// What a daemon did, from a queue that was safe on the disk to its end.
struct Recording {
    before: Vec<(String, Vec<u8>)>,
    events: Vec<Event>,
    ids: Vec<String>,
}

/// Records a daemon that works off its queue, among a few lost replies.
async fn record_work(rows: usize) -> Recording {
    let mut bench = Bench::with(Options { rate_limit: None, ..Options::default() }, &[]).await;
    bench.set("pause.after", "1000");
    let ids = ids(rows);
    for id in ids.iter().step_by(7) {
        bench.simulator.script_commits(id, vec![Fault::CutAfter]);
    }
    for id in ids.iter().skip(3).step_by(7) {
        bench.simulator.script_commits(id, vec![Fault::CutBefore]);
    }
    bench.enqueue(&ids).await;
    assert!(!bench.path("queue.db-wal").exists(), "the queue is in one file when nobody has it open");
    let recording = record(&bench, ids).await;
    bench.assert_each_submitted_once(&recording.ids).await;
    recording
}

/// Records a daemon that makes its queue.
async fn record_first_start() -> Recording {
    let bench = Bench::new().await;
    for file in ["queue.db", "queue.db.lock"] {
        std::fs::remove_file(bench.path(file)).unwrap();
    }
    record(&bench, Vec::new()).await
}

async fn record(bench: &Bench, ids: Vec<String>) -> Recording {
    let before: Vec<(String, Vec<u8>)> =
        std::fs::read(bench.database()).map(|bytes| ("queue.db".to_owned(), bytes)).into_iter().collect();
    let file = bench.path("recording");
    let calls = format!("trace={}", trace::CALLS);
    let strace = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-e", &calls, "-o", &text(&file)];
    let ended = output(bench.command_under(&strace, &["run", "--until-empty"])).await;
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    let events = trace::read(&std::fs::read_to_string(file).unwrap(), bench.database().parent().unwrap(), &names);
    let sends = events.iter().filter(|event| matches!(event, Event::Send { .. })).count();
    assert_eq!(sends, bench.simulator.commits().len(), "each commit that arrived is in the recording");
    Recording { before, events, ids }
}

/// Lets the power fail at every moment of the recording, with at least so many images in all: how many there
/// were, and what was wrong with them.
fn fail_everywhere(recording: &Recording, syncs: Syncs, images: usize, random: &mut Rng) -> (usize, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let each = images.div_ceil(recording.events.len() + 1);
    let mut disk = Disk::new(syncs, recording.before.clone());
    let mut sent: HashMap<String, i64> = HashMap::new();
    let mut safe = 0;
    let mut wrong = Vec::new();
    for moment in 0..=recording.events.len() {
        for _ in 0..each {
            let survival = SURVIVALS[random.usize(..SURVIVALS.len())];
            let directory = scratch();
            disk.fail(survival, random, directory.path());
            let found = runtime.block_on(start_on(directory.path(), recording, &sent));
            match found {
                Ok(submitted) if submitted < safe => wrong
                    .push(format!("event {moment}, {survival:?}: {submitted} are submitted, and {safe} were, safely")),
                Ok(submitted) if survival == Survival::None => safe = submitted,
                Ok(_) => {}
                Err(error) => wrong.push(format!("event {moment}, {survival:?}: {error}")),
            }
        }
        if let Some(event) = recording.events.get(moment) {
            disk.follow(event);
            if let Event::Send { certificate_id } = event {
                *sent.entry(certificate_id.clone()).or_default() += 1;
            }
        }
    }
    (each * (recording.events.len() + 1), wrong)
}

/// A directory in memory, where there is such a thing: it is written hundreds of times.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Starts a daemon on an image, and looks at what it makes of it: how many are submitted.
async fn start_on(directory: &Path, recording: &Recording, sent: &HashMap<String, i64>) -> Result<i64, String> {
    let database = directory.join("queue.db");
    let empty = directory.join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    let variables =
        [(variable("database.path"), text(&database)), (variable("api.endpoint"), "http://127.0.0.1:9".to_owned())];
    let settings = Settings::load(Some(&empty), variables).unwrap();
    let source = CredentialSource::new(|| {
        Ok(Credentials { secret_id: "id".to_owned(), secret_key: "key".to_owned().into(), token: None })
    });
    drop(daemon::start(settings, source).await.map_err(|error| error.to_string())?);
    let options = SqliteConnectOptions::new().filename(&database);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(|error| error.to_string())?;
    let looked = look(&mut connection, recording, sent).await;
    connection.close().await.unwrap();
    looked
}

async fn look(
    connection: &mut SqliteConnection,
    recording: &Recording,
    sent: &HashMap<String, i64>,
) -> Result<i64, String> {
    let integrity: String = one(connection, "PRAGMA integrity_check(1)").await;
    if integrity != "ok" {
        return Err(format!("the database is corrupt: {integrity}"));
    }
    let paused: bool = one(connection, "SELECT paused FROM control").await;
    if paused {
        let why: String = one(connection, "SELECT pause_reason FROM control").await;
        return Err(format!("it starts paused: {why}"));
    }
    let rows: i64 = one(connection, "SELECT count(*) FROM submissions").await;
    if usize::try_from(rows) != Ok(recording.ids.len()) {
        return Err(format!("{rows} rows are left of {}", recording.ids.len()));
    }
    let known: Vec<(String, i64)> =
        sqlx::query_as("SELECT certificate_id, count(*) FROM requests WHERE kind = 'commit' GROUP BY certificate_id")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    let known: HashMap<String, i64> = known.into_iter().collect();
    for (id, commits) in sent {
        let on_record = known.get(id).copied().unwrap_or_default();
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
        None => Ok(one(connection, "SELECT count(*) FROM submissions WHERE state = 'submitted'").await),
    }
}

async fn one<T>(connection: &mut SqliteConnection, query: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

/// Lets the power fail with images in all threads, and holds that each is good.
fn assert_survives(recording: Recording, images: usize) {
    let (recording, seed) = (Arc::new(recording), seed());
    let threads = std::thread::available_parallelism().unwrap().get();
    let workers = (0..threads).zip(seed..).map(|(_, seed)| {
        let recording = Arc::clone(&recording);
        std::thread::spawn(move || {
            fail_everywhere(&recording, Syncs::Kept, images.div_ceil(threads), &mut Rng::with_seed(seed))
        })
    });
    let workers: Vec<_> = workers.collect();
    let (made, wrong): (Vec<usize>, Vec<Vec<String>>) =
        workers.into_iter().map(|worker| worker.join().unwrap()).unzip();
    let wrong = wrong.concat();
    println!("{} events, {} images, {} wrong", recording.events.len(), made.iter().sum::<usize>(), wrong.len());
    assert!(wrong.is_empty(), "{} images are wrong; the first: {}", wrong.len(), wrong[0]);
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn whatever_the_disk_holds_after_a_power_cut_no_commit_was_sent_that_it_does_not_know_of() {
    assert_survives(now(record_work(scale("ROWS", ROWS))), scale("IMAGES", IMAGES));
}

#[test]
fn a_first_start_that_the_power_cuts_short_can_be_made_again() {
    assert_survives(now(record_first_start()), scale("IMAGES", IMAGES) / 10);
}

#[test]
fn a_disk_that_lies_about_syncs_loses_commits_and_these_images_show_it() {
    let recording = now(record_work(4));
    let (_, wrong) = fail_everywhere(&recording, Syncs::Ignored, 1, &mut Rng::with_seed(0));
    assert!(wrong.iter().any(|wrong| wrong.contains("1 commits were sent, and 0 are on record")), "{wrong:?}");
}
