//! When the daemon notifies the service manager that it is ready, and that it stops. `tests/behavior/monitoring.rs` tests the
//! notifications in between.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use certcommit::simulator::Options;

use crate::support::{Bench, Process, ServiceManager, ids, in_time};

fn spawn(manager: &ServiceManager, mut command: Command) -> Process {
    manager.supervises(&mut command);
    Process::spawn(command)
}

#[tokio::test]
async fn a_daemon_is_ready_once_database_and_credentials_are_available() {
    let bench = Bench::new().await;
    let manager = bench.service_manager();
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let mut daemon = spawn(&manager, bench.command(&["run"]));
    daemon.until_event("started").await;
    assert_eq!(manager.unread_lines().await, Vec::<String>::new(), "the database is locked");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    manager.until_message("READY=1").await;
    let running: String = bench.value("SELECT mode || ' ' || pid FROM daemon").await;
    assert_eq!(running, format!("running {}", daemon.pid()));
}

#[tokio::test]
async fn a_failed_start_is_never_ready() {
    let bench = Bench::new().await;
    let manager = bench.service_manager();
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
        let (ended, lines) = spawn(&manager, command).end().await;
        assert_eq!(ended, Some(code), "{what}: {lines:?}");
        let messages = manager.unread_lines().await;
        assert!(!messages.iter().any(|line| line == "READY=1"), "{what}: {messages:?}");
    }
}

#[tokio::test]
async fn a_stop_is_announced_before_requests_in_flight_have_ended() {
    let latency = Duration::from_millis(500);
    let bench = Bench::with(Options { latency, ..Options::default() }, &[]).await;
    let manager = bench.service_manager();
    bench.enqueue(&ids(1)).await;
    let daemon = spawn(&manager, bench.command(&["run"]));
    in_time("a commit", bench.simulator.until_commits(1)).await;
    daemon.signal("TERM");
    manager.until_message("STOPPING=1").await;
    assert_eq!(bench.row("cert-0001").await.state, "in_flight");
    let (code, _) = daemon.end().await;
    assert_eq!((code, bench.count("submitted").await), (Some(0), 1));
}
