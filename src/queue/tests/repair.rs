//! Repairing a queue whose schema was altered.

use std::os::unix::fs::PermissionsExt as _;

use super::schema_comparison::REWRITE;
use super::*;

const NOW: UnixMillis = UnixMillis(BEGIN * 1000);

/// A queue in a file of its own, after these statements.
async fn after(statements: &'static str) -> (Site, PathBuf) {
    let mut site = Site::with(&["a", "b", "c"]).await;
    site.commit(0, receipt()).await;
    let path = site.path();
    sql(&path, statements).await;
    (site, path)
}

fn sentences(flaws: &[Flaw]) -> Vec<String> {
    flaws.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_rewritten_table_is_rebuilt_with_its_rows_and_with_what_others_added() {
    let (mut site, path) = after(REWRITE).await;
    sql(&path, "CREATE TABLE notes (text); CREATE INDEX theirs ON submissions (owner);
                CREATE TRIGGER audit AFTER DELETE ON submissions BEGIN INSERT INTO notes VALUES (OLD.certificate_id); END;
                UPDATE submissions SET state = 'failed' WHERE certificate_id = 'c'").await;
    let repaired = repair(&path, NOW).await.unwrap();
    let fixed = sentences(&repaired.fixed);
    assert!(fixed.contains(&"column submissions.certificate_id is altered".to_owned()), "{fixed:?}");
    assert!(fixed.contains(&"trigger submissions_moved is missing".to_owned()), "{fixed:?}");
    assert!(repaired.left.is_empty() && repaired.recounted && repaired.saved.is_none(), "{repaired:?}");
    assert_eq!(site.queue.check_integrity().await.unwrap(), [""; 0]);
    assert_eq!(site.number("SELECT count(*) FROM submissions WHERE owner = 'them'").await, Some(3));
    assert_eq!(site.number("SELECT count FROM state_counts WHERE state = 'failed'").await, Some(1));
    let refused = site.queue.enqueue(&[new("a")]).await.unwrap();
    assert_eq!((refused.new, refused.known), (0, 1), "it is unique again");
    site.sql("DELETE FROM submissions WHERE certificate_id = 'c'").await;
    assert_eq!(site.number("SELECT count(*) FROM notes").await, Some(1), "triggers of others still exist");
    assert_eq!(
        site.number("SELECT count(*) FROM pragma_index_list('submissions') WHERE name = 'theirs'").await,
        Some(1)
    );
    site.enqueue(new("d")).await;
    assert!(site.number("SELECT max(id) FROM submissions").await > Some(3), "no id is assigned twice");
}

#[tokio::test]
async fn the_copy_is_the_queue_as_it_was() {
    let (site, path) = after("DROP TRIGGER submissions_moved").await;
    let copy = repair(&path, NOW).await.unwrap().copy.unwrap();
    assert_eq!(copy, site.directory.path().join("queue.db.before-repair-1700000000"));
    let mut copied = Queue::open(&copy, Opening::Looking).await.unwrap();
    assert_eq!(sentences(&copied.flaws().await.unwrap()), ["trigger submissions_moved is missing"]);
    assert_eq!(copied.counts().await.unwrap().of(State::Pending), 2);
}

#[tokio::test]
async fn every_object_can_be_recreated_except_the_tables_that_record_what_happened() {
    let site = Site::new().await;
    let (path, mut queue) = (site.path(), site.queue);
    let objects = "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'
                    AND name NOT IN ('_sqlx_migrations', 'submissions', 'requests')";
    let objects: Vec<(String, String)> = sqlx::query_as(objects).fetch_all(&mut queue.connection).await.unwrap();
    let before =
        "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name)";
    let made: String = sqlx::query_scalar(before).fetch_one(&mut queue.connection).await.unwrap();
    assert!(objects.len() > 30, "{objects:?}");
    for (kind, name) in objects {
        let drop = sqlx::AssertSqlSafe(format!("DROP {kind} {name}"));
        sqlx::raw_sql(drop).execute(&mut queue.connection).await.unwrap();
        let repaired = repair(&path, NOW).await.unwrap();
        assert!(repaired.left.is_empty() && !repaired.fixed.is_empty(), "{name}: {repaired:?}");
        std::fs::remove_file(repaired.copy.unwrap()).unwrap();
        let now: String = sqlx::query_scalar(before).fetch_one(&mut queue.connection).await.unwrap();
        assert_eq!(now, made, "{name}");
    }
    let control = "SELECT paused = 1 AND pause_code = 'control_lost' FROM control";
    assert!(sqlx::query_scalar::<_, bool>(control).fetch_one(&mut queue.connection).await.unwrap());
    let codes: i64 =
        sqlx::query_scalar("SELECT count(*) FROM status_codes").fetch_one(&mut queue.connection).await.unwrap();
    assert_eq!(codes, 16);
}

#[tokio::test]
async fn repaired_triggers_fire_in_their_original_order() {
    let (mut site, path) = after("DROP TRIGGER submissions_insert_rules").await;
    let order = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid)";
    let fresh: String = sqlx::query_scalar(order).fetch_one(&mut Site::new().await.queue.connection).await.unwrap();
    repair(&path, NOW).await.unwrap();
    let repaired: String = sqlx::query_scalar(order).fetch_one(&mut site.queue.connection).await.unwrap();
    assert_eq!(repaired, fresh);
}

#[tokio::test]
async fn lost_columns_and_tables_are_reported_and_the_rest_is_repaired() {
    let (_site, path) = after("ALTER TABLE requests DROP COLUMN duration_ms; DROP TRIGGER submissions_moved").await;
    let repaired = repair(&path, NOW).await.unwrap();
    assert_eq!(sentences(&repaired.fixed), ["trigger submissions_moved is missing"]);
    let (flaw, reason) = &repaired.left[0];
    assert_eq!(flaw.to_string(), "column requests.duration_ms is missing");
    assert!(reason.as_ref().unwrap().contains("the missing columns are lost; restore a backup"), "{reason:?}");

    let (_site, path) = after("DROP TABLE submissions").await;
    let repaired = repair(&path, NOW).await.unwrap();
    let left: Vec<String> = repaired.left.iter().map(|(flaw, _)| flaw.to_string()).collect();
    assert!(left.contains(&"table submissions is missing".to_owned()), "{left:?}");
}

#[tokio::test]
async fn rows_that_break_the_rules_are_reported_and_stay_as_they_are() {
    let (mut site, path) = after(REWRITE).await;
    sql(&path, "INSERT INTO submissions (certificate_id, state, due_at, created_at, updated_at) VALUES ('b', 'in_flight', 1, 1, 1)").await;
    let repaired = repair(&path, NOW).await.unwrap();
    let unique = repaired.left.iter().find(|(flaw, _)| flaw.name() == "submissions.certificate_id").unwrap();
    assert!(unique.1.as_ref().unwrap().contains("UNIQUE constraint failed"), "{unique:?}");
    assert_eq!(site.number("SELECT count(*) FROM submissions").await, Some(4));
    let findings = site.queue.check_integrity().await.unwrap();
    for finding in ["in the queue more than once: b", "in flight without an unfinished request: b"] {
        assert!(findings.iter().any(|found| found == finding), "{findings:?}");
    }
}

#[tokio::test]
async fn wrong_counts_are_corrected() {
    let (mut site, path) = after("UPDATE state_counts SET count = count - 1 WHERE state = 'pending'").await;
    let repaired = repair(&path, NOW).await.unwrap();
    assert!(repaired.recounted && repaired.fixed.is_empty(), "{repaired:?}");
    assert_eq!(site.number("SELECT count FROM state_counts WHERE state = 'pending'").await, Some(2));
}

#[tokio::test]
async fn an_intact_queue_is_left_alone_and_one_that_a_daemon_holds_is_refused() {
    let (site, path) = after("CREATE TABLE theirs (x)").await;
    let before = std::fs::read(&path).unwrap();
    assert_eq!(repair(&path, NOW).await.unwrap().copy, None);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let _lock = DaemonLock::acquire(&path).await.unwrap();
    assert!(matches!(repair(&path, NOW).await.unwrap_err(), QueueError::Held { .. }));
    let nothing = site.directory.path().join("nothing.db");
    assert!(matches!(repair(&nothing, NOW).await.unwrap_err(), QueueError::Missing(_)));
    std::fs::write(&nothing, "").unwrap();
    assert!(matches!(repair(&nothing, NOW).await.unwrap_err(), QueueError::Empty(_)));
}

#[tokio::test]
async fn a_queue_loaded_from_a_dump_is_repaired_and_paused() {
    let (mut site, path) = after(
        "DROP TRIGGER submissions_update_rules; DELETE FROM submissions WHERE certificate_id = 'a';
         PRAGMA application_id = 0",
    )
    .await;
    let error = Queue::open(&path, Opening::Create).await.unwrap_err();
    assert!(matches!(error, QueueError::Unmarked(_)), "{error:?}");
    let repaired = repair(&path, NOW).await.unwrap();
    let Saved { submissions, ids, strays } = repaired.saved.unwrap();
    assert_eq!((submissions, ids, strays), (2, 3, 1));
    assert!(repaired.left.is_empty(), "{repaired:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(site.queue.check_integrity().await.unwrap(), [""; 0]);
    let why: String = sqlx::query_scalar("SELECT pause_reason FROM control WHERE paused")
        .fetch_one(&mut site.queue.connection)
        .await
        .unwrap();
    assert!(why.contains("certcommit verify --pending"), "{why}");
    Queue::open(&path, Opening::Create).await.unwrap();
}

#[tokio::test]
async fn resolutions_are_recreated_from_the_submissions_that_operators_resolved() {
    let (_site, path) = after(
        "INSERT INTO submissions (certificate_id) VALUES ('mine');
         UPDATE submissions SET state = 'in_doubt' WHERE certificate_id = 'mine';
         UPDATE submissions SET state = 'held' WHERE certificate_id = 'mine';
         UPDATE submissions SET state = 'submitted', order_id = 'SO7', resolved_by = 'operator'
          WHERE certificate_id = 'mine';
         DROP TABLE resolutions",
    )
    .await;
    repair(&path, NOW).await.unwrap();
    let mut queue = Queue::open(&path, Opening::Existing).await.unwrap();
    let order: String =
        sqlx::query_scalar("SELECT order_id FROM resolutions").fetch_one(&mut queue.connection).await.unwrap();
    assert_eq!(order, "SO7");
}
