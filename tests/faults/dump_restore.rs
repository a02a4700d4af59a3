//! Salvaging the rows of a damaged database by the steps that certcommit prints, with the distribution's sqlite3.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use certcommit::daemon::Stop;
use certcommit::queue::SALVAGE;

use crate::support::{Bench, ids, output};

/// The steps that salvage the rows.
const STEPS: &str = "sqlite3 queue.db .dump | sed 's/^ROLLBACK; -- due to errors$/COMMIT;/' | sqlite3 saved.db";

/// Overwrites the page with the oldest submissions.
async fn damage(bench: &Bench) {
    let size: i64 = bench.value("PRAGMA page_size").await;
    let statements = "PRAGMA wal_checkpoint(TRUNCATE);
        SELECT 'page ' || pageno FROM dbstat WHERE name = 'submissions' AND pagetype = 'leaf' ORDER BY path LIMIT 1";
    let shell = Command::new("sqlite3").arg(bench.database()).arg(statements).output().unwrap();
    let stdout = String::from_utf8(shell.stdout).unwrap();
    let page: i64 = stdout.lines().find_map(|line| line.strip_prefix("page ")?.parse().ok()).expect("a page");
    let file = fs::OpenOptions::new().write(true).open(bench.database()).unwrap();
    let at = u64::try_from((page - 1) * size).unwrap();
    file.write_all_at(&vec![0x5a; usize::try_from(size).unwrap()], at).unwrap();
}

/// Replaces the queue with the salvaged database.
fn replace_queue(bench: &Bench) {
    for old in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        if bench.path(old).exists() {
            fs::remove_file(bench.path(old)).unwrap();
        }
    }
    fs::rename(bench.path("saved.db"), bench.database()).unwrap();
}

#[tokio::test]
async fn the_rest_of_a_damaged_database_becomes_a_queue_that_repeats_nothing() {
    assert!(SALVAGE.contains(STEPS), "{SALVAGE}");
    let (bench, sent) = (Bench::new().await, ids(8));
    bench.enqueue(&sent).await;
    bench.run_until_empty().await;
    let later = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
                 INSERT INTO submissions (certificate_id, due_at) SELECT 'later-' || i, 9999999999 FROM n";
    bench.sql(later).await;
    damage(&bench).await;
    let checked = output(bench.command(&["check", "--integrity"])).await;
    assert_eq!(checked.status.code(), Some(65), "{checked:?}");

    let directory = bench.database().parent().unwrap().to_owned();
    let saved = Command::new("sh").arg("-c").arg(STEPS).current_dir(&directory).output().unwrap();
    assert!(saved.status.success(), "{saved:?}");
    replace_queue(&bench);
    let refused = output(bench.command(&["run", "--until-empty"])).await;
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(65) && stderr.contains("certcommit check --repair"), "{stderr}");
    let repaired = output(bench.command(&["check", "--repair"])).await;
    let stdout = String::from_utf8(repaired.stdout).unwrap();
    assert!(repaired.status.success() && stdout.contains("\nintegrity      intact"), "{stdout}");
    assert!(stdout.contains("of 608 that were ever enqueued; 8 certificates have requests on record"), "{stdout}");
    let left = bench.rows().await.len();
    assert!((300..600).contains(&left), "{left} rows are left");

    let mut daemon = bench.start().await;
    let cause = daemon.until_paused().await;
    assert_eq!(cause.code(), "restored_dump");
    assert!(cause.remedy().contains("certcommit verify --pending"), "{}", cause.remedy());
    daemon.stop(Stop::Soon).await;
    // The damage spared the record of requests, which shows what was sent.
    let mut again = bench.command(&["enqueue"]);
    again.args(&sent);
    let again = output(again).await;
    assert!(String::from_utf8(again.stdout).unwrap().contains("0 new, 0 known, 8 refused"));
}
