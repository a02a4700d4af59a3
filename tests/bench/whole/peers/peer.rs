//! The peers: how each is started and fed, and where its queue has the results.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use certcommit::queue::{Opening, Queue};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::site::Site;

/// A queue to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Certcommit,
    Apalis,
    Celery,
    Huey,
    Sdk,
}

/// A peer's settings.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Its name and version.
    pub(super) version: String,
    /// `PRAGMA journal_mode`.
    pub(super) journal: String,
    /// `PRAGMA synchronous`, 0 to 3.
    pub(super) synchronous: u8,
}

impl FromStr for Peer {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let all = [Self::Certcommit, Self::Apalis, Self::Celery, Self::Huey, Self::Sdk];
        all.into_iter().find(|peer| peer.name() == name).ok_or(())
    }
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Certcommit => "certcommit",
            Self::Apalis => "apalis",
            Self::Celery => "celery",
            Self::Huey => "huey",
            Self::Sdk => "sdk",
        }
    }

    /// Longer than the peer ever takes to recover what a dead worker had taken.
    pub(super) fn patience(self) -> Duration {
        Duration::from_secs(match self {
            // It commits what left and has no order only after verify.resend_after, 10 min.
            Self::Certcommit => 660,
            // Two missed heartbeats of 5 s.
            Self::Apalis => 45,
            // Never; as long as the slowest peer.
            Self::Celery | Self::Huey => 90,
            // At once.
            Self::Sdk => 30,
        })
    }

    /// The worker. It runs until it is killed.
    pub(super) fn worker(self, site: &Site) -> Command {
        match self {
            Self::Certcommit => {
                let mut command = site.command(env!("CARGO_BIN_EXE_certcommit"), &["run"]);
                command.env("CERTCOMMIT__DATABASE__PATH", site.path("queue.db"));
                command.env("CERTCOMMIT__API__ENDPOINT", site.server.simulator.endpoint());
                command
            }
            Self::Apalis | Self::Celery | Self::Huey | Self::Sdk => self.program(site, "work"),
        }
    }

    /// A process that enqueues by the peer's own means.
    pub(super) fn feeder(self, site: &Site) -> Command {
        self.program(site, "feed")
    }

    fn program(self, site: &Site, subcommand: &str) -> Command {
        match self {
            Self::Apalis => site.command(apalis(), &[subcommand]),
            Self::Certcommit => python(site, "insert.py", subcommand),
            Self::Celery => python(site, "celery_peer.py", subcommand),
            Self::Huey => python(site, "huey_peer.py", subcommand),
            Self::Sdk => python(site, "sdk.py", subcommand),
        }
    }

    /// Which certificates have a result: a database, and a query.
    fn settled_in(self) -> (&'static str, &'static str) {
        match self {
            Self::Certcommit => (
                "queue.db",
                "SELECT certificate_id FROM submissions WHERE state NOT IN ('pending', 'in_flight', 'in_doubt')",
            ),
            Self::Apalis => (
                "queue.db",
                "SELECT job FROM Jobs
                  WHERE status IN ('Done', 'Killed') OR (status = 'Failed' AND attempts >= max_attempts)",
            ),
            Self::Celery => {
                ("results.db", "SELECT task_id FROM celery_taskmeta WHERE status IN ('SUCCESS', 'FAILURE')")
            }
            Self::Huey => ("queue.db", "SELECT key FROM kv"),
            Self::Sdk => ("queue.db", "SELECT certificate_id FROM certificates WHERE state <> 'pending'"),
        }
    }

    /// Which certificates no worker has taken: a database, and a query.
    fn waiting_in(self) -> (&'static str, &'static str) {
        match self {
            Self::Certcommit => ("queue.db", "SELECT certificate_id FROM submissions WHERE state = 'pending'"),
            Self::Apalis => ("queue.db", "SELECT job FROM Jobs WHERE status = 'Pending' AND lock_by IS NULL"),
            Self::Celery => {
                ("broker.db", "SELECT json_extract(payload, '$.headers.id') FROM kombu_message WHERE visible")
            }
            Self::Huey => ("queue.db", "SELECT data FROM task UNION ALL SELECT data FROM schedule"),
            // It doesn't mark what it has taken.
            Self::Sdk => ("queue.db", "SELECT certificate_id FROM certificates WHERE state = 'pending'"),
        }
    }

    /// The certificates that have a result in the queue.
    pub(super) async fn settled(self, site: &Site) -> HashSet<String> {
        certificates(site, self.settled_in()).await
    }

    /// The certificates that no worker has taken.
    pub(super) async fn waiting(self, site: &Site) -> HashSet<String> {
        certificates(site, self.waiting_in()).await
    }
}

/// `bench-00001`, `bench-00002`, and so on.
pub(super) fn certificate(number: usize) -> String {
    format!("{PREFIX}{number:05}")
}

const PREFIX: &str = "bench-";

/// The certificate in a cell, whatever the peer wraps it in.
fn named_in(cell: &[u8]) -> Option<String> {
    let begin = cell.windows(PREFIX.len()).position(|part| part == PREFIX.as_bytes())?;
    Some(String::from_utf8_lossy(cell.get(begin..begin + PREFIX.len() + 5)?).into_owned())
}

/// Opens and closes a connection for each read, as another process would.
async fn certificates(site: &Site, (file, select): (&str, &'static str)) -> HashSet<String> {
    let options = SqliteConnectOptions::new().filename(site.path(file)).busy_timeout(Duration::from_secs(10));
    let Ok(mut connection) = SqliteConnection::connect_with(&options).await else { return HashSet::new() };
    let select = AssertSqlSafe(format!("WITH cells (cell) AS ({select}) SELECT CAST(cell AS BLOB) FROM cells"));
    let cells: Result<Vec<Vec<u8>>, _> = sqlx::query_scalar(select).fetch_all(&mut connection).await;
    connection.close().await.unwrap();
    match cells {
        Ok(cells) => cells.iter().filter_map(|cell| named_in(cell)).collect(),
        // A peer creates its tables with its first write.
        Err(error) if error.to_string().contains("no such table") => HashSet::new(),
        Err(error) => panic!("{file}: {error}"),
    }
}

/// Whether the install script was run.
pub(super) fn installed() -> bool {
    apalis().exists() && folder().join("venv/bin/python").exists()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-peers")
}

fn apalis() -> PathBuf {
    folder().join("apalis/release/apalis-peer")
}

fn python(site: &Site, program: &str, subcommand: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/peers/python").join(program);
    let mut command = site.command(folder().join("venv/bin/python"), &[path.to_str().unwrap(), subcommand]);
    command.env("PYTHONPYCACHEPREFIX", folder().join("pycache"));
    command
}

/// Creates certcommit's queue. The others create theirs when first used.
pub(super) async fn prepare(peer: Peer, site: &Site) {
    if peer == Peer::Certcommit {
        Queue::open(&site.path("queue.db"), Opening::Create).await.unwrap().close().await.unwrap();
    }
}

/// The peer's settings, from a connection opened as for its work.
pub(super) async fn about(peer: Peer) -> About {
    let site = Site::new(peer, Duration::ZERO).await;
    if peer == Peer::Certcommit {
        let mut connection =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(site.path("queue.db"))).await.unwrap();
        let journal = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        // A connection doesn't show another one's settings; the counted syncs confirm certcommit's.
        return About { version: format!("certcommit {}", env!("CARGO_PKG_VERSION")), journal, synchronous: 2 };
    }
    let output = peer.program(&site, "about").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let fields: Vec<&str> = text.trim().split('\t').collect();
    let [version, journal, synchronous] = fields[..] else {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr))
    };
    About { version: version.to_owned(), journal: journal.to_owned(), synchronous: synchronous.parse().unwrap() }
}
