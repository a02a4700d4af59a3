//! `certcommit backup` alongside a running daemon, and restoring by the steps in `docs/OPERATIONS.md`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use certcommit::daemon::Stop;
use certcommit::simulator::Options;
use certcommit::submission::State;
use serde_json::Value;

use crate::support::{Bench, Process, SmallDisk, ids, in_time, output, text};

/// A bench with a slow API, so that a backup finds requests in flight.
async fn bench() -> Bench {
    let options = Options { latency: Duration::from_millis(150), rate_limit: None, ..Options::default() };
    Bench::with(options, &[("rate.guard", "150ms")]).await
}

/// Runs a command that must succeed. Returns its output.
async fn stdout_of(bench: &Bench, arguments: &[&str]) -> String {
    let done = output(bench.command(arguments)).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Runs shell commands in the queue's directory, as an operator would.
fn shell(bench: &Bench, commands: &str) {
    let directory = bench.database().parent().unwrap().to_owned();
    let done = Command::new("sh").args(["-ec", commands]).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{commands}: {}", String::from_utf8_lossy(&done.stderr));
}

async fn end(daemon: Process) {
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
}

#[tokio::test]
async fn a_queue_restored_by_the_documented_steps_reads_back_what_was_sent_since() {
    let (bench, ids) = (bench().await, ids(50));
    let (sent, late) = ids.split_at(40);
    bench.enqueue(sent).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(6)).await;
    let printed = stdout_of(&bench, &["backup", &text(&bench.path("backup.db"))]).await;
    assert!(printed.starts_with("backed up 40 submissions") && printed.ends_with("checked\n"), "{printed}");
    in_time("the orders after the backup", bench.simulator.until_orders(40)).await;
    end(daemon).await;

    shell(&bench, "mkdir aside; mv queue.db aside/; install -m 660 backup.db queue.db; test -e queue.db.mark");
    let known = bench.count("submitted").await;
    assert!(bench.count("in_flight").await > 0 && known < 40, "the backup was made during the work");
    // These came after the backup, so they are enqueued again.
    bench.enqueue(late).await;
    let mut daemon = bench.spawn(&["run"]);
    let paused = daemon.until_event("paused").await;
    assert!(paused["message"].as_str().unwrap().contains("certcommit verify --pending"), "{paused}");
    let printed = stdout_of(&bench, &["verify", "--pending"]).await;
    assert!(printed.contains("will be read back before anything is sent"), "{printed}");
    let is_order = |line: &Value| line["state"] == "submitted";
    for _ in 0..40 - known {
        daemon.until_line("an order that was read back", is_order).await;
    }
    assert_eq!(bench.simulator.commits().len(), 40, "nothing is sent while it is paused");
    stdout_of(&bench, &["resume"]).await;
    in_time("the orders that are new", bench.simulator.until_orders(50)).await;
    for _ in late {
        daemon.until_line("an order", is_order).await;
    }
    end(daemon).await;

    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 50, "nothing was sent again");
    let by_readback = |row: &crate::support::Row| row.resolved_by.as_deref() == Some("readback");
    assert_eq!(
        bench.rows().await.into_iter().filter(by_readback).count(),
        40 - known,
        "what was sent after the backup is read back"
    );
}

#[tokio::test]
async fn a_backup_without_space_exits_with_73_and_leaves_nothing() {
    let bench = bench().await;
    bench.enqueue(&ids(3_000)).await;
    let disk = SmallDisk::new(&bench, "256k");
    let before = disk.names();
    let mut command = disk.command(&bench, &["backup", &text(&disk.path("backup.db"))]);
    command.env(crate::support::variable("database.path"), bench.database());
    let ended = output(command).await;
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(73), "{stderr}");
    assert!(stderr.contains("backup.db can't be created: no storage space"), "{stderr}");
    assert_eq!(disk.names(), before);
}

#[tokio::test]
async fn a_killed_backup_does_not_prevent_another() {
    let bench = bench().await;
    bench.enqueue(&ids(3_000)).await;
    let file = text(&bench.path("backup.db"));
    // At the first sync, everything is written, but the file doesn't have its final name.
    let killed = ["strace", "-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:signal=KILL"];
    let ended = output(bench.command_under(&killed, &["backup", &file])).await;
    assert!(!ended.status.success());
    let partial = bench.path("backup.db.partial");
    assert_eq!(
        fs::metadata(&partial).unwrap().permissions().mode() & 0o777,
        0o600,
        "no other user can read the partial file"
    );
    assert!(!bench.path("backup.db").exists());
    let printed = stdout_of(&bench, &["backup", &file]).await;
    assert!(printed.starts_with("backed up 3000 submissions"), "{printed}");
    assert!(!partial.exists());
}

#[tokio::test]
async fn a_snapshot_restored_with_its_marker_starts_paused_if_its_last_heartbeat_is_old() {
    let (bench, ids) = (bench().await, ids(8));
    bench.enqueue(&ids[..4]).await;
    let mut daemon = bench.spawn(&["run"]);
    for _ in 0..4 {
        daemon.until_event("submitted").await;
    }
    bench.sql("UPDATE control SET paused = 1").await;
    bench.enqueue(&ids[4..]).await;
    daemon.kill();
    bench.sql("UPDATE control SET paused = 0; UPDATE daemon SET heartbeat_at = heartbeat_at - 1200").await;
    // A snapshot of database and marker together.
    for suffix in ["", ".mark"] {
        fs::copy(bench.path(&format!("queue.db{suffix}")), bench.path(&format!("snapshot{suffix}"))).unwrap();
    }
    bench.sql("UPDATE daemon SET heartbeat_at = strftime('%s', 'now')").await;
    bench.run_until_empty().await;
    assert_eq!(bench.simulator.commits().len(), 8);
    for suffix in ["", ".mark"] {
        fs::copy(bench.path(&format!("snapshot{suffix}")), bench.path(&format!("queue.db{suffix}"))).unwrap();
    }
    let mut daemon = bench.start().await;
    let cause = daemon.until_paused().await;
    let (why, remedy) = (cause.to_string(), cause.remedy());
    assert!(cause.code() == "unclean_shutdown" && why.contains("20 min") && why.contains("snapshot"), "{why}");
    assert!(remedy.contains("certcommit verify --pending") && remedy.contains("certcommit resume"), "{remedy}");
    stdout_of(&bench, &["verify", "--pending"]).await;
    stdout_of(&bench, &["resume"]).await;
    daemon.until_count(State::Submitted, 8).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 8, "nothing was sent again");
}
