//! Comparing the schema with the one that certcommit created.

use std::path::Path;

use super::*;

/// What a tool does that rewrites a table: it keeps the rows, perhaps the constraints, and never the triggers.
pub(super) const REWRITE: &str = "PRAGMA legacy_alter_table = ON;
    CREATE TABLE \"submissions_new\" (\"id\" INTEGER PRIMARY KEY, \"certificate_id\" TEXT NOT NULL, \"verify_type\" TEXT,
      \"priority\" INTEGER NOT NULL DEFAULT '0', \"due_at\" INTEGER, \"reference\" TEXT, \"state\" TEXT NOT NULL DEFAULT 'pending',
      \"tries\" INTEGER NOT NULL DEFAULT 0, \"order_id\" TEXT, \"status\" INTEGER, \"request_id\" TEXT, \"error_code\" TEXT,
      \"error_message\" TEXT, \"reason\" TEXT, \"resolved_by\" TEXT, \"created_at\" INTEGER, \"updated_at\" INTEGER,
      \"finished_at\" INTEGER, \"not_before\" INTEGER,
      \"reason_code\" TEXT, \"reason_parameters\" TEXT, \"owner\" TEXT DEFAULT 'me');
    INSERT INTO submissions_new SELECT *, 'them' FROM submissions;
    DROP TABLE submissions;
    ALTER TABLE submissions_new RENAME TO submissions";

async fn flaws(site: &mut Site) -> Vec<String> {
    site.queue.flaws().await.unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_schema_is_intact_whatever_others_add_to_it() {
    let mut site = Site::with(&["a", "b"]).await;
    assert_eq!(flaws(&mut site).await, [""; 0]);
    for addition in [
        "ALTER TABLE submissions ADD COLUMN note TEXT DEFAULT 'it''s, theirs'",
        "ALTER TABLE requests ADD COLUMN note TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE submissions RENAME COLUMN note TO remark",
        "CREATE TABLE notes (text)",
        "CREATE VIEW names AS SELECT certificate_id FROM submissions",
        "CREATE UNIQUE INDEX theirs ON submissions (reference)",
        "CREATE TRIGGER audit AFTER INSERT ON submissions BEGIN INSERT INTO notes VALUES (NEW.certificate_id); END",
        "ANALYZE",
        // SQLite rewrites every statement that names the table, and quotes the name.
        "ALTER TABLE submissions RENAME TO aside; ALTER TABLE aside RENAME TO submissions",
        "ALTER TABLE submissions DROP COLUMN remark",
        "VACUUM",
    ] {
        site.sql(addition).await;
        assert_eq!(flaws(&mut site).await, [""; 0], "{addition}");
    }
    let triggers = site.queue.foreign_triggers().await.unwrap();
    assert_eq!(triggers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["audit on submissions"]);
    let drop = triggers[0].drop_command(Path::new("/queue.db"));
    assert_eq!(drop, r#"sqlite3 /queue.db 'DROP TRIGGER "audit"'"#);
}

#[tokio::test]
async fn missing_and_altered_objects_are_named() {
    let cases = [
        ("DROP TRIGGER submissions_moved", "trigger submissions_moved is missing"),
        (
            "DROP TRIGGER daemon_stays; CREATE TRIGGER daemon_stays BEFORE DELETE ON daemon BEGIN SELECT 1; END",
            "trigger daemon_stays is altered",
        ),
        (
            "DROP INDEX requests_unfinished; CREATE UNIQUE INDEX requests_unfinished ON requests (certificate_id)
              WHERE finished_at IS NOT NULL",
            "index requests_unfinished is altered",
        ),
        ("DROP INDEX submissions_due", "index submissions_due is missing"),
        ("DROP VIEW queue_summary", "view queue_summary is missing"),
        ("DROP VIEW queue_summary; CREATE TABLE queue_summary (x)", "view queue_summary is missing"),
        ("ALTER TABLE requests DROP COLUMN duration_ms", "column requests.duration_ms is missing"),
        ("DROP TABLE status_codes", "table status_codes is missing"),
        ("DROP TRIGGER control_stays; DELETE FROM control", "row control.1 is missing"),
        ("DROP TRIGGER insert_guard_stays; DELETE FROM insert_guard", "row insert_guard.1 is missing"),
        (
            "DROP TRIGGER state_counts_stay; DELETE FROM state_counts WHERE state = 'held'",
            "row state_counts.held is missing",
        ),
    ];
    for (statement, flaw) in cases {
        let mut site = Site::new().await;
        site.sql(statement).await;
        let found = flaws(&mut site).await;
        assert!(found.iter().any(|found| found == flaw), "{statement}: {found:?}");
    }
}

#[tokio::test]
async fn a_rewritten_table_lacks_its_triggers_and_constraints() {
    let mut site = Site::with(&["a"]).await;
    site.sql(REWRITE).await;
    let found = flaws(&mut site).await;
    for flaw in [
        "column submissions.id is altered",
        "column submissions.certificate_id is altered",
        "column submissions.due_at is altered",
        "trigger submissions_insert_rules is missing",
        "trigger submissions_deleted is missing",
        "index submissions_state is missing",
    ] {
        assert!(found.iter().any(|found| found == flaw), "{flaw}: {found:?}");
    }
    assert!(!found.iter().any(|found| found.contains("requests") || found.contains("owner")), "{found:?}");
}

#[tokio::test]
async fn lost_or_weakened_constraints_are_found() {
    let cases = [
        ("TEXT    NOT NULL UNIQUE", "TEXT NOT NULL", "column submissions.certificate_id is altered"),
        ("NOT NULL UNIQUE", "NOT NULL UNIQUE ON CONFLICT REPLACE", "column submissions.certificate_id is altered"),
        ("NOT NULL UNIQUE", "NOT NULL COLLATE NOCASE UNIQUE", "column submissions.certificate_id is altered"),
        ("PRIMARY KEY AUTOINCREMENT,  -- never", "PRIMARY KEY, -- never", "column requests.number is altered"),
        ("PRIMARY KEY CHECK (id = 1),\n  paused", "PRIMARY KEY,\n  paused", "column control.id is altered"),
        (") WITHOUT ROWID", ")", "table state_counts is altered"),
    ];
    for (made, weakened, flaw) in cases {
        let (mut site, weaker) = (Site::new().await, Site::new().await);
        weaker.queue.close().await.unwrap();
        let tables = sqlx::query_as::<_, (String, String)>("SELECT name, sql FROM sqlite_master WHERE type = 'table'");
        let tables: Vec<(String, String)> = tables.fetch_all(&mut site.queue.connection).await.unwrap();
        let (table, sql) = tables.into_iter().find(|(_, sql)| sql.contains(made)).expect(made);
        let sql = sql.replace(made, weakened).replacen(&table, "weaker", 1);
        let rewrite = format!("{sql}; DROP TABLE {table}; ALTER TABLE weaker RENAME TO {table}");
        sqlx::raw_sql("PRAGMA legacy_alter_table = ON").execute(&mut site.queue.connection).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(rewrite)).execute(&mut site.queue.connection).await.unwrap();
        let found = flaws(&mut site).await;
        assert!(found.iter().any(|found| found == flaw), "{weakened}: {found:?}");
    }
}

#[tokio::test]
async fn a_batch_claims_nothing_once_a_trigger_is_gone_but_accepts_added_objects() {
    let mut site = Site::with(&["a", "b"]).await;
    site.queue.require_intact_schema().await.unwrap();
    sql(&site.path(), "ALTER TABLE submissions ADD COLUMN note TEXT").await;
    let report = site.batch(0, &claiming(1, 0)).await.unwrap();
    assert_eq!(names(&report.commits()), ["a"]);
    sql(&site.path(), "DROP TRIGGER submissions_moved").await;
    for _ in 0..2 {
        let error = site.batch(0, &claiming(1, 0)).await.unwrap_err();
        assert!(matches!(error, QueueError::Altered { .. }), "{error:?}");
        assert!(error.to_string().contains("trigger submissions_moved is missing"), "{error}");
    }
    assert_eq!(site.number("SELECT count(*) FROM requests").await, Some(1));
    site.queue.allow_altered_schema();
    site.batch(2, &claiming(0, 0)).await.unwrap();
}

#[tokio::test]
async fn a_daemon_does_not_start_on_an_altered_schema() {
    let site = Site::new().await;
    let path = site.path();
    site.queue.close().await.unwrap();
    sql(&path, "DROP INDEX requests_unfinished").await;
    let lock = DaemonLock::acquire(&path).await.unwrap();
    let error = Queue::open(&path, Opening::Daemon(&lock)).await.unwrap_err();
    assert!(error.to_string().contains("index requests_unfinished is missing"), "{error}");
}

#[tokio::test]
async fn a_missing_table_is_named_without_its_indexes_and_triggers() {
    let mut site = Site::new().await;
    site.sql("DROP TABLE requests").await;
    assert_eq!(flaws(&mut site).await, ["table requests is missing"]);
}
