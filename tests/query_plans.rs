//! No statement of the daemon or the commands scans a table that grows, whatever happens. The test captures the statements as
//! they run, and explains them on the same database. Only the `sqlite3` shell shows the plans of the triggers that they fire,
//! so these need the feature `foreign-tools`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use certcommit::cause::{PauseCause, RowCause};
use certcommit::clock;
use certcommit::config::Settings;
use certcommit::daemon::Stop;
use certcommit::queue::{
    BatchRequest, ClaimLimits, Completed, Departures, FollowCursor, NewSubmission, Opening, Queue, Resolution, Run,
    Selection,
};
use certcommit::simulator::{Fault, ReadFault};
use certcommit::submission::{Event, Policy, Standing, State, VerifyPolicy, next_state};
use sqlx::{AssertSqlSafe, Connection as _};
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use support::Bench;

/// Tables and intermediate results that have few rows however long the queue is.
const SMALL: [&str; 19] = [
    "incidents",
    "control",
    "daemon",
    "insert_guard",
    "state_counts",
    "status_codes",
    "sqlite_sequence",
    "sqlite_master",
    "pragma_schema_version",
    "pragma_table_info",
    "_sqlx_migrations",
    "states",
    "codes",
    "priorities",
    "found",
    "CONSTANT",
    "(subquery",
    "json_each",
    "jsonb_each",
];

/// The index that only has entries for requests in flight.
const UNFINISHED_REQUESTS: &str = "USING INDEX requests_unfinished";

/// Searches of all rows in a state, possibly most of the queue.
const WHOLE_STATE: [&str; 2] = ["INDEX submissions_state (state=?)", "INDEX submissions_due (state=?)"];

/// Statements that read only the first row of a state, or have to change all of them.
const MAY_SEARCH_STATE: [&str; 3] = [
    "SELECT min(id) FROM submissions WHERE state = ",
    "WHERE (state = 'pending')",
    "EXISTS (SELECT 1 FROM submissions WHERE",
];

/// The rule of `state_counts` counts the rows of a state, but only for a correction, not for a change by one.
const COUNTING_RULE: &str = "-SEARCH submissions USING COVERING INDEX submissions_state (state=?)";

/// There are no more rows in flight than requests in flight, so these may be searched.
const IN_FLIGHT: &str = "WHERE s.state = 'in_flight'";

/// Statements that may sort, by a part of their text, and how little they sort.
const MAY_SORT: [(&str, &str); 6] = [
    ("min(r.number) AS first", "the 500 requests that a pruning step examines"),
    ("ORDER BY 3, id LIMIT 1", "three rows"),
    ("RECURSIVE codes(code)", "50 error codes"),
    ("AS words, verify_type", "10,000 rows with one error code"),
    ("FROM json_each(?) ORDER BY key", "500 new submissions, in the order of their file"),
    ("AS ago, count(*)", "the requests of half an hour"),
];

/// Files and folders of `src/queue` whose statements have to read whole tables, and why.
const MAY_READ_ALL: [(&str, &str); 9] = [
    ("tests", "not part of the program"),
    ("backup.rs", "copies and checks the whole database"),
    ("failures.rs", "groups everything that failed, for an operator who corrects it"),
    ("integrity.rs", "checks the whole database"),
    ("repair.rs", "repairs the whole database, without a daemon"),
    ("schema", "compares the whole schema, and rebuilds tables of it"),
    ("report.rs", "reads the whole queue for a report, a page at a time"),
    ("staging.rs", "has a temporary database of its own, and looks each of its certificates up in the queue"),
    ("state_counts.rs", "recounts where the stored counts are wrong"),
];
const VERBS: [&str; 5] = ["SELECT ", "WITH ", "INSERT ", "UPDATE ", "DELETE "];

/// The statements that this process has run since it began to capture them.
static CAPTURED: Mutex<Option<BTreeSet<String>>> = Mutex::new(None);

struct Capture;

impl<S: tracing::Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        let Statement { summary, full } = statement;
        // A short statement is only in the summary.
        let text = if full.is_empty() { summary } else { full };
        if let Some(captured) = CAPTURED.lock().unwrap().as_mut() {
            captured.extend(statements(&text));
        }
    }
}

#[derive(Default)]
struct Statement {
    summary: String,
    full: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.full),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// The statements of a text, each on one line.
fn statements(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Rows and requests that the rules would reject, but that a daemon can find at its start: those of a killed daemon, malformed
/// and old ones, and a certificate with more readbacks than evidence considers.
const LEFTOVERS: &str = "
    INSERT INTO submissions (certificate_id, verify_type) VALUES ('malformed', 'NONE');
    INSERT INTO submissions (certificate_id, state) VALUES ('killed', 'in_flight'), ('killed-read', 'in_doubt'),
      ('old', 'canceled'), ('long', 'in_doubt');
    UPDATE state_counts SET count = (SELECT count(*) FROM submissions s WHERE s.state = state_counts.state);
    INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at, finished_at, outcome) VALUES
      ('killed', 'commit', 'before', 0, 0, NULL, NULL), ('killed-read', 'commit', 'before', 0, 0, 1, 'in_doubt'),
      ('killed-read', 'read', 'before', 0, 0, NULL, NULL), ('old', 'commit', 'before', 0, 0, 1, 'throttled'),
      ('old', 'commit', 'before', 0, 0, 1, 'failed'), ('long', 'commit', 'before', 0, 0, 1, 'in_doubt');
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
      INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at, finished_at, outcome)
      SELECT 'long', 'read', 'before', 0, 0, 1, 'retry' FROM n";

/// Enough rows with a backend error to hide others.
const UNREAD: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
      INSERT INTO submissions (certificate_id, due_at) SELECT 'unread-' || i, 0 FROM n;
    INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at)
      SELECT certificate_id, 'commit', 'before', 0, 0 FROM submissions WHERE certificate_id GLOB 'unread-*';
    UPDATE requests SET finished_at = 1, outcome = 'backend_error' WHERE finished_at IS NULL";

/// SQLite plans with its statistics of the tables: first none, then those of ANALYZE, which anyone may run.
const NO_STATISTICS: &str = "";
const STATISTICS: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
      INSERT INTO submissions (certificate_id, priority, due_at) SELECT 'c' || i, i % 4, 1700000000 + i FROM n;
    UPDATE submissions SET state = 'in_doubt' WHERE id % 3 = 0 AND state = 'pending';
    ANALYZE";

async fn bench() -> Bench {
    let bench = Bench::new().await;
    let mut connection = bench.connect().await;
    let rules: Vec<(String, String)> = sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let drop: Vec<String> = rules.iter().map(|(name, _)| format!("DROP TRIGGER {name};")).collect();
    let make: Vec<String> = rules.into_iter().map(|(_, sql)| format!("{sql};")).collect();
    bench.sql(&format!("{} {LEFTOVERS}; {}", drop.concat(), make.concat())).await;
    bench
}

fn run() -> Run {
    Run { id: "this".to_owned(), started: clock::now() }
}

/// Runs a daemon through the faults that make it run each of its statements.
async fn daemon_at_work(bench: &Bench, queue: &mut Queue) {
    let error = |code: &str| vec![Fault::Error(code.to_owned())];
    bench.simulator.script_commits("lost", vec![Fault::CutAfter]);
    bench.simulator.script_commits("busy", error("FailedOperation.NetworkError"));
    bench.simulator.script_commits("refused", error("FailedOperation.CertificateInvalid"));
    bench.simulator.script_commits("backend", error("InternalError.BackendResponseError"));
    bench.simulator.script_commits("throttled", error("RequestLimitExceeded"));
    let unreadable = ["unreadable-1", "unreadable-2", "unreadable-3"];
    for id in unreadable {
        bench.simulator.script_commits(id, vec![Fault::CutAfter]);
        bench.simulator.script_reads_forever(id, ReadFault::Error("FailedOperation.CertificateNotFound".to_owned()));
    }
    let ids = ["plain", "lost", "busy", "refused", "backend", "throttled"].iter().chain(&unreadable);
    let mut batch: Vec<NewSubmission> = ids.map(|id| submission(id)).collect();
    // A due time of 0 is valid, too.
    batch[0].due_at = Some(0);
    queue.enqueue(&batch).await.unwrap();
    let mut daemon = bench.start().await;
    queue.set_paused(None).await.unwrap();
    // The malformed row stays pending.
    let ends = [(State::Pending, 1), (State::Canceled, 1), (State::Held, 3), (State::Failed, 1), (State::Submitted, 8)];
    daemon
        .until("all submissions to end", |progress| ends.map(|(state, _)| (state, progress.counts.of(state))) == ends)
        .await;
    daemon.stop(Stop::Soon).await;
    // Don't capture the test's own statements.
    let captured = CAPTURED.lock().unwrap().take();
    bench.sql("DELETE FROM submissions WHERE certificate_id = 'malformed'").await;
    *CAPTURED.lock().unwrap() = captured;
}

fn submission(id: &str) -> NewSubmission {
    let certificate_id = id.parse().unwrap();
    NewSubmission { certificate_id, verify_type: None, priority: 1, due_at: None, reference: Some(id.to_owned()) }
}

/// Runs what the commands do, and what a daemon rarely does.
async fn commands_and_rare_work(queue: &mut Queue) {
    let id = |text: &str| text.parse().unwrap();
    for (text, resolution) in [
        ("unreadable-1", Resolution::Submitted("SO1".to_owned())),
        ("unreadable-2", Resolution::Failed),
        ("unreadable-3", Resolution::Pending),
    ] {
        assert!(queue.resolve(&id(text), &resolution).await.unwrap());
    }
    let ids = Selection::Ids(vec![id("unreadable-3")]);
    assert_eq!(queue.shift(&ids, &[State::Pending], State::Canceled, None).await.unwrap().moved, 1);
    let code = Selection::With { error_code: Some("FailedOperation.CertificateInvalid".to_owned()), reference: None };
    assert_eq!(queue.shift(&code, &[State::Failed], State::Pending, None).await.unwrap().moved, 1);
    let reference = Selection::With { error_code: None, reference: Some("refused".to_owned()) };
    assert_eq!(queue.shift(&reference, &[State::Pending], State::Canceled, None).await.unwrap().moved, 1);
    assert_eq!(queue.shift(&Selection::All, &[State::Pending], State::Canceled, None).await.unwrap().moved, 0);
    assert_eq!(queue.shift(&Selection::All, &[State::Pending], State::InDoubt, None).await.unwrap().moved, 0);
    assert!(queue.readbacks_since(0).await.unwrap().all() > 0);
    queue.status(clock::now().unix.seconds()).await.unwrap();
    follow(queue).await;
    queue.oldest_open().await.unwrap();
    queue.sqlite_version().await.unwrap();
    queue.submission(&id("plain")).await.unwrap().expect("it is in the queue");
    assert!(queue.history(&id("long")).await.unwrap().len() >= 504);
    queue.follow_clock(clock::now()).await.unwrap();
    let run = run();
    queue.begin_run(&run).await.unwrap();
    let now = clock::now();
    assert!(queue.prune(&run, now, &VERIFY, now.unix, 0).await.unwrap().deleted > 0);
    let newest = queue.newest_request().await.unwrap();
    let cause = PauseCause::RestoredBehind { newest, made: newest };
    queue.pause_restored(&cause.into(), newest).await.unwrap();
    assert!(queue.last_run().await.unwrap().is_some());
    let policy = Settings::from_text("none".as_ref(), "", []).unwrap().policy();
    queue.recover(&run, now, &[], &Departures::default(), &policy).await.unwrap();
    complete_again(queue, &run, &policy).await;
}

/// Follows the certificates whose order stands.
async fn follow(queue: &mut Queue) {
    let later = clock::now().unix.plus(Duration::from_secs(60));
    queue.adopt(&mut FollowCursor::default(), Duration::ZERO, later).await.unwrap();
    let followed = queue.due_to_follow(later, 100).await.unwrap().remove(0);
    let look = followed.seen(Some(0), None, Duration::from_secs(600), later);
    queue.record_looks(&[look], later).await.unwrap();
    queue.follow_clock_back(clock::now().unix).await.unwrap();
    assert_eq!(queue.count_standing(&[Standing::Underway]).await.unwrap(), [(Standing::Underway, 1)]);
}

/// Runs the batch that follows one that failed and may have landed.
async fn complete_again(queue: &mut Queue, run: &Run, policy: &Policy) {
    queue.set_paused(None).await.unwrap();
    queue.enqueue(&[submission("again")]).await.unwrap();
    let now = clock::now();
    let limits = ClaimLimits { commits: 1, ..ClaimLimits::default() };
    let claiming = BatchRequest { limits, ..BatchRequest::new(*policy) };
    let claim = queue.batch(run, now, 0, &claiming).await.unwrap().claims.remove(0);
    let event = Event::Returned(RowCause::ClaimLost);
    let change = next_state(&claim.row, claim.kind, &event, policy, 0.0);
    let (outcome, finished, duration) = (event.outcome(claim.kind), now.unix, Duration::ZERO);
    let result = Completed { claim, outcome, http_status: None, sent: now, finished, duration, change };
    let recording = BatchRequest { results: vec![result], reconcile: Some(Vec::new()), ..BatchRequest::new(*policy) };
    queue.batch(run, now, 0, &recording).await.unwrap();
}

const VERIFY: VerifyPolicy = VerifyPolicy { settle: Duration::ZERO, resend_after: Duration::ZERO };

/// Runs a batch in which rows that wait for a readback hide a row that can be sent.
async fn postpone_rows(bench: &Bench, queue: &mut Queue) {
    // Don't capture the test's own statements.
    let captured = CAPTURED.lock().unwrap().take();
    bench.sql(UNREAD).await;
    bench.sql(AHEAD).await;
    *CAPTURED.lock().unwrap() = captured;
    let behind = NewSubmission { priority: 0, ..submission("behind") };
    queue.enqueue(&[behind]).await.unwrap();
    let policy = Settings::from_text("none".as_ref(), "", []).unwrap().policy();
    let limits = ClaimLimits { commits: 9, ..ClaimLimits::default() };
    let request = BatchRequest { limits, ..BatchRequest::new(Policy { verify: VERIFY, ..policy }) };
    let run = run();
    queue.begin_run(&run).await.unwrap();
    queue.batch(&run, clock::now(), 0, &request).await.unwrap();
    assert_eq!(queue.follow_clock(clock::now()).await.unwrap(), 0, "a trigger refuses it");
}

/// A row that was written while the clock was ahead, and that a trigger freezes.
const AHEAD: &str = "
    INSERT INTO submissions (certificate_id, due_at, updated_at) VALUES ('ahead', 9000000000, 9100000000);
    CREATE TRIGGER frozen BEFORE UPDATE ON submissions WHEN OLD.certificate_id = 'ahead' BEGIN SELECT RAISE(ABORT, 'no'); END";

/// The source files below a directory, except those that may read everything.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let may_read_all = |path: &Path| MAY_READ_ALL.iter().any(|(name, _)| path.ends_with(Path::new("queue").join(name)));
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !may_read_all(path));
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The statements in the sources.
fn statements_in_sources() -> BTreeSet<String> {
    let queue = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queue");
    assert!(MAY_READ_ALL.iter().all(|(name, why)| queue.join(name).exists() && !why.is_empty()));
    let sources = sources(&queue).into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let code = sources.map(|source| source.split("#[cfg(test)]").next().unwrap().to_owned());
    let literals = code.flat_map(|code| code.split('"').map(str::to_owned).collect::<Vec<_>>());
    let statements = literals.flat_map(|literal| statements(&literal).collect::<Vec<_>>());
    statements.filter(|statement| VERBS.iter().any(|verb| statement.starts_with(verb))).collect()
}

/// Whether a line of a statement's plan is a step that takes longer in a longer queue.
fn is_slow(line: &str, statement: &str) -> bool {
    let scanned = line.split("SCAN ").nth(1);
    let small = |what: &str| SMALL.iter().any(|small| what.starts_with(small)) || what.contains(UNFINISHED_REQUESTS);
    let may_sort = MAY_SORT.iter().any(|(fragment, _)| statement.contains(fragment));
    let sorts = line.contains("TEMP B-TREE") && !may_sort;
    let searches_state = WHOLE_STATE.iter().any(|index| line.contains(index))
        && !statement.contains(IN_FLIGHT)
        && !line.contains(COUNTING_RULE)
        && !MAY_SEARCH_STATE.iter().any(|fragment| statement.contains(fragment));
    scanned.is_some_and(|what| !small(what)) || sorts || searches_state || line.contains("AUTOMATIC")
}

/// The plan by the SQLite that is linked in.
async fn plan(bench: &Bench, statement: &str) -> Vec<String> {
    let mut connection = bench.connect().await;
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    plan.into_iter().map(|(_, _, _, line)| line).collect()
}

/// The plans of a statement and of the triggers that it fires, by the shell's SQLite: the linked one doesn't show triggers.
fn plans_with_triggers(bench: &Bench, statement: &str) -> Vec<String> {
    // SQLite before 3.51 has no jsonb_each, and before 3.45 no jsonb_extract; the functions for JSON text have the same plans.
    let explain = format!("EXPLAIN QUERY PLAN {};", statement.replace("jsonb_", "json_"));
    let shell = Command::new("sqlite3").arg(bench.database()).args([".dbconfig trigger_eqp on", &explain]).output();
    let shell = shell.unwrap_or_else(|error| panic!("sqlite3: {error}"));
    assert!(shell.status.success(), "{statement}: {shell:?}");
    String::from_utf8(shell.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn no_statement_scans_a_table_that_grows() {
    let only = Targets::new().with_target("sqlx::query", LevelFilter::DEBUG);
    let subscriber = tracing_subscriber::registry().with(Capture.with_filter(only));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let bench = bench().await;
    let mut queue = Queue::open(&bench.database(), Opening::Existing).await.unwrap();
    // The schema to compare with is created in memory the first time, before capturing begins.
    assert!(queue.flaws().await.unwrap().is_empty());
    *CAPTURED.lock().unwrap() = Some(BTreeSet::new());
    daemon_at_work(&bench, &mut queue).await;
    commands_and_rare_work(&mut queue).await;
    postpone_rows(&bench, &mut queue).await;
    queue.close().await.unwrap();
    let captured = CAPTURED.lock().unwrap().take().unwrap();

    let never_run: Vec<String> = statements_in_sources()
        .into_iter()
        .filter(|statement: &String| !captured.iter().any(|run| run.contains(statement)))
        .collect();
    assert!(never_run.is_empty(), "these were never run: {never_run:#?}");
    let mut slow = Vec::new();
    for statistics in [NO_STATISTICS, STATISTICS] {
        bench.sql(statistics).await;
        for statement in captured.iter().filter(|captured| VERBS.iter().any(|verb| captured.starts_with(verb))) {
            let mut plan = plan(&bench, statement).await;
            if cfg!(feature = "foreign-tools") {
                plan.extend(plans_with_triggers(&bench, statement));
            }
            // The plan of a statement that empties a small table is empty, too.
            let has_no_plan = statement.contains(" VALUES (") || statement.ends_with("DELETE FROM incidents");
            assert!(!plan.is_empty() || has_no_plan, "{statement}");
            let lines: Vec<String> = plan.into_iter().filter(|line| is_slow(line, statement)).collect();
            if !lines.is_empty() {
                slow.push((statement, lines));
            }
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
    for (fragment, what) in MAY_SORT {
        assert!(captured.iter().any(|statement| statement.contains(fragment)), "no statement sorts {what}");
    }
}
