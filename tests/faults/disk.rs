//! The disk is full, read-only or broken. Sending stops; results are kept in memory and written later.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use certcommit::simulator::{Options, worst_second};
use serde_json::Value;

use crate::support::{Bench, Injection, Process, SmallDisk, event_of, ids, in_time, output};

const ROWS: usize = 40;

/// A bench with a slow API, so that a fault hits requests in flight.
async fn bench() -> Bench {
    let options = Options { latency: Duration::from_millis(300), rate_limit: None, ..Options::default() };
    let bench = Bench::with(options, &[("rate.guard", "150ms")]).await;
    bench.enqueue(&ids(ROWS)).await;
    bench
}

/// Waits for the report that the database is unavailable, and for the replies to requests in flight. Asserts that nothing was
/// sent since. Returns how many results are in hand.
async fn until_idle_without_the_database(bench: &Bench, daemon: &mut Process) -> u64 {
    let line = daemon.until_event("database_unavailable").await;
    let number = |field: &str| line[field].as_u64().unwrap_or_else(|| panic!("{field} in {line}"));
    for _ in 0..number("on_the_way") {
        daemon.until_event("submitted").await;
    }
    let answered = daemon.seen().iter().filter(|line| event_of(line) == "submitted").count();
    assert!(answered < ROWS, "the fault hit midway");
    assert_eq!(bench.simulator.commits().len(), answered, "nothing more is sent");
    number("results_in_hand") + number("on_the_way")
}

/// Waits until the work has continued to its end, and asserts that no result in hand was lost.
async fn finish(bench: &Bench, mut daemon: Process, in_hand: u64) -> Vec<Value> {
    let line = daemon.until_event("resumed").await;
    assert_eq!(line["results_written"].as_u64(), Some(in_hand), "{line}");
    in_time("the other orders", bench.simulator.until_orders(ROWS)).await;
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0), "{lines:#?}");
    lines
}

async fn assert_all_well(bench: &Bench) {
    bench.assert_each_submitted_once(&ids(ROWS)).await;
    bench.assert_nothing_resent_blindly().await;
    assert_eq!(bench.simulator.commits().len(), ROWS, "no result was lost, so nothing was sent again");
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= 20, "{worst} in one second");
}

/// Makes system calls on files of the queue fail midway, and work again later.
async fn assert_survives(fault: &str, names: &[&str]) -> Vec<Value> {
    let bench = bench().await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let files: Vec<_> = names.iter().map(|name| bench.path(name)).collect();
    let mut fault = Injection::begin(&daemon, fault, &files.iter().map(AsRef::as_ref).collect::<Vec<&Path>>()).await;
    // An outside write, so that the database must be read again.
    bench.sql("INSERT INTO submissions (certificate_id, due_at) VALUES ('later', 9999999999)").await;
    let in_hand = until_idle_without_the_database(&bench, &mut daemon).await;
    // The daemon keeps trying.
    let sent = bench.simulator.commits().len();
    fault.until_hits(4).await;
    assert_eq!(bench.simulator.commits().len(), sent, "still nothing is sent");
    fault.end();
    let lines = finish(&bench, daemon, in_hand).await;
    assert_all_well(&bench).await;
    let reports = lines.iter().filter(|line| event_of(line) == "database_unavailable").count();
    assert_eq!(reports, 1, "one fault, one line");
    let give_backs: i64 =
        bench.value("SELECT count(DISTINCT finished_at) FROM requests WHERE outcome = 'not_sent'").await;
    assert!(give_backs <= 1, "rows were claimed and given back {give_backs} times");
    lines
}

#[tokio::test]
async fn a_disk_without_space_is_not_reported_as_working_before_it_does() {
    let bench = Bench::new().await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let mut fault = Injection::begin(&daemon, "pwrite64:error=ENOSPC", &[&bench.path("queue.db-wal")]).await;
    // No result is in hand, so only the claim has to be written.
    bench.enqueue(&["abcb1234"]).await;
    daemon.until_event("database_unavailable").await;
    fault.until_hits(4).await;
    fault.end();
    in_time("the order", bench.simulator.until_orders(1)).await;
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    let events: Vec<&str> = lines.iter().map(event_of).filter(|event| !event.is_empty()).collect();
    assert_eq!(
        events,
        ["started", "ready", "database_unavailable", "resumed", "submitted", "stopping", "stopped"],
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_disk_that_fails_to_sync_stops_sending_until_it_works() {
    assert_survives("fsync,fdatasync:error=EIO", &["queue.db-wal"]).await;
}

#[tokio::test]
async fn a_disk_that_fails_to_write_stops_sending_until_it_works() {
    assert_survives("pwrite64:error=EIO", &["queue.db-wal", "queue.db"]).await;
}

#[tokio::test]
async fn a_disk_without_space_stops_sending_until_there_is_some() {
    let lines = assert_survives("pwrite64:error=ENOSPC", &["queue.db-wal"]).await;
    let line = lines.iter().find(|line| event_of(line) == "database_unavailable").unwrap();
    assert!(line["message"].as_str().unwrap().contains("full"), "{line}");
}

#[tokio::test]
async fn a_disk_that_turns_read_only_stops_sending_until_it_is_writable() {
    assert_survives("pwrite64,ftruncate,openat:error=EROFS", &["queue.db-wal", "queue.db"]).await;
}

#[tokio::test]
async fn a_disk_that_fails_to_read_stops_sending_until_it_works() {
    assert_survives("pread64:error=EIO", &["queue.db-wal", "queue.db"]).await;
}

#[tokio::test]
async fn a_restore_marker_that_cannot_be_written_stops_sending_without_repeated_claims() {
    let lines = assert_survives("pwrite64:error=EIO", &["queue.db.mark"]).await;
    let line = lines.iter().find(|line| event_of(line) == "database_unavailable").unwrap();
    assert!(line["message"].as_str().unwrap().contains("queue.db.mark"), "{line}");
}

#[tokio::test]
async fn without_its_departure_marker_no_commit_is_sent_and_the_daemon_ends_with_74() {
    let bench = bench().await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let mut fault = Injection::begin(&daemon, "pwrite64:error=ENOSPC", &[&bench.departure_marker()]).await;
    fault.until_hits(1).await;
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(74), "{lines:#?}");
    let sent = bench.simulator.commits().len();
    let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(sent < ROWS, "the fault hit midway");
    assert!(!lines.iter().any(|line| event_of(line) == "in_doubt"), "what wasn't sent was returned: {lines:#?}");
    assert_all_well(&bench).await;
}

#[tokio::test]
async fn a_full_disk_stops_sending_until_space_is_freed() {
    let bench = bench().await;
    let disk = SmallDisk::with_queue(&bench, "1m");
    let mut daemon = disk.spawn(&bench);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    disk.fill();
    let in_hand = until_idle_without_the_database(&bench, &mut daemon).await;
    disk.free();
    finish(&bench, daemon, in_hand).await;
    disk.copy_back(&bench);
    assert_all_well(&bench).await;
}

#[tokio::test]
async fn a_full_disk_at_the_start_ends_the_program_with_a_clear_message() {
    for with_queue in [true, false] {
        let bench = bench().await;
        let disk = if with_queue { SmallDisk::with_queue(&bench, "1m") } else { SmallDisk::new(&bench, "1m") };
        disk.fill();
        let (code, last_line) = exit_code_and_last_line(disk.command(&bench, &["run"])).await;
        assert_eq!(code, Some(74), "{last_line}");
        assert!(last_line.contains("queue.db") && last_line.contains("No space left"), "{last_line}");
        assert_eq!(bench.simulator.arrivals().len(), 0);
        disk.free();
        if with_queue {
            let daemon = disk.spawn(&bench);
            in_time("all orders", bench.simulator.until_orders(ROWS)).await;
            daemon.signal("TERM");
            assert_eq!(daemon.end().await.0, Some(0), "it needs only space");
        }
    }
}

#[tokio::test]
async fn a_read_only_disk_at_the_start_ends_the_program_with_a_clear_message() {
    let bench = bench().await;
    let disk = SmallDisk::with_queue(&bench, "1m");
    disk.make_read_only();
    let (code, last_line) = exit_code_and_last_line(disk.command(&bench, &["run"])).await;
    assert_eq!(code, Some(73), "{last_line}");
    assert!(last_line.contains("queue.db") && last_line.contains("Read-only file system"), "{last_line}");
    assert_eq!(bench.simulator.arrivals().len(), 0);
    for arguments in
        [&["status"][..], &["status", "--json"], &["check"], &["history", "cert-0001"], &["enqueue", "more"]]
    {
        let (code, last_line) = exit_code_and_last_line(disk.command(&bench, arguments)).await;
        let names_filesystem = last_line.contains("queue.db is on a filesystem that is read-only, as after");
        assert!(code == Some(74) && names_filesystem, "{arguments:?}: {code:?}: {last_line}");
    }
}

#[tokio::test]
async fn a_filesystem_that_an_error_made_read_only_is_named_although_its_mount_does_not_say_so() {
    let bench = bench().await;
    let directory = bench.path("queue.db").parent().unwrap().to_string_lossy().into_owned();
    let refused = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", &directory, "-e", "inject=openat:error=EROFS"];
    let (code, last_line) = exit_code_and_last_line(bench.command_under(&refused, &["check"])).await;
    assert!(
        code == Some(74) && last_line.contains("queue.db is on a filesystem that is read-only, as after"),
        "{last_line}"
    );
    let shown = output(bench.command_under(&refused, &["status"])).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("is on a filesystem that is") && shown.contains("dmesg shows failed disks"), "{shown}");
}

/// A command's exit code and the last line of its standard error.
async fn exit_code_and_last_line(command: Command) -> (Option<i32>, String) {
    let output = output(command).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr.lines().last().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_transaction_that_failed_but_was_written_is_settled_by_the_next_run() {
    let bench = bench().await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let fault = Injection::begin(&daemon, "fsync,fdatasync:error=EIO", &[&bench.path("queue.db-wal")]).await;
    daemon.until_event("database_unavailable").await;
    let (visible, sent) = (written(&bench).await, bench.simulator.commits().len());
    daemon.kill();
    drop(fault);
    let landed = written(&bench).await;
    assert!(
        landed > visible,
        "{visible} became {landed}: the failed COMMIT is in the write-ahead log that the next connection reads"
    );
    let (code, _) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(0));
    assert!(sent < ROWS);
    assert_all_well(&bench).await;
}

/// How much of the record of requests is written: the number of rows plus the number of outcomes.
async fn written(bench: &Bench) -> i64 {
    bench.value("SELECT count(*) + count(finished_at) FROM requests").await
}

#[tokio::test]
async fn a_failed_checkpoint_loses_nothing_and_is_repeated_later() {
    let bench = bench().await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let mut fault = Injection::begin(&daemon, "pwrite64,fsync,fdatasync:error=EIO", &[&bench.database()]).await;
    // Enough for the daemon to checkpoint.
    bench
        .sql(
            "PRAGMA wal_autocheckpoint = 0;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
         INSERT INTO submissions (certificate_id, due_at) SELECT 'later-' || i, 9999999999 FROM n",
        )
        .await;
    fault.until_hits(2).await;
    in_time("more commits", bench.simulator.until_commits(ROWS - 5)).await;
    fault.end();
    in_time("the other orders", bench.simulator.until_orders(ROWS)).await;
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    assert!(!bench.path("queue.db-wal").exists(), "all of it is in the database");
    assert_all_well(&bench).await;
}
