//! The database file is corrupt, or written by a newer version.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{POLL, assert_sent_once, bench, enqueue_later};
use crate::support::{ids, in_time, output};

#[tokio::test]
async fn a_corrupt_or_newer_database_ends_the_start_with_65_and_stays_untouched() {
    for (is_corrupt, words) in [(true, "is corrupt"), (false, "was written by a newer certcommit")] {
        let bench = bench().await;
        bench.enqueue(&ids(3)).await;
        if is_corrupt {
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

/// Overwrites bytes of a file, as a stray program or a failing disk would.
fn overwrite(path: &Path, bytes: std::ops::Range<u64>) {
    let length = usize::try_from(bytes.end - bytes.start).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&vec![0x5a; length], bytes.start).unwrap();
}

#[tokio::test]
async fn a_database_that_becomes_corrupt_stops_sending_until_it_is_restored() {
    let (bench, ids) = (bench().await, ids(30));
    enqueue_later(&bench, 5_000).await;
    bench.enqueue(&ids).await;
    bench.sql("UPDATE control SET paused = 1").await;
    let mut daemon = bench.spawn(&["run"]);
    let mut operator = bench.connect().await;
    let paused = "SELECT mode = 'paused_by_operator' FROM daemon, control";
    in_time("the daemon to say that it is paused", async {
        while !sqlx::query_scalar::<_, bool>(paused).fetch_one(&mut operator).await.unwrap() {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut operator).await.unwrap();
    let whole = fs::read(bench.database()).unwrap();
    overwrite(&bench.database(), 4096..u64::try_from(whole.len()).unwrap());
    // This connection has the needed pages in its cache.
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
