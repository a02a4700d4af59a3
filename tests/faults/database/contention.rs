//! Other processes hold the lock, keep a snapshot, or write all the time.

use std::fs;
use std::time::Duration;

use certcommit::clock;

use super::{POLL, assert_sent_once, bench, enqueue_later};
use crate::support::{Bench, Injection, event_of, ids, in_time, test_size};

/// SQLite's `journal_size_limit`, as the daemon sets it.
const WAL_LIMIT: u64 = 4 * 1024 * 1024;

#[tokio::test]
async fn a_lock_held_by_another_process_is_reported_and_waited_out() {
    let duration = Duration::from_secs(test_size("LOCKED_S", 6));
    let (bench, ids) = (bench().await, ids(60));
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let line = daemon.until_event("database_unavailable").await;
    assert!(line["message"].as_str().unwrap().contains("another process keeps the database locked"), "{line}");
    let in_flight = line["on_the_way"].as_u64().unwrap();
    for _ in 0..in_flight {
        daemon.until_event("submitted").await;
    }
    let sent = bench.simulator.commits().len();
    tokio::time::sleep(duration).await;
    assert_eq!(bench.simulator.commits().len(), sent, "nothing more is sent for {duration:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let line = daemon.until_event("resumed").await;
    assert!(line["results_written"].as_u64().unwrap() >= in_flight, "{line}");
    in_time("the other orders", bench.simulator.until_orders(60)).await;
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    let reminders = lines.iter().filter(|line| event_of(line) == "database_unavailable").count();
    assert!(reminders <= 1 + usize::try_from(duration.as_secs() / 60).unwrap(), "{reminders} lines in {duration:?}");
    assert_sent_once(&bench, &ids).await;
}

#[tokio::test]
async fn a_write_ahead_log_grown_by_a_long_reader_shrinks_by_itself() {
    let duration = Duration::from_secs(test_size("SNAPSHOT_S", 1));
    let (bench, ids) = (bench().await, ids(40));
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let mut reader = bench.connect().await;
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM submissions").execute(&mut reader).await.unwrap();
    bench.enqueue(&ids).await;
    enqueue_later(&bench, 40_000).await;
    in_time("work alongside the reader", bench.simulator.until_orders(40)).await;
    tokio::time::sleep(duration).await;
    let grown = wal_size(&bench);
    assert!(grown > WAL_LIMIT, "the log has {grown} bytes");
    sqlx::raw_sql("ROLLBACK").execute(&mut reader).await.unwrap();
    // The next write shrinks it; the heartbeat is one.
    in_time("the log to shrink", async {
        while wal_size(&bench) > WAL_LIMIT {
            tokio::time::sleep(POLL).await;
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

const WRITERS: usize = 3;
/// How long a slow disk takes to sync.
const SYNC: Duration = Duration::from_millis(60);

#[tokio::test]
async fn outside_writers_on_a_slow_disk_always_get_the_lock_in_time() {
    let rows_each = test_size("INSERTS", 300) / WRITERS;
    let bench = bench().await;
    bench.enqueue(&ids(20)).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let delay = format!("fsync,fdatasync:delay_exit={}", SYNC.as_micros());
    let slow = Injection::begin(&daemon, &delay, &[&bench.path("queue.db-wal")]).await;
    let mut ids = ids(20);
    ids.extend((0..WRITERS).flat_map(|writer| (0..rows_each).map(move |number| outside_id(writer, number))));
    let (mut failed, mut longest) = (0, Duration::ZERO);
    let [first, second, third] = [0, 1, 2].map(|writer| write_outside(&bench, writer, rows_each));
    let reports = tokio::join!(first, second, third);
    for (failures, wait) in [reports.0, reports.1, reports.2] {
        failed += failures;
        longest = longest.max(wait);
    }
    println!("{} transactions, {failed} failed, the longest wait for the lock took {longest:?}", rows_each * WRITERS);
    assert_eq!(failed, 0);
    let patience = Duration::from_secs(60) + Duration::from_millis(100) * u32::try_from(ids.len()).unwrap();
    tokio::time::timeout(patience, bench.simulator.until_orders(ids.len())).await.expect("all orders in time");
    slow.end();
    daemon.signal("TERM");
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(0));
    println!(
        "{} database faults reported by the daemon",
        lines.iter().filter(|line| event_of(line) == "database_unavailable").count()
    );
    assert_sent_once(&bench, &ids).await;
}

fn outside_id(writer: usize, number: usize) -> String {
    format!("out-{writer}-{number}")
}

/// Inserts rows one by one, each in a transaction that takes as long as on a slow disk. SQLite waits 5 s for the lock. Returns how many
/// failed, and the longest wait.
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
        // Real writers pause between transactions.
        tokio::time::sleep(SYNC.mul_f64(4.0 * fastrand::f64())).await;
    }
    (failed, longest)
}
