//! An older copy of the queue is restored.

use std::fs;

use certcommit::daemon::Stop;
use certcommit::submission::State;

use super::bench;
use crate::support::{Bench, ids, in_time, output};

/// A backup: the files that are copied and restored.
struct Backup {
    suffixes: &'static [&'static str],
}

const PLAIN: Backup = Backup { suffixes: &[""] };
const WITH_LOG: Backup = Backup { suffixes: &["", "-wal"] };

impl Backup {
    /// Restores it, as an operator would while no daemon runs.
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

/// Asserts that a restored queue starts paused, and repeats nothing once it is verified and resumed.
async fn verify_and_resume(bench: &Bench, ids: &[String]) {
    let sent = bench.simulator.commits().len();
    let mut daemon = bench.start().await;
    let remedy = daemon.until_paused().await.remedy();
    assert!(remedy.contains("certcommit verify --pending") && remedy.contains("certcommit resume"), "{remedy}");
    assert_eq!(bench.simulator.commits().len(), sent, "paused");
    for arguments in [&["verify", "--pending"][..], &["resume"]] {
        let code = output(bench.command(arguments)).await.status.code();
        assert!(code == Some(0) || arguments[0] == "verify", "{arguments:?}: {code:?}");
    }
    daemon.until_count(State::Submitted, i64::try_from(ids.len()).unwrap()).await;
    daemon.stop(Stop::Soon).await;
    // The record of what was sent after the backup is lost, so only the server knows.
    bench.assert_each_submitted_once(ids).await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "nothing was sent again");
}

#[tokio::test]
async fn a_backup_made_while_requests_were_in_flight_repeats_none_of_them() {
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
async fn a_backup_restored_without_a_marker_repeats_nothing() {
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
async fn a_backup_restored_twice_starts_paused_twice() {
    for with_marker in [true, false] {
        let (bench, ids) = (bench().await, ids(6));
        bench.enqueue(&ids[..2]).await;
        bench.run_until_empty().await;
        bench.enqueue(&ids[2..]).await;
        back_up(&bench).await;
        bench.run_until_empty().await;
        PLAIN.restore(&bench);
        if !with_marker {
            fs::remove_file(bench.path("queue.db.mark")).unwrap();
        }
        let mut daemon = bench.start().await;
        daemon.until_paused().await;
        daemon.stop(Stop::Soon).await;
        PLAIN.restore(&bench);
        verify_and_resume(&bench, &ids).await;
    }
}
