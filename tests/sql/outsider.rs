//! A user with an SQL shell.

use certcommit::queue::{Opening, Queue};
use certcommit::submission::State;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use tempfile::TempDir;

/// Every way to write an INSERT.
pub(crate) const INSERTS: [&str; 7] = [
    "INSERT",
    "INSERT OR IGNORE",
    "INSERT OR REPLACE",
    "REPLACE",
    "INSERT OR FAIL",
    "INSERT OR ABORT",
    "INSERT OR ROLLBACK",
];
/// Every way to write an UPDATE.
pub(crate) const UPDATES: [&str; 6] =
    ["UPDATE", "UPDATE OR IGNORE", "UPDATE OR REPLACE", "UPDATE OR FAIL", "UPDATE OR ABORT", "UPDATE OR ROLLBACK"];

/// A plain connection to a queue that certcommit made.
pub(crate) struct Outsider {
    connection: SqliteConnection,
    _directory: TempDir,
}

impl Outsider {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        Queue::open(&path, Opening::Create).await.unwrap().close().await.unwrap();
        let connection = SqliteConnectOptions::new().filename(&path).foreign_keys(false).connect().await.unwrap();
        Self { connection, _directory: directory }
    }

    /// Runs statements, and returns how many rows they changed.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<u64, String> {
        let result = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        result.map(|done| done.rows_affected()).map_err(|error| match error.as_database_error() {
            Some(error) => error.message().to_owned(),
            None => error.to_string(),
        })
    }

    /// Runs statements that must succeed.
    pub(crate) async fn must(&mut self, sql: &str) -> u64 {
        match self.run(sql).await {
            Ok(changed) => changed,
            Err(sentence) => panic!("{sql}: {sentence}"),
        }
    }

    /// Runs a statement that must be refused with a sentence that contains this fragment, and must change nothing.
    pub(crate) async fn refused(&mut self, sql: &str, fragment: &str) {
        let before = self.dump().await;
        let sentence = self.run(sql).await.expect_err(sql);
        assert!(sentence.contains(fragment), "{sql}: refused with {sentence:?}, which doesn't contain {fragment:?}");
        assert!(!sentence.contains("constraint failed"), "{sql}: {sentence:?} is SQLite's sentence");
        assert_eq!(before, self.dump().await, "{sql}: refused, but something changed");
    }

    /// All rows, each as its values as text, joined by bars.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await.unwrap();
        let text = |row: &sqlx::sqlite::SqliteRow| {
            let columns = (0..row.len()).map(|column| {
                let value = row.try_get_raw(column).unwrap();
                row.try_get_unchecked::<Option<String>, _>(column).map_or_else(
                    |_| format!("{:?}", sqlx::ValueRef::type_info(&value)),
                    |text| text.unwrap_or_else(|| "NULL".to_owned()),
                )
            });
            columns.collect::<Vec<_>>().join("|")
        };
        rows.iter().map(text).collect()
    }

    /// The one row of a query.
    pub(crate) async fn one(&mut self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.concat()
    }

    /// Every row of every table, with the types of its values.
    pub(crate) async fn dump(&mut self) -> String {
        let mut dump = String::new();
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> '_sqlx_migrations' ORDER BY name";
        for table in self.rows(tables).await {
            let columns = self.rows(&format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let quoted: Vec<_> = columns.iter().map(|column| format!("quote({column})")).collect();
            let rows = self.rows(&format!("SELECT {} FROM {table} ORDER BY 1", quoted.join(", "))).await;
            dump += &format!("{table}\n{}\n", rows.join("\n"));
        }
        dump
    }

    /// Enqueues a certificate.
    pub(crate) async fn enqueue(&mut self, id: &str) {
        self.must(&format!("INSERT INTO submissions (certificate_id) VALUES ('{id}')")).await;
    }

    /// Records a request, as certcommit does before it sends one.
    pub(crate) async fn request(&mut self, id: &str, kind: &str) {
        self.must(&format!(
            "INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at) VALUES ('{id}', '{kind}', 'run', 0, 0)"
        ))
        .await;
    }

    /// Completes the request in flight.
    pub(crate) async fn complete(&mut self, id: &str, outcome: &str) {
        let changed = self
            .must(&format!(
                "UPDATE requests SET finished_at = 1, outcome = '{outcome}' WHERE certificate_id = '{id}' AND finished_at IS NULL"
            ))
            .await;
        assert_eq!(changed, 1, "{id} has no request in flight");
    }

    /// Records a commit, and sets its row in flight.
    pub(crate) async fn claim(&mut self, id: &str) {
        self.request(id, "commit").await;
        self.must(&format!("UPDATE submissions SET state = 'in_flight' WHERE certificate_id = '{id}'")).await;
    }

    /// Records a commit with its outcome, and leaves its row in flight.
    pub(crate) async fn commit(&mut self, id: &str, outcome: &str) {
        self.claim(id).await;
        self.complete(id, outcome).await;
    }

    /// Records a readback with its outcome.
    pub(crate) async fn read(&mut self, id: &str, outcome: &str) {
        self.request(id, "read").await;
        self.complete(id, outcome).await;
    }

    /// Tries to move a row as certcommit or an operator would, with what the new state needs.
    pub(crate) async fn shift(&mut self, id: &str, to: State, resolved_by: &str) -> Result<u64, String> {
        self.run(&moving(id, to, resolved_by)).await
    }

    /// Creates a row in this state, by the transitions that lead there.
    pub(crate) async fn in_state(&mut self, id: &str, state: State) {
        self.enqueue(id).await;
        let row = format!("WHERE certificate_id = '{id}'");
        let result = "tries = 1, error_code = 'Code', error_message = 'message', request_id = 'r', reason = 'why'";
        match state {
            State::Pending => {}
            State::InFlight => self.claim(id).await,
            State::InDoubt | State::Held => {
                self.commit(id, "in_doubt").await;
                self.must(&format!("UPDATE submissions SET state = 'in_doubt', status = 13, {result} {row}")).await;
            }
            State::Submitted => {
                self.commit(id, "submitted").await;
                let set = "state = 'submitted', tries = 1, order_id = 'SO1', status = 4, resolved_by = 'reply'";
                self.must(&format!("UPDATE submissions SET {set} {row}")).await;
            }
            State::Failed => {
                self.commit(id, "failed").await;
                self.must(&format!("UPDATE submissions SET state = 'failed', {result} {row}")).await;
            }
            State::Canceled => {
                self.must(&format!("UPDATE submissions SET state = 'canceled', reason = 'why' {row}")).await;
            }
        }
        if state == State::Held {
            self.must(&format!("UPDATE submissions SET state = 'held', order_id = 'SO1' {row}")).await;
        }
        assert_eq!(self.state(id).await, state.as_str());
    }

    /// The state of a row.
    pub(crate) async fn state(&mut self, id: &str) -> String {
        self.one(&format!("SELECT state FROM submissions WHERE certificate_id = '{id}'")).await
    }

    /// A queue with a row in every state, named after it.
    pub(crate) async fn with_every_state() -> Self {
        let mut outsider = Self::new().await;
        for state in State::ALL {
            outsider.in_state(state.as_str(), state).await;
        }
        outsider
    }

    /// Compares the stored counts with the rows.
    pub(crate) async fn check_counts(&mut self) {
        let stored = self.rows("SELECT state, count FROM state_counts WHERE count <> 0 ORDER BY state").await;
        let counted = self.rows("SELECT state, count(*) FROM submissions GROUP BY state ORDER BY state").await;
        assert_eq!(stored, counted);
        assert_eq!(self.one("SELECT count(*) FROM state_counts").await, "7");
    }
}

/// The statement that moves a row.
pub(crate) fn moving(id: &str, to: State, resolved_by: &str) -> String {
    let more = match to {
        State::Submitted => format!(", order_id = 'SO1', resolved_by = '{resolved_by}'"),
        State::Pending | State::InFlight | State::InDoubt | State::Failed | State::Held | State::Canceled => {
            String::new()
        }
    };
    format!("UPDATE submissions SET state = '{to}'{more} WHERE certificate_id = '{id}'")
}
