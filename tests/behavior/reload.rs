//! A reload applies new settings while requests are in flight. A bad file changes nothing.

use std::time::Duration;

use certcommit::simulator::{Options, worst_second};
use tokio::time::Instant;

use crate::support::{Bench, Process, ids, in_time, text};

const GUARD: &str = "[rate]\nguard = \"150ms\"\n";

/// A bench with a slow API.
async fn bench() -> Bench {
    let latency = Duration::from_millis(300);
    Bench::with(Options { latency, rate_limit: None, ..Options::default() }, &[]).await
}

impl Bench {
    /// Writes the configuration file.
    pub(crate) fn configure(&self, toml: &str) {
        std::fs::write(self.path("empty.toml"), toml).unwrap();
    }

    /// Reloads, and returns the log line about it.
    pub(crate) async fn reload(&self, daemon: &mut Process, toml: &str) -> serde_json::Value {
        self.configure(toml);
        daemon.signal("HUP");
        daemon.until_event("reloaded").await
    }
}

#[tokio::test]
async fn a_new_rate_applies_at_once_and_loses_no_request() {
    let bench = bench().await;
    bench.configure(GUARD);
    let ids = ids(50);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(12)).await;
    let line = bench.reload(&mut daemon, &format!("{GUARD}per_second = 4\n[log]\nlevel = \"debug\"\n")).await;
    let slower_from = certcommit::clock::now().instant;
    assert_eq!(line["changed"], "rate.per_second from \"20\" to \"4\", log.level from \"info\" to \"debug\"");
    assert!(line["level"] == "INFO" && line["restart_needed"].is_null(), "{line}");
    let sent = bench.simulator.commits().len();
    in_time("slow commits", bench.simulator.until_commits(sent + 7)).await;
    let slow: Vec<Instant> = bench.simulator.commit_times().into_iter().filter(|at| *at > slower_from).collect();
    assert!(worst_second(&slow) <= 4, "{} in one second", worst_second(&slow));
    bench.reload(&mut daemon, GUARD).await;
    in_time("all orders", bench.simulator.until_orders(ids.len())).await;
    daemon.signal("TERM");
    let (code, _) = daemon.end().await;
    assert_eq!(code, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "each was sent once");
    assert!(worst_second(&bench.simulator.commit_times()) <= 20);
}

#[tokio::test]
async fn a_bad_file_is_rejected_and_the_previous_settings_stay() {
    let bench = bench().await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    for (bad, named) in [("[rate]\nper_second = 21\n", "`rate.per_second` is 21"), ("rate.", "isn't valid TOML")] {
        let line = bench.reload(&mut daemon, bad).await;
        assert_eq!(line["level"], "ERROR", "{line}");
        assert!(line["error"].as_str().unwrap().contains(named), "{line}");
        assert!(line["message"].as_str().unwrap().contains("Keeping the previous settings"), "{line}");
    }
    bench.enqueue(&["abcb1234"]).await;
    in_time("its order", bench.simulator.until_orders(1)).await;
    // Nothing has changed compared with the previous settings.
    let line = bench.reload(&mut daemon, "").await;
    assert!(line["level"] == "INFO" && line["changed"].is_null(), "{line}");
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named_and_unchanged() {
    let bench = bench().await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let line = bench.reload(&mut daemon, "[api]\nlanguage = \"zh-CN\"\n[pause]\nafter = 7\n").await;
    assert_eq!(line["restart_needed"], "api.language from \"en-US\" to \"zh-CN\"");
    assert_eq!(line["changed"], "pause.after from \"5\" to \"7\"");
}

#[tokio::test]
async fn a_new_proxy_needs_a_restart_and_its_password_is_not_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = bench().await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    let toml = "[api]\nproxy = \"http://user:Zx9Zx9@proxy.example:3128\"\n";
    let public = bench.reload(&mut daemon, toml).await;
    let error = public["error"].as_str().unwrap();
    assert!(error.starts_with("`api.proxy` has a user or a password in ") && !error.contains("Zx9Zx9"), "{error}");
    std::fs::set_permissions(bench.path("empty.toml"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let line = bench.reload(&mut daemon, toml).await;
    assert_eq!(line["restart_needed"], "api.proxy from \"environment\" to \"http://***@proxy.example:3128\"");
    let other = bench.reload(&mut daemon, &toml.replace("Zx9Zx9", "Zx9Zx8")).await;
    assert_eq!(other["restart_needed"], line["restart_needed"], "it is compared with the settings in force");
}

#[tokio::test]
async fn replaced_credentials_are_used_at_once_and_end_the_pause() {
    let mut bench = bench().await;
    let file = bench.path("keys");
    bench.set("credentials.source", "file");
    bench.set("credentials.file", &text(&file));
    // The daemon doesn't probe by itself during the test.
    bench.set("pause.probe_initial", "10h");
    bench.set("pause.probe_max", "20h");
    let write = |secret_key: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let (secret_id, _) = bench.simulator.credentials();
        std::fs::write(&file, format!("[default]\nsecret_id = {secret_id}\nsecret_key = {secret_key}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("aWrongKey");
    let ids = ids(3);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("paused").await;
    write(&bench.simulator.credentials().1);
    bench.reload(&mut daemon, "").await;
    in_time("all orders", bench.simulator.until_orders(3)).await;
    daemon.signal("TERM");
    daemon.end().await;
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn the_service_manager_is_notified_when_a_reload_begins_and_ends() {
    let bench = bench().await;
    let manager = bench.service_manager();
    let mut command = bench.command(&["run"]);
    manager.supervises(&mut command);
    let daemon = Process::spawn(command);
    manager.until_message("READY=1").await;
    for toml in ["", "not TOML at all"] {
        bench.configure(toml);
        daemon.signal("HUP");
        let message = manager.until_message("RELOADING=1").await;
        let since = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(since.is_some_and(|usec| usec.parse::<u64>().is_ok()), "{message}");
        manager.until_message("READY=1").await;
    }
    daemon.signal("TERM");
    manager.until_message("STOPPING=1").await;
    daemon.end().await;
}
