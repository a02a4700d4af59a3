//! The database is locked, moved, restored, altered or damaged by others while the daemon works on it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use certcommit::clock;
use certcommit::daemon::Stop;
use certcommit::simulator::{Options, worst_second};
use certcommit::submission::State;

use crate::support::{Bench, Injection, event_of, ids, in_time, output, scale};

/// What `journal_size_limit` says.
const WAL_LIMIT: u64 = 4 * 1024 * 1024;
/// How often a test looks at a file's size.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A bench whose API takes its time, so that a fault hits requests on the way.
async fn bench() -> Bench {
    let options = Options { latency: Duration::from_millis(150), rate_limit: None, ..Options::default() };
    Bench::with(options, &[("rate.guard", "150ms")]).await
}

async fn assert_sent_once(bench: &Bench, ids: &[impl AsRef<str>]) {
    bench.assert_each_submitted_once(ids).await;
    bench.assert_nothing_blind().await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "nothing was sent again");
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= 20, "{worst} in one second");
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_is_waited_out_and_named() {
    let lasting = Duration::from_secs(scale("LOCKED_S", 6));
    let (bench, ids) = (bench().await, ids(60));
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let line = daemon.until_event("database_unavailable").await;
    assert!(line["message"].as_str().unwrap().contains("another process keeps the database locked"), "{line}");
    let answered = line["on_the_way"].as_u64().unwrap();
    for _ in 0..answered {
        daemon.until_event("submitted").await;
    }
    let sent = bench.simulator.commits().len();
    tokio::time::sleep(lasting).await;
    assert_eq!(bench.simulator.commits().len(), sent, "nothing more is sent for {lasting:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let line = daemon.until_event("resumed").await;
    assert!(line["results_written"].as_u64().unwrap() >= answered, "{line}");
    in_time("the other orders", bench.simulator.until_orders(60)).await;
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    let reminders = lines.iter().filter(|line| event_of(line) == "database_unavailable").count();
    assert!(reminders <= 1 + usize::try_from(lasting.as_secs() / 60).unwrap(), "{reminders} lines in {lasting:?}");
    assert_sent_once(&bench, &ids).await;
}

#[tokio::test]
async fn a_log_that_a_long_reader_made_grow_shrinks_again_by_itself() {
    let lasting = Duration::from_secs(scale("SNAPSHOT_S", 1));
    let (bench, ids) = (bench().await, ids(40));
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let mut reader = bench.connect().await;
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM submissions").execute(&mut reader).await.unwrap();
    bench.enqueue(&ids).await;
    later(&bench, 40_000).await;
    in_time("work beside the reader", bench.simulator.until_orders(40)).await;
    tokio::time::sleep(lasting).await;
    let grown = wal_size(&bench);
    assert!(grown > WAL_LIMIT, "the log has {grown} bytes");
    sqlx::raw_sql("ROLLBACK").execute(&mut reader).await.unwrap();
    // It takes a writer; the heartbeat is one.
    in_time("the log to shrink", async {
        while wal_size(&bench) > WAL_LIMIT {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await;
    println!("the log had {grown} bytes, and has {}", wal_size(&bench));
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    assert_sent_once(&bench, &ids).await;
}

fn wal_size(bench: &Bench) -> u64 {
    fs::metadata(bench.path("queue.db-wal")).unwrap().len()
}

/// Enqueues so many rows that are not due.
async fn later(bench: &Bench, rows: usize) {
    bench
        .sql(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO submissions (certificate_id, due_at) SELECT 'later-' || i, 9999999999 FROM n"
        ))
        .await;
}

#[tokio::test]
async fn files_that_are_moved_or_deleted_end_the_daemon_with_76_idle_or_busy() {
    for (suffix, busy) in [("", false), ("", true), ("-wal", false), ("-shm", true)] {
        let bench = bench().await;
        if busy {
            bench.enqueue(&ids(60)).await;
        }
        let mut daemon = bench.spawn(&["run"]);
        daemon.until_event("ready").await;
        if busy {
            in_time("some commits", bench.simulator.until_commits(6)).await;
        }
        let file = bench.path(&format!("queue.db{suffix}"));
        fs::rename(&file, bench.path("aside")).unwrap();
        let sent = bench.simulator.commits().len();
        let (code, lines) = daemon.end().await;
        assert_eq!(code, Some(76), "{suffix}: {lines:?}");
        let last = lines.iter().rfind(|line| event_of(line) == "stopped").expect("it says why it stopped");
        assert!(last["message"].as_str().unwrap().contains(file.to_str().unwrap()), "{last}");
        // One may have passed the check just before the file went.
        assert!(bench.simulator.commits().len() <= sent + 2, "{sent}, then {}", bench.simulator.commits().len());
    }
}

/// A backup, as it was made and as it is put back.
struct Backup {
    suffixes: &'static [&'static str],
}

const PLAIN: Backup = Backup { suffixes: &[""] };
const WITH_LOG: Backup = Backup { suffixes: &["", "-wal"] };

impl Backup {
    /// Puts it in place, as an operator would while no daemon runs.
    fn restore(&self, bench: &Bench) {
        for suffix in ["", "-wal", "-shm"] {
            let file = bench.path(&format!("queue.db{suffix}"));
            if file.exists() {
                fs::remove_file(file).unwrap();
            }
        }
        for suffix in self.suffixes {
            copy(bench, &format!("backup.db{suffix}"), &format!("queue.db{suffix}"));
        }
    }
}

fn copy(bench: &Bench, from: &str, to: &str) {
    fs::copy(bench.path(from), bench.path(to)).unwrap();
}

async fn back_up(bench: &Bench) {
    bench.sql(&format!("VACUUM INTO '{}'", bench.path("backup.db").display())).await;
}

/// Starts on a restored queue: it is paused, and goes on without a repeat once it is verified and resumed.
async fn verify_and_resume(bench: &Bench, ids: &[String]) {
    let sent = bench.simulator.commits().len();
    let mut daemon = bench.start().await;
    let why = daemon.until_paused().await;
    assert!(why.contains("certcommit verify --pending") && why.contains("certcommit resume"), "{why}");
    assert_eq!(bench.simulator.commits().len(), sent, "paused");
    for arguments in [&["verify", "--pending"][..], &["resume"]] {
        let code = output(bench.command(arguments)).await.status.code();
        assert!(code == Some(0) || arguments[0] == "verify", "{arguments:?}: {code:?}");
    }
    daemon.until_count(State::Submitted, i64::try_from(ids.len()).unwrap()).await;
    daemon.stop(Stop::Soon).await;
    // The record of what was sent after the backup is lost, so only the server can tell.
    bench.assert_each_submitted_once(ids).await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "nothing was sent again");
}

#[tokio::test]
async fn a_backup_that_was_made_while_requests_were_on_the_way_repeats_none_of_them() {
    let (bench, ids) = (bench().await, ids(50));
    bench.enqueue(&ids).await;
    let daemon = bench.start().await;
    in_time("some commits", bench.simulator.until_commits(4)).await;
    back_up(&bench).await;
    in_time("all orders", bench.simulator.until_orders(50)).await;
    daemon.stop(Stop::Soon).await;
    PLAIN.restore(&bench);
    assert!(bench.count("in_flight").await > 0, "the backup has rows in flight");
    verify_and_resume(&bench, &ids).await;
}

#[tokio::test]
async fn a_copy_of_the_files_of_a_killed_daemon_repeats_nothing() {
    let (bench, ids) = (bench().await, ids(20));
    bench.enqueue(&ids).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(6)).await;
    daemon.kill();
    for suffix in WITH_LOG.suffixes {
        copy(&bench, &format!("queue.db{suffix}"), &format!("backup.db{suffix}"));
    }
    bench.run_until_empty().await;
    WITH_LOG.restore(&bench);
    verify_and_resume(&bench, &ids).await;
}

#[tokio::test]
async fn a_backup_that_is_restored_where_there_is_no_mark_repeats_nothing() {
    let (bench, ids) = (bench().await, ids(10));
    bench.enqueue(&ids[..2]).await;
    bench.run_until_empty().await;
    bench.enqueue(&ids[2..]).await;
    back_up(&bench).await;
    bench.run_until_empty().await;
    PLAIN.restore(&bench);
    fs::remove_file(bench.path("queue.db.mark")).unwrap();
    verify_and_resume(&bench, &ids).await;
}

#[tokio::test]
async fn a_backup_that_is_restored_twice_starts_paused_twice() {
    for with_mark in [true, false] {
        let (bench, ids) = (bench().await, ids(6));
        bench.enqueue(&ids[..2]).await;
        bench.run_until_empty().await;
        bench.enqueue(&ids[2..]).await;
        back_up(&bench).await;
        bench.run_until_empty().await;
        PLAIN.restore(&bench);
        if !with_mark {
            fs::remove_file(bench.path("queue.db.mark")).unwrap();
        }
        let mut daemon = bench.start().await;
        daemon.until_paused().await;
        daemon.stop(Stop::Soon).await;
        PLAIN.restore(&bench);
        verify_and_resume(&bench, &ids).await;
    }
}

#[tokio::test]
async fn what_others_add_to_the_schema_changes_nothing() {
    let (bench, ids) = (bench().await, ids(30));
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    for (count, addition) in [
        (3, "ALTER TABLE requests ADD COLUMN note TEXT; ALTER TABLE submissions ADD COLUMN note TEXT"),
        (8, "CREATE TABLE notes (text); CREATE INDEX theirs ON submissions (note)"),
        (13, "CREATE TRIGGER audit AFTER UPDATE ON submissions BEGIN INSERT INTO notes VALUES (NEW.state); END"),
        (18, "BEGIN; ALTER TABLE submissions RENAME TO aside; ALTER TABLE aside RENAME TO submissions; COMMIT"),
    ] {
        in_time("some commits", bench.simulator.until_commits(count)).await;
        bench.sql(addition).await;
    }
    in_time("all orders", bench.simulator.until_orders(30)).await;
    for _ in 0..30 {
        daemon.until_event("submitted").await;
    }
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    assert!(lines.iter().all(|line| event_of(line) != "database_unavailable"), "{lines:?}");
    assert_sent_once(&bench, &ids).await;
}

/// What somebody does to the schema, how the daemon names it, and whether it is mended by making it again.
const DAMAGE: [(&str, &str, bool); 5] = [
    ("DROP TRIGGER submissions_moved", "trigger submissions_moved is missing", true),
    ("DROP INDEX requests_unfinished", "index requests_unfinished is missing", true),
    ("DROP VIEW submission_report", "view submission_report is missing", true),
    ("ALTER TABLE submissions RENAME TO aside", "table submissions is missing", false),
    ("ALTER TABLE requests RENAME TO aside", "table requests is missing", false),
];

#[tokio::test]
async fn a_rule_or_a_table_that_is_taken_away_stops_the_sending_and_the_daemon() {
    for (damage, flaw, mended) in DAMAGE {
        let (bench, ids) = (bench().await, ids(30));
        bench.enqueue(&ids).await;
        let mut daemon = bench.spawn(&["run"]);
        in_time("some commits", bench.simulator.until_commits(4)).await;
        bench.sql(damage).await;
        let line = daemon.until_event("database_unavailable").await;
        assert!(line["message"].as_str().unwrap().contains(flaw), "{line}");
        let (code, lines) = daemon.end().await;
        assert_eq!(code, Some(65), "{damage}: {lines:?}");
        let sent = bench.simulator.commits().len();
        assert!((4..30).contains(&sent), "{sent} were sent before");
        let again = output(bench.command(&["run", "--until-empty"])).await;
        let stderr = String::from_utf8(again.stderr).unwrap();
        assert!(again.status.code() == Some(65) && stderr.contains(flaw), "{stderr}");
        assert_eq!(bench.simulator.commits().len(), sent, "and nothing is sent by the next start");
        if mended {
            // Results that were on the way are written, without their rule.
            let unwritten: i64 = bench.value("SELECT count(*) FROM requests WHERE finished_at IS NULL").await;
            assert_eq!(unwritten, 0, "{damage}");
            let repaired = output(bench.command(&["check", "--repair"])).await;
            let stdout = String::from_utf8(repaired.stdout).unwrap();
            let made = flaw.replace("is missing", "is made again");
            assert!(repaired.status.success() && stdout.contains(&made), "{stdout}");
        } else {
            bench.sql(&damage.replace("RENAME TO aside", "").replace("TABLE ", "TABLE aside RENAME TO ")).await;
        }
        bench.run_until_empty().await;
        assert_sent_once(&bench, &ids).await;
    }
}

#[tokio::test]
async fn a_queue_is_empty_when_nothing_is_left_whatever_the_counts_say() {
    for (count, wrong) in [("0", true), ("-5", true), ("40", false)] {
        let (bench, ids) = (bench().await, ids(5));
        bench.enqueue(&ids).await;
        bench
            .sql(&format!(
                "BEGIN; CREATE TABLE kept AS SELECT sql FROM sqlite_master WHERE name = 'state_counts_rules';
                 DROP TRIGGER state_counts_rules; UPDATE state_counts SET count = {count} WHERE state = 'pending'; COMMIT"
            ))
            .await;
        let rule: String = bench.value("SELECT sql FROM kept").await;
        bench.sql(&format!("{rule}; DROP TABLE kept")).await;
        let seen = String::from_utf8(output(bench.command(&["status"])).await.stdout).unwrap();
        let damage = seen.contains("the counts in state_counts are wrong");
        assert!(seen.contains("5 pending") == wrong && damage == wrong, "{seen}");
        let checked = String::from_utf8(output(bench.command(&["check"])).await.stdout).unwrap();
        assert_eq!(checked.contains("state_counts are wrong"), wrong, "{checked}");
        bench.run_until_empty().await;
        assert_sent_once(&bench, &ids).await;
        let left: i64 = bench.value("SELECT count FROM state_counts WHERE state = 'pending'").await;
        assert_eq!(left, 0, "counted anew, at the latest when none is left");
    }
}

#[tokio::test]
async fn a_queue_that_was_emptied_starts_paused_and_is_told() {
    let (bench, ids) = (bench().await, ids(3));
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    let rules: String = bench.value("SELECT sql FROM sqlite_master WHERE name = 'requests_delete_rules'").await;
    bench
        .sql(&format!(
            "BEGIN; DROP TRIGGER requests_delete_rules; DELETE FROM requests; DELETE FROM submissions; {rules}; COMMIT"
        ))
        .await;
    let emptied = "this database was emptied: 3 requests were made, and none of them is on record";
    for arguments in [&["check"][..], &["check", "--integrity"], &["status", "--json"]] {
        let told = String::from_utf8(output(bench.command(arguments)).await.stdout).unwrap();
        assert!(told.contains(emptied), "{arguments:?}: {told}");
    }
    // Whoever finds the queue empty enqueues everything once more.
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    let why = daemon.until_paused().await;
    assert!(why.contains(emptied) && why.contains("certcommit verify --pending"), "{why}");
    daemon.stop(Stop::Soon).await;
    assert_eq!(bench.simulator.commits().len(), 3, "nothing was sent again");
}

#[tokio::test]
async fn a_database_that_is_corrupt_or_newer_at_the_start_ends_the_program_with_65_and_stays_untouched() {
    for (spoil, words) in [(true, "is corrupt"), (false, "was written by a newer certcommit")] {
        let bench = bench().await;
        bench.enqueue(&ids(3)).await;
        if spoil {
            overwrite(&bench.database(), 100..4096);
        } else {
            bench.sql("INSERT INTO _sqlx_migrations VALUES (99, 'later', 0, 1, x'00', 0)").await;
        }
        let before = fs::read(bench.database()).unwrap();
        let ended = output(bench.command(&["run"])).await;
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(65), "{stderr}");
        assert!(stderr.contains("queue.db") && stderr.contains(words), "{stderr}");
        assert_eq!(fs::read(bench.database()).unwrap(), before);
        assert_eq!(bench.simulator.arrivals().len(), 0);
    }
}

/// Overwrites bytes of a file in place, as a stray program or a dying disk would.
fn overwrite(path: &Path, bytes: std::ops::Range<u64>) {
    let length = usize::try_from(bytes.end - bytes.start).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&vec![0x5a; length], bytes.start).unwrap();
}

#[tokio::test]
async fn a_database_that_becomes_corrupt_stops_the_sending_until_it_is_whole() {
    let (bench, ids) = (bench().await, ids(30));
    later(&bench, 5_000).await;
    bench.enqueue(&ids).await;
    bench.sql("UPDATE control SET paused = 1").await;
    let mut daemon = bench.spawn(&["run"]);
    let mut operator = bench.connect().await;
    let paused = "SELECT mode = 'paused_by_operator' FROM daemon, control";
    in_time("the daemon to say that it is paused", async {
        while !sqlx::query_scalar::<_, bool>(paused).fetch_one(&mut operator).await.unwrap() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut operator).await.unwrap();
    let whole = fs::read(bench.database()).unwrap();
    overwrite(&bench.database(), 4096..u64::try_from(whole.len()).unwrap());
    // This connection has what it needs in its cache.
    sqlx::raw_sql("UPDATE control SET paused = 0").execute(&mut operator).await.unwrap();
    let line = daemon.until_event("database_unavailable").await;
    assert!(line["message"].as_str().unwrap().contains("can't be read correctly"), "{line}");
    assert_eq!(bench.simulator.commits().len(), 0, "nothing is sent");
    fs::OpenOptions::new().write(true).open(bench.database()).unwrap().write_all_at(&whole, 0).unwrap();
    daemon.until_event("resumed").await;
    assert!(output(bench.command(&["resume"])).await.status.success());
    in_time("all orders", bench.simulator.until_orders(30)).await;
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    assert_sent_once(&bench, &ids).await;
}

const WRITERS: usize = 3;
/// A slow disk takes this long to sync.
const SYNC: Duration = Duration::from_millis(60);

#[tokio::test]
async fn outside_writers_on_a_slow_disk_are_never_refused_beside_a_daemon_at_full_pace() {
    let each = scale("INSERTS", 300) / WRITERS;
    let bench = bench().await;
    bench.enqueue(&ids(20)).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let delay = format!("fsync,fdatasync:delay_exit={}", SYNC.as_micros());
    let slow = Injection::begin(&daemon, &delay, &[&bench.path("queue.db-wal")]).await;
    let mut ids = ids(20);
    ids.extend((0..WRITERS).flat_map(|writer| (0..each).map(move |number| outside_id(writer, number))));
    let (mut failed, mut longest) = (0, Duration::ZERO);
    let [first, second, third] = [0, 1, 2].map(|writer| write_outside(&bench, writer, each));
    let reports = tokio::join!(first, second, third);
    for (failures, wait) in [reports.0, reports.1, reports.2] {
        failed += failures;
        longest = longest.max(wait);
    }
    println!("{} transactions, {failed} failed, the longest wait for the lock took {longest:?}", each * WRITERS);
    assert_eq!(failed, 0);
    let patience = Duration::from_secs(60) + Duration::from_millis(100) * u32::try_from(ids.len()).unwrap();
    tokio::time::timeout(patience, bench.simulator.until_orders(ids.len())).await.expect("all orders in time");
    slow.end();
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    println!("{} troubles of the daemon", lines.iter().filter(|line| event_of(line) == "database_unavailable").count());
    assert_sent_once(&bench, &ids).await;
}

fn outside_id(writer: usize, number: usize) -> String {
    format!("out-{writer}-{number}")
}

/// Inserts one row after the other, each in a transaction that takes as long as a slow disk makes it; SQLite waits 5 s
/// for the lock. How many failed, and the longest wait.
async fn write_outside(bench: &Bench, writer: usize, rows: usize) -> (usize, Duration) {
    let mut connection = bench.connect().await;
    let (mut failed, mut longest) = (0, Duration::ZERO);
    for number in 0..rows {
        let since = clock::now().instant;
        let begun = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await;
        longest = longest.max(clock::now().instant.duration_since(since));
        if let Err(error) = begun {
            println!("writer {writer}: {error}");
            failed += 1;
            continue;
        }
        sqlx::query("INSERT INTO submissions (certificate_id) VALUES (?)")
            .bind(outside_id(writer, number))
            .execute(&mut connection)
            .await
            .unwrap();
        tokio::time::sleep(SYNC).await;
        sqlx::raw_sql("COMMIT").execute(&mut connection).await.unwrap();
        // A caller has other things to do, too.
        tokio::time::sleep(SYNC.mul_f64(4.0 * fastrand::f64())).await;
    }
    (failed, longest)
}
