//! Whatever is killed, replaced or restored, no row is lost and no order is placed twice.

use std::path::Path;
use std::time::Duration;

use certcommit::daemon::Stop;
use certcommit::simulator::{Options, worst_second};
use certcommit::submission::State;
use sqlx::Connection as _;

use crate::support::{Bench, event_of, ids, in_time, output};

const KILLS: usize = 5;

/// Rows that may be claimed ahead of the limiter.
const CLAIMED_AHEAD: usize = 16;

/// A bench with a slow API, so that a kill hits requests in flight.
async fn bench() -> Bench {
    let options = Options { latency: Duration::from_millis(150), rate_limit: None, ..Options::default() };
    Bench::with(options, &[("rate.guard", "150ms")]).await
}

#[tokio::test]
async fn a_daemon_killed_repeatedly_loses_nothing_and_repeats_nothing() {
    let bench = bench().await;
    let ids = ids(60);
    bench.enqueue(&ids).await;
    for _ in 0..KILLS {
        let seen = bench.simulator.commits().len();
        let daemon = bench.spawn(&["run"]);
        in_time("more commits", bench.simulator.until_commits(seen + 8)).await;
        daemon.kill();
    }
    assert!(bench.count("submitted").await < 60, "it was killed midway");
    let (code, _) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= 20, "{worst} in one second");
}

#[tokio::test]
async fn after_a_crash_what_landed_is_found_at_once_and_what_was_never_sent_is_sent_at_once() {
    let mut bench = bench().await;
    bench.set("verify.settle", "1h");
    bench.set("verify.resend_after", "2h");
    let ids = ids(40);
    bench.enqueue(&ids).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(8)).await;
    daemon.kill();
    let in_flight = bench.count("in_flight").await;
    let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(0), "{lines:?}");
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 40, "nothing was sent twice");
    let count = |outcome: &'static str| bench.value::<i64>(outcome);
    let never_sent = count("SELECT count(*) FROM requests WHERE kind = 'commit' AND outcome = 'not_sent'").await;
    let in_doubt = count("SELECT count(*) FROM requests WHERE kind = 'commit' AND outcome = 'in_doubt'").await;
    assert!(never_sent > 0 && in_doubt > 0, "{never_sent} and {in_doubt} of {in_flight}");
    assert_eq!(usize::try_from(never_sent + in_doubt).unwrap(), in_flight);
}

#[tokio::test]
async fn without_a_departure_marker_all_that_was_claimed_is_read_back() {
    for lost in [|path: &Path| std::fs::remove_file(path).unwrap(), |path: &Path| std::fs::write(path, "").unwrap()] {
        let bench = bench().await;
        let ids = ids(40);
        bench.enqueue(&ids).await;
        let daemon = bench.spawn(&["run"]);
        in_time("some commits", bench.simulator.until_commits(8)).await;
        daemon.kill();
        lost(&bench.departure_marker());
        let in_flight = i64::try_from(bench.count("in_flight").await).unwrap();
        assert_eq!(bench.spawn(&["run", "--until-empty"]).end().await.0, Some(0));
        let in_doubt = "SELECT count(*) FROM requests WHERE kind = 'commit' AND outcome = 'in_doubt'";
        assert_eq!(bench.value::<i64>(in_doubt).await, in_flight);
        bench.assert_each_submitted_once(&ids).await;
        bench.assert_nothing_resent_blindly().await;
    }
}

#[tokio::test]
async fn after_a_restore_in_place_the_queue_is_paused_and_all_that_was_in_flight_is_in_doubt() {
    let bench = bench().await;
    bench.enqueue(&ids(60)).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(8)).await;
    // All files at one moment, as in a snapshot of the disk.
    let mut other = bench.connect().await;
    sqlx::raw_sql("PRAGMA wal_checkpoint; BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let files =
        ["queue.db", "queue.db-wal", "queue.db.mark"].map(|name| (name, std::fs::read(bench.path(name)).unwrap()));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    in_time("more commits", bench.simulator.until_commits(30)).await;
    daemon.kill();
    std::fs::remove_file(bench.path("queue.db-shm")).unwrap();
    for (name, content) in files {
        // The same files, with the content of before.
        std::fs::write(bench.path(name), content).unwrap();
    }
    let in_flight = bench.count("in_flight").await;
    assert!(in_flight > 0, "the snapshot has claims");
    let mut daemon = bench.spawn(&["run"]);
    assert_eq!(daemon.until_event("paused").await["cause"], "restored_behind");
    daemon.kill();
    let in_doubt = "SELECT count(*) FROM requests WHERE kind = 'commit' AND outcome = 'in_doubt'";
    assert_eq!(usize::try_from(bench.value::<i64>(in_doubt).await).unwrap(), in_flight);
}

#[tokio::test]
async fn a_copy_of_the_queue_takes_nothing_from_the_departure_marker_of_the_original() {
    let mut bench = bench().await;
    bench.enqueue(&ids(40)).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(8)).await;
    daemon.kill();
    let in_flight = bench.count("in_flight").await;
    std::fs::create_dir(bench.path("copy")).unwrap();
    for name in ["queue.db", "queue.db.mark"] {
        std::fs::copy(bench.path(name), bench.path("copy").join(name)).unwrap();
    }
    let copy = bench.path("copy").join("queue.db");
    bench.set("database.path", copy.to_str().unwrap());
    let mut daemon = bench.spawn(&["run"]);
    let line = daemon.until_event("in_doubt").await;
    assert_eq!(line["count"].as_u64(), Some(u64::try_from(in_flight).unwrap()), "{line}");
    daemon.kill();
}

#[tokio::test]
async fn a_second_daemon_on_the_same_queue_names_the_first_and_exits_with_75() {
    let bench = Bench::new().await;
    let mut first = bench.spawn(&["run"]);
    let pid = first.until_event("started").await["pid"].to_string();
    first.until_event("ready").await;
    let second = output(bench.command(&["run"])).await;
    assert_eq!(second.status.code(), Some(75));
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(stderr.contains("another daemon holds") && stderr.contains(&pid), "{stderr}");
    bench.enqueue(&["abcb1234"]).await;
    first.until_event("submitted").await;
}

#[tokio::test]
async fn a_database_that_is_replaced_while_open_ends_the_daemon_with_76_and_nothing_more_is_sent() {
    let bench = bench().await;
    bench.enqueue(&ids(60)).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(6)).await;
    std::fs::rename(bench.database(), bench.path("aside.db")).unwrap();
    std::fs::copy(bench.path("aside.db"), bench.database()).unwrap();
    let sent = bench.simulator.commits().len();
    let (code, _) = daemon.end().await;
    assert_eq!(code, Some(76));
    // One may have passed the check just before the file was replaced.
    assert!(bench.simulator.commits().len() <= sent + 2, "{sent}, then {}", bench.simulator.commits().len());
}

#[tokio::test]
async fn a_daemon_whose_database_was_replaced_waits_for_requests_in_flight_without_spinning() {
    let bench = Bench::with(Options { latency: Duration::from_secs(2), ..Options::default() }, &[]).await;
    bench.enqueue(&ids(60)).await;
    let daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    std::fs::rename(bench.database(), bench.path("aside.db")).unwrap();
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(76), "the event loop panics if a round leaves due work undone: {lines:?}");
    assert!(lines.iter().filter(|line| event_of(line) == "submitted").count() >= 4, "{lines:?}");
}

#[tokio::test]
async fn while_the_database_is_locked_nothing_more_is_claimed_and_results_are_kept() {
    let bench = bench().await;
    let ids = ids(40);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let line = daemon.until_event("database_unavailable").await;
    let sent = bench.simulator.commits().len();
    assert!(sent <= 4 + CLAIMED_AHEAD + 1, "{sent} sent: {line}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    in_time("the other orders", bench.simulator.until_orders(40)).await;
    daemon.signal("TERM");
    let (code, _) = daemon.end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 40, "no result was lost, so nothing was sent again");
}

#[tokio::test]
async fn a_result_rejected_by_a_users_trigger_is_kept_and_its_order_is_not_repeated() {
    for table in ["requests", "submissions"] {
        let bench = bench().await;
        bench.enqueue(&["audited", "other"]).await;
        // Rejects every update after the claim.
        let trigger = format!(
            "CREATE TRIGGER audit BEFORE UPDATE ON {table}
             WHEN OLD.certificate_id = 'audited'
              AND EXISTS (SELECT 1 FROM submissions WHERE certificate_id = 'audited' AND state = 'in_flight')
             BEGIN SELECT RAISE(ABORT, 'not in the audit table'); END"
        );
        bench.sql(&trigger).await;
        let mut daemon = bench.spawn(&["run"]);
        in_time("both orders", bench.simulator.until_orders(2)).await;
        let line = daemon.until_event("write_refused").await;
        assert!(line["message"].as_str().is_some_and(|text| text.contains("not in the audit table")), "{line}");
        // A database fault, after which the daemon looks for claims that it doesn't hold.
        let mut other = bench.connect().await;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        daemon.until_event("database_unavailable").await;
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        daemon.until_event("resumed").await;
        assert_eq!(bench.row("audited").await.state, "in_flight", "{table}");
        bench.sql("DROP TRIGGER audit").await;
        daemon.signal("TERM");
        assert_eq!(daemon.end().await.0, Some(0));
        let row = bench.row("audited").await;
        assert_eq!((row.state.as_str(), row.resolved_by.as_deref()), ("submitted", Some("reply")), "{table}");
        bench.assert_each_submitted_once(&["audited", "other"]).await;
        assert_eq!(bench.simulator.commits().len(), 2, "{table}");
    }
}

#[tokio::test]
async fn a_run_until_empty_with_only_a_rejected_result_left_ends_with_1_and_the_next_run_reads_it_back() {
    let bench = Bench::new().await;
    bench.enqueue(&["audited", "other"]).await;
    bench
        .sql(
            "CREATE TRIGGER audit BEFORE UPDATE ON requests WHEN OLD.certificate_id = 'audited'
             BEGIN SELECT RAISE(ABORT, 'not in the audit table'); END",
        )
        .await;
    assert_eq!(bench.spawn(&["run", "--until-empty"]).end().await.0, Some(1));
    assert_eq!(bench.row("audited").await.state, "in_flight");
    assert_eq!(bench.spawn(&["run", "--until-empty"]).end().await.0, Some(1), "the next start continues past it");
    bench.sql("DROP TRIGGER audit").await;
    assert_eq!(bench.spawn(&["run", "--until-empty"]).end().await.0, Some(0));
    bench.assert_each_submitted_once(&["audited", "other"]).await;
    assert_eq!(bench.row("audited").await.resolved_by.as_deref(), Some("readback"));
}

#[tokio::test]
async fn a_restored_backup_starts_paused_and_repeats_nothing_once_verified() {
    let bench = Bench::new().await;
    let ids = ids(6);
    bench.enqueue(&ids).await;
    back_up(&bench).await;
    bench.run_until_empty().await;
    restore(&bench);
    bench.enqueue(&["fresh"]).await;

    let mut daemon = bench.start().await;
    let cause = daemon.until_paused().await;
    assert_eq!(cause.code(), "restored_emptied", "the copy is older than the first request");
    let remedy = cause.remedy();
    assert!(remedy.contains("certcommit verify --pending") && remedy.contains("certcommit resume"), "{remedy}");
    for arguments in [&["verify", "--pending"][..], &["resume"]] {
        assert_eq!(output(bench.command(arguments)).await.status.code(), Some(0), "{arguments:?}");
    }
    daemon.until_count(State::Submitted, 7).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_each_submitted_once(&["fresh"]).await;
    assert_eq!(bench.simulator.commits().len(), 7);
}

#[tokio::test]
async fn a_restored_backup_sends_nothing_by_itself() {
    let bench = Bench::new().await;
    let ids = ids(3);
    bench.enqueue(&ids).await;
    back_up(&bench).await;
    bench.run_until_empty().await;
    restore(&bench);

    let mut daemon = bench.start().await;
    daemon.until_paused().await;
    bench.enqueue(&["fresh"]).await;
    daemon.until_count(State::Pending, 4).await;
    daemon.stop(Stop::Soon).await;
    assert_eq!(bench.simulator.commits().len(), 3);
    let mut daemon = bench.start().await;
    daemon.until_paused().await;
    daemon.stop(Stop::Soon).await;
    assert_eq!(bench.simulator.commits().len(), 3, "nothing is sent after another restart either");
}

async fn back_up(bench: &Bench) {
    bench.sql(&format!("VACUUM INTO '{}'", bench.path("backup.db").display())).await;
}

/// Restores the backup, as an operator would while no daemon runs.
fn restore(bench: &Bench) {
    for suffix in ["", "-wal", "-shm"] {
        let file = bench.path(&format!("queue.db{suffix}"));
        if file.exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
    std::fs::copy(bench.path("backup.db"), bench.database()).unwrap();
}

#[tokio::test]
async fn restoring_the_database_under_a_running_daemon_stops_it_and_repeats_nothing() {
    let bench = bench().await;
    let (before, since) = (["before-1", "before-2"], ["since-1", "since-2"]);
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    bench.enqueue(&before).await;
    in_time("the first orders", bench.simulator.until_orders(2)).await;
    bench.enqueue(&since).await;
    let mut connection = bench.connect().await;
    let backup = format!("VACUUM INTO '{}'", bench.path("nightly.db").display());
    sqlx::raw_sql("UPDATE submissions SET due_at = 9000000000 WHERE certificate_id LIKE 'since%'")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(backup)).execute(&mut connection).await.unwrap();
    let sent = bench.simulator.commits().len();
    sqlx::raw_sql("UPDATE submissions SET due_at = 1 WHERE certificate_id LIKE 'since%' AND state = 'pending'")
        .execute(&mut connection)
        .await
        .unwrap();
    in_time("the other orders", bench.simulator.until_orders(4)).await;
    daemon
        .until_line("the last of them", |line| line["event"] == "submitted" && line["certificate_id"] == "since-2")
        .await;
    // Writes into the open file, as the shell's .restore does.
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "ATTACH '{}' AS nightly; BEGIN IMMEDIATE; DROP TRIGGER requests_delete_rules; DELETE FROM requests;
         DELETE FROM sqlite_sequence WHERE name = 'requests';
         INSERT INTO sqlite_sequence SELECT * FROM nightly.sqlite_sequence WHERE name = 'requests';
         {}; COMMIT",
        bench.path("nightly.db").display(),
        bench.value::<String>("SELECT sql FROM sqlite_master WHERE name = 'requests_delete_rules'").await,
    )))
    .execute(&mut connection)
    .await
    .unwrap();
    assert!(sent <= 4);
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(76), "{lines:?}");
    assert_eq!(bench.simulator.commits().len(), 4, "nothing was sent again");
}
