//! Other programs add to the schema, remove rules or tables, corrupt the counts, or empty the queue.

use certcommit::daemon::Stop;

use super::{assert_sent_once, bench};
use crate::support::{event_of, ids, in_time, output};

#[tokio::test]
async fn additions_to_the_schema_change_nothing() {
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

/// A change of the schema, how the daemon names it, and whether `check --repair` fixes it.
const DAMAGE: [(&str, &str, bool); 5] = [
    ("DROP TRIGGER submissions_moved", "trigger submissions_moved is missing", true),
    ("DROP INDEX requests_unfinished", "index requests_unfinished is missing", true),
    ("DROP VIEW submission_report", "view submission_report is missing", true),
    ("ALTER TABLE submissions RENAME TO aside", "table submissions is missing", false),
    ("ALTER TABLE requests RENAME TO aside", "table requests is missing", false),
];

#[tokio::test]
async fn a_missing_rule_or_table_stops_the_sending_and_the_daemon() {
    for (damage, flaw, fixed) in DAMAGE {
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
        assert!((4..30).contains(&sent), "{sent} were sent before it stopped");
        let again = output(bench.command(&["run", "--until-empty"])).await;
        let stderr = String::from_utf8(again.stderr).unwrap();
        assert!(again.status.code() == Some(65) && stderr.contains(flaw), "{stderr}");
        assert_eq!(bench.simulator.commits().len(), sent, "the next start sends nothing either");
        if fixed {
            // Results of requests in flight are written, without their rule.
            let unwritten: i64 = bench.value("SELECT count(*) FROM requests WHERE finished_at IS NULL").await;
            assert_eq!(unwritten, 0, "{damage}");
            let repaired = output(bench.command(&["check", "--repair"])).await;
            let stdout = String::from_utf8(repaired.stdout).unwrap();
            let restored = flaw.replace("is missing", "is restored");
            assert!(repaired.status.success() && stdout.contains(&restored), "{stdout}");
        } else {
            bench.sql(&damage.replace("RENAME TO aside", "").replace("TABLE ", "TABLE aside RENAME TO ")).await;
        }
        bench.run_until_empty().await;
        assert_sent_once(&bench, &ids).await;
    }
}

#[tokio::test]
async fn a_queue_is_empty_when_no_row_is_open_whatever_the_counts_say() {
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
        let status = String::from_utf8(output(bench.command(&["status"])).await.stdout).unwrap();
        let damage = status.contains("the counts in state_counts are wrong");
        assert!(status.contains("5 pending") == wrong && damage == wrong, "{status}");
        let checked = String::from_utf8(output(bench.command(&["check"])).await.stdout).unwrap();
        assert_eq!(checked.contains("state_counts are wrong"), wrong, "{checked}");
        bench.run_until_empty().await;
        assert_sent_once(&bench, &ids).await;
        let left: i64 = bench.value("SELECT count FROM state_counts WHERE state = 'pending'").await;
        assert_eq!(left, 0, "the rows are counted again, at the latest when none is open");
    }
}

#[tokio::test]
async fn an_emptied_queue_starts_paused_and_is_reported() {
    let (bench, ids) = (bench().await, ids(3));
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    let rules: String = bench.value("SELECT sql FROM sqlite_master WHERE name = 'requests_delete_rules'").await;
    bench
        .sql(&format!(
            "BEGIN; DROP TRIGGER requests_delete_rules; DELETE FROM requests; DELETE FROM submissions; {rules}; COMMIT"
        ))
        .await;
    let emptied = "this database was deleted, emptied, or restored from an early copy: 3 requests were made, and none of them is on record";
    for arguments in [&["check"][..], &["check", "--integrity"], &["status", "--json"]] {
        let stdout = String::from_utf8(output(bench.command(arguments)).await.stdout).unwrap();
        assert!(stdout.contains(emptied), "{arguments:?}: {stdout}");
    }
    // Operators who find the queue empty enqueue everything again.
    bench.enqueue(&ids).await;
    let mut daemon = bench.start().await;
    let cause = daemon.until_paused().await;
    assert!(cause.code() == "restored_emptied" && cause.to_string() == emptied, "{cause}");
    assert!(cause.remedy().contains("certcommit verify --pending"), "{}", cause.remedy());
    daemon.stop(Stop::Soon).await;
    assert_eq!(bench.simulator.commits().len(), 3, "nothing was sent again");
}
