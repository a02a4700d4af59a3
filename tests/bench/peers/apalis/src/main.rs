//! certcommit's work, done with apalis and its SQLite storage.
//!
//! `work` runs the worker. `feed` enqueues the certificates on each line of standard input, then prints `ok`. `about` prints
//! the version and the settings of the database. The environment has BENCH_DATABASE, BENCH_ENDPOINT and the keys.

use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePool, SqliteStorage};
use certcommit::submission::{OutcomeClass, RequestKind};
use certcommit::tencent::{Action, Client, ClientSettings, Credentials};

const QUEUE: &str = "certificates";
const MAX_TRIES: usize = 8;
/// Only polling finds tasks from other processes; the update hook sees only its own process's.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// A worker that misses two is considered dead, and its tasks go to another. The default is 30 s.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// One per 50 ms, rather than twenty per second: its windows are consecutive, so twenty at the end of one and twenty at the
/// start of the next make forty in a sliding second.
const PACE: (u64, Duration) = (1, Duration::from_millis(50));

struct Api {
    client: Client,
    credentials: Credentials,
}

#[tokio::main]
async fn main() -> Result<(), BoxDynError> {
    let options = SqliteConnectOptions::new().filename(variable("BENCH_DATABASE")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await?;
    SqliteStorage::setup(&pool).await?;
    let config = Config::default().queue(QUEUE).heartbeat_interval(HEARTBEAT).missed_heartbeats(2);
    let storage = SqliteStorage::<String>::new(&pool).with_config(config);
    match std::env::args().nth(1).as_deref() {
        Some("work") => work(storage).await,
        Some("feed") => feed(storage).await,
        Some("about") => about(&pool).await,
        _ => Err("usage: apalis-peer work|feed|about".into()),
    }
}

async fn work(storage: SqliteStorage<String>) -> Result<(), BoxDynError> {
    // A unique name: a dead worker holds its name until its heartbeat is missed.
    let worker = WorkerBuilder::new(format!("worker-{}", std::process::id()))
        .backend(storage.poll_with_interval(POLL_INTERVAL))
        .data(Arc::new(api()?))
        .rate_limit(PACE.0, PACE.1)
        .build(commit);
    Ok(worker.run().await?)
}

/// A task that returns an error is retried through the queue, and so within the limit. The retry layer, which retries in
/// place, would bypass the limit.
async fn commit(certificate_id: String, api: Data<Arc<Api>>) -> Result<String, BoxDynError> {
    let id = certificate_id.parse().map_err(AbortError::new)?;
    let outcome = api.client.request(RequestKind::Commit, &api.credentials, &id, None, |_| {}).await.outcome;
    match outcome.class {
        OutcomeClass::Submitted => Ok(outcome.order_id.unwrap_or_default()),
        OutcomeClass::Retry | OutcomeClass::BackendError | OutcomeClass::Throttled | OutcomeClass::NotSent => {
            Err(outcome.why().to_string().into())
        }
        _ => Err(AbortError::new(format!("{outcome:?}")).into()),
    }
}

async fn feed(mut storage: SqliteStorage<String>) -> Result<(), BoxDynError> {
    for line in std::io::stdin().lock().lines() {
        let tasks =
            line?.split(' ').map(|id| TaskBuilder::new(id.to_owned()).max_attempts(MAX_TRIES).build()).collect();
        storage.push_all(futures::stream::iter::<Vec<_>>(tasks)).await?;
        println!("ok");
    }
    Ok(())
}

/// The storage's `setup` sets `synchronous` on only one connection of the pool; the others keep SQLite's default. A worker is
/// only as safe as its least safe connection, so this prints the lowest value.
async fn about(pool: &SqlitePool) -> Result<(), BoxDynError> {
    // Connections return to the pool shortly after their use.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut connections = Vec::new();
    for _ in 0..pool.size() {
        connections.push(pool.acquire().await?);
    }
    let (mut journal, mut lowest) = (String::new(), i64::MAX);
    for connection in &mut connections {
        journal = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection).await?;
        lowest = lowest.min(sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection).await?);
    }
    println!("apalis-sqlite 1.0.0\t{journal}\t{lowest}");
    Ok(())
}

fn api() -> Result<Api, BoxDynError> {
    let settings = ClientSettings {
        proxy: None,
        endpoint: variable("BENCH_ENDPOINT"),
        commit_action: Action::Commit,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(30),
        language: "en-US".to_owned(),
    };
    let credentials = Credentials {
        secret_id: variable("TENCENTCLOUD_SECRET_ID"),
        secret_key: variable("TENCENTCLOUD_SECRET_KEY").into(),
        token: None,
    };
    Ok(Api { client: Client::new(settings)?, credentials })
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}
