//! What the service manager is told, as it comes out of its socket.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use certcommit::simulator::Options;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;

use crate::support::{Bench, Process, ids, in_time};

/// As `WatchdogSec=` of a unit would set it, so short that a test needn't wait long.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A service manager that only listens. It does so all the time, as a full socket would hold the daemon up.
struct Manager {
    told: mpsc::UnboundedReceiver<String>,
    path: PathBuf,
}

impl Manager {
    fn new(bench: &Bench) -> Self {
        let path = bench.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut datagram = [0; 4096];
            loop {
                let length = socket.recv(&mut datagram).await.unwrap();
                let lines = std::str::from_utf8(&datagram[..length]).unwrap().lines();
                if lines.map(str::to_owned).any(|line| sender.send(line).is_err()) {
                    return;
                }
            }
        });
        Self { told, path }
    }

    /// Starts a command as a service.
    fn spawn(&self, mut command: Command) -> Process {
        command.env("NOTIFY_SOCKET", &self.path);
        command.env("WATCHDOG_USEC", PATIENCE.as_micros().to_string());
        Process::spawn(command)
    }

    /// What it is told next.
    async fn next(&mut self) -> String {
        in_time("a notification", self.told.recv()).await.expect("it listens all the time")
    }

    /// Waits until it is told a line that is so.
    async fn until(&mut self, what: &str, so: impl Fn(&str) -> bool) {
        let told = async {
            // The watchdog's food comes all the time, so the wait as a whole has to end.
            while !so(&self.next().await) {}
        };
        in_time(what, told).await;
    }

    /// What it has been told and nobody waited for.
    async fn rest(&mut self) -> Vec<String> {
        const LAST: &str = "that is all";
        let own = UnixDatagram::unbound().unwrap();
        own.send_to(LAST.as_bytes(), &self.path).await.unwrap();
        let mut told = Vec::new();
        loop {
            match self.next().await {
                line if line == LAST => return told,
                line => told.push(line),
            }
        }
    }
}

#[tokio::test]
async fn a_daemon_is_ready_once_database_and_credentials_stand_and_not_before() {
    let bench = Bench::new().await;
    let mut manager = Manager::new(&bench);
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let mut daemon = manager.spawn(bench.command(&["run"]));
    daemon.until_event("started").await;
    assert_eq!(manager.rest().await, Vec::<String>::new(), "the database is locked");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(manager.next().await, "READY=1");
    let running: String = bench.value("SELECT mode || ' ' || pid FROM daemon").await;
    assert_eq!(running, format!("running {}", daemon.pid()));
}

#[tokio::test]
async fn a_start_that_fails_was_never_ready() {
    let bench = Bench::new().await;
    let mut manager = Manager::new(&bench);
    let foreign = bench.path("foreign.db");
    std::fs::write(&foreign, "this is no database, but a text that is long enough to look like one").unwrap();
    let with = |variable: &str, value: &OsStr| {
        let mut command = bench.command(&["run"]);
        command.env(variable, value);
        command
    };
    let mut without_credentials = bench.command(&["run"]);
    without_credentials.env_remove("TENCENTCLOUD_SECRET_ID").env_remove("TENCENTCLOUD_SECRET_KEY");
    let starts = [
        ("an unknown key", with("CERTCOMMIT__RATE__SPEED", "9".as_ref()), 78),
        ("a bad value", with("CERTCOMMIT__RATE__PER_SECOND", "21".as_ref()), 78),
        ("no credentials", without_credentials, 78),
        ("a foreign database", with("CERTCOMMIT__DATABASE__PATH", foreign.as_os_str()), 65),
    ];
    for (what, command, code) in starts {
        let (ended, lines) = manager.spawn(command).end().await;
        assert_eq!(ended, Some(code), "{what}: {lines:?}");
        let told = manager.rest().await;
        assert!(!told.iter().any(|line| line == "READY=1"), "{what}: {told:?}");
    }
}

#[tokio::test]
async fn the_status_text_follows_the_work() {
    let bench = Bench::new().await;
    let mut manager = Manager::new(&bench);
    bench.enqueue(&ids(50)).await;
    let _daemon = manager.spawn(bench.command(&["run"]));
    manager.until("the time left", |line| line.starts_with("STATUS=") && line.contains("left")).await;
    manager.until("the end", |line| line.starts_with("STATUS=idle") && line.contains("50 submitted")).await;
    bench.sql("UPDATE control SET paused = 1, pause_reason = 'maintenance at the CA'").await;
    manager
        .until("the pause", |line| line.starts_with("STATUS=paused") && line.contains("maintenance at the CA"))
        .await;
}

#[tokio::test]
async fn the_watchdog_is_fed_while_the_database_is_waited_for() {
    let bench = Bench::new().await;
    let mut manager = Manager::new(&bench);
    let mut daemon = manager.spawn(bench.command(&["run"]));
    manager.until("food for the watchdog", |line| line == "WATCHDOG=1").await;
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    // It meets the lock when its heartbeat is due.
    daemon.until_event("database_unavailable").await;
    manager.rest().await;
    for _ in 0..5 {
        manager.until("food for the watchdog", |line| line == "WATCHDOG=1").await;
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    daemon.until_event("resumed").await;
}

#[tokio::test]
async fn a_stop_is_told_before_what_is_on_the_way_has_ended() {
    let latency = Duration::from_millis(500);
    let bench = Bench::with(Options { latency, ..Options::default() }, &[]).await;
    let mut manager = Manager::new(&bench);
    bench.enqueue(&ids(1)).await;
    let daemon = manager.spawn(bench.command(&["run"]));
    in_time("a commit", bench.simulator.until_commits(1)).await;
    daemon.signal("TERM");
    manager.until("the stop", |line| line == "STOPPING=1").await;
    assert_eq!(bench.row("cert-0001").await.state, "in_flight");
    let (code, _) = daemon.end().await;
    assert_eq!((code, bench.count("submitted").await), (Some(0), 1));
}
