//! The test bench: a queue in a temporary directory, a simulator of the API, and a daemon between them. All test programs
//! share it.

#![allow(dead_code, unused_imports, reason = "each test program uses its part of it")]

mod api_thread;
mod certificate_authority;
mod connect_proxy;
mod fake_clock;
mod fault_proxy;
mod in_process_daemon;
mod journal;
mod kill_points;
mod metrics_client;
mod network_distance;
mod process;
mod repeated_commits;
mod resource_usage;
mod service_manager;
pub(crate) mod signals;
mod small_disk;
mod socks_proxy;
mod strace;
mod test_size;
mod timer_lateness;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use api_thread::ApiThread;
use certcommit::config::{Settings, VARIABLE_PREFIX};
use certcommit::queue::{Opening, Queue};
use certcommit::simulator::{Arrival, Options, Simulator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::runtime::EnterGuard;

pub(crate) use certificate_authority::Authority;
pub(crate) use connect_proxy::{ConnectProxy, TunnelReply};
pub(crate) use fault_proxy::{Act, Answer, FaultProxy, Greeting, Reply, ReplyScript};
pub(crate) use in_process_daemon::{Running, in_time, within};
pub(crate) use journal::Journal;
pub(crate) use kill_points::{Call, MARKER, Point};
pub(crate) use metrics_client::{bench_with_metrics, get};
pub(crate) use network_distance::Distance;
pub(crate) use process::{Process, event_of, output};
pub(crate) use resource_usage::{peak_memory_kb, processor_time};
pub(crate) use service_manager::ServiceManager;
pub(crate) use small_disk::SmallDisk;
pub(crate) use socks_proxy::SocksProxy;
pub(crate) use strace::Injection;
pub(crate) use test_size::{bench_size, new_seed, seed, test_size};
pub(crate) use timer_lateness::lateness;

/// Short waits for tests. Due times are whole seconds, so each wait is rounded up to the next second.
const SHORT: [(&str, &str); 7] = [
    ("verify.settle", "50ms"),
    ("verify.resend_after", "300ms"),
    ("retry.initial_backoff", "10ms"),
    ("retry.max_backoff", "50ms"),
    ("pause.probe_initial", "200ms"),
    ("pause.probe_max", "400ms"),
    ("api.connect_timeout", "2s"),
];

/// A row of the table `submissions`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) certificate_id: String,
    pub(crate) state: String,
    pub(crate) tries: i64,
    pub(crate) order_id: Option<String>,
    pub(crate) status: Option<i64>,
    pub(crate) request_id: Option<String>,
    pub(crate) error_code: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) resolved_by: Option<String>,
}

/// A queue, a simulator, and the settings of the daemons that a test starts.
pub(crate) struct Bench {
    pub(crate) simulator: Simulator,
    directory: TempDir,
    /// Where daemons that are processes keep their departure markers, in memory.
    runtime: TempDir,
    settings: Vec<(String, String)>,
    /// The thread of the simulator, if it isn't the test's own.
    thread: Option<ApiThread>,
}

impl Bench {
    /// A bench with an API without faults.
    pub(crate) async fn new() -> Self {
        Self::with(Options::default(), &[]).await
    }

    /// A bench with these options of the simulator, and these settings in addition to the short waits.
    pub(crate) async fn with(options: Options, settings: &[(&str, &str)]) -> Self {
        let simulator = Simulator::start(options).await.unwrap();
        Self::around(simulator, None, &[&SHORT, settings].concat()).await
    }

    /// A bench for measurements: with default settings except these, and a simulator on its own thread, so that other work in
    /// this process doesn't delay it.
    pub(crate) async fn to_measure_at(options: Options, settings: &[(&str, &str)]) -> Self {
        let thread = ApiThread::start();
        let simulator = thread.run(Simulator::start(options)).await.unwrap();
        Self::around(simulator, Some(thread), settings).await
    }

    async fn around(simulator: Simulator, thread: Option<ApiThread>, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tempfile::tempdir_in("/dev/shm").unwrap();
        std::fs::write(directory.path().join("empty.toml"), "").unwrap();
        let settings = settings.iter().map(|(key, value)| (variable(key), (*value).to_owned())).collect();
        let bench = Self { simulator, directory, runtime, settings, thread };
        Queue::open(&bench.database(), Opening::Create).await.unwrap().close().await.unwrap();
        bench
    }

    /// The simulator's thread, if it has one. Tasks and sockets that are created while the guard exists belong to it.
    pub(crate) fn beside_the_api(&self) -> Option<EnterGuard<'_>> {
        self.thread.as_ref().map(ApiThread::enter)
    }

    /// Changes a setting for daemons that start later.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.push((variable(key), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("queue.db")
    }

    /// The departure marker of the database that is there now.
    pub(crate) fn departure_marker(&self) -> PathBuf {
        let database = std::fs::metadata(self.database()).unwrap();
        self.runtime.path().join(format!("{:x}-{:x}.departures", database.dev(), database.ino()))
    }

    /// The environment variables with the bench's settings. A later value replaces an earlier one.
    fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let own = [
            (variable("api.endpoint"), self.simulator.endpoint()),
            (variable("database.path"), text(&self.database())),
            (variable("log.format"), "json".to_owned()),
        ];
        own.into_iter().chain(self.settings.iter().cloned())
    }

    fn load_settings(&self) -> Settings {
        let variables: std::collections::BTreeMap<String, String> = self.variables().collect();
        Settings::load(Some(&self.path("empty.toml")), variables).unwrap()
    }

    /// Runs statements on a new connection, as an operator would.
    pub(crate) async fn sql(&self, statements: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Enqueues certificates in one statement.
    pub(crate) async fn enqueue(&self, ids: &[impl AsRef<str>]) {
        let values: Vec<String> = ids.iter().map(|id| format!("('{}')", id.as_ref())).collect();
        self.sql(&format!("INSERT INTO submissions (certificate_id) VALUES {}", values.join(", "))).await;
    }

    /// All rows, in the order of enqueueing.
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let mut connection = self.connect().await;
        let rows = sqlx::query_as(
            "SELECT certificate_id, state, tries, order_id, status, request_id, error_code, reason, resolved_by
               FROM submissions ORDER BY id",
        );
        let rows = rows.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows
    }

    /// The row of one certificate.
    pub(crate) async fn row(&self, id: &str) -> Row {
        self.rows().await.into_iter().find(|row| row.certificate_id == id).expect("it was enqueued")
    }

    /// The result of a query with one row and one column.
    pub(crate) async fn value<T>(&self, query: &'static str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
    {
        let mut connection = self.connect().await;
        let value = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        value
    }

    /// A new connection, as an operator's client opens one.
    pub(crate) async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(self.database())).await.unwrap()
    }

    /// How many rows are in a state.
    pub(crate) async fn count(&self, state: &str) -> usize {
        self.rows().await.iter().filter(|row| row.state == state).count()
    }

    /// Asserts that every row is submitted, with the order that the API has, and that the order was placed once.
    pub(crate) async fn assert_each_submitted_once(&self, ids: &[impl AsRef<str>]) {
        let rows = self.rows().await;
        for id in ids.iter().map(AsRef::as_ref) {
            let row = rows.iter().find(|row| row.certificate_id == id).expect("no row is lost");
            assert_eq!(row.state, "submitted", "{row:?}");
            assert_eq!(row.order_id, self.simulator.order_id(id), "{row:?}");
            assert_eq!(self.simulator.orders_placed(id), 1, "{row:?}");
        }
    }

    /// Asserts that each commit that arrived is on record, and that none was repeated without the reads that this requires: by
    /// the record, and by the simulator's arrivals.
    pub(crate) async fn assert_nothing_resent_blindly(&self) {
        let repeats: i64 = self
            .value(
                "SELECT count(*) FROM requests later JOIN requests earlier USING (certificate_id)
                  WHERE later.kind = 'commit' AND earlier.kind = 'commit' AND earlier.number < later.number
                    AND coalesce(earlier.outcome, 'in_doubt') NOT IN ('throttled', 'account', 'not_sent')
                    AND CASE coalesce(earlier.outcome, 'in_doubt') WHEN 'in_doubt' THEN 2 ELSE 1 END > (SELECT count(*) FROM requests r WHERE r.certificate_id = later.certificate_id
                                AND r.outcome = 'not_committed' AND r.number BETWEEN earlier.number AND later.number)",
            )
            .await;
        assert_eq!(repeats, 0, "each repeated commit follows the negative reads that it requires");
        self.assert_each_repeat_explained().await;
    }
}

/// A filter for arrivals with this answer.
pub(crate) fn got(answer: &str) -> impl Fn(&Arrival) -> bool + '_ {
    move |arrival| arrival.answer == answer
}

/// `cert-0001`, `cert-0002`, and so on.
pub(crate) fn ids(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("cert-{number:04}")).collect()
}

/// The environment variable of a configuration key.
pub(crate) fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("temporary paths are text").to_owned()
}
