//! Credentials come from the configured source and are renewed in time. Without any, the daemon waits.

use std::future::ready;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certcommit::cause::Cause;
use certcommit::daemon::{CredentialSource, Stop};
use certcommit::simulator::{Fault, MetadataService, Options};
use certcommit::submission::State;
use certcommit::tencent::{Credentials, CredentialsError, Found, Source};

use crate::support::{Bench, Process, event_of, got, ids, in_time, output, text};

const UNAVAILABLE: i32 = 69;
const REVOKED: &str = "AuthFailure.SecretIdNotFound";
const DENIED: &str = "FailedOperation.AuthError";
/// Longer than any test, so that no probe ends a pause.
const NEVER: &str = "720h";

/// A bench with this source of credentials, whose daemon doesn't probe by itself.
async fn bench(source: &str) -> Bench {
    let settings = [("credentials.source", source), ("pause.probe_initial", NEVER), ("pause.probe_max", NEVER)];
    Bench::with(Options::default(), &settings).await
}

fn write(path: &Path, contents: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, contents).unwrap();
    std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o400)).unwrap();
    std::fs::rename(&next, path).unwrap();
}

/// Writes the vendor's file with credentials of this name.
fn write_file(bench: &Bench, name: &str) -> PathBuf {
    let path = bench.path("credentials");
    write(&path, &format!("[default]\nsecret_id = {name}-id\nsecret_key = {name}-key\n"));
    path
}

/// Writes systemd's directory with credentials of this name.
fn write_directory(bench: &Bench, name: &str) -> PathBuf {
    let directory = bench.path("handed-over");
    std::fs::create_dir_all(&directory).unwrap();
    write(&directory.join("secret_id"), &format!("{name}-id\n"));
    write(&directory.join("secret_key"), &format!("{name}-key\n"));
    directory
}

fn accept(bench: &Bench, name: &str) {
    bench.simulator.set_credentials(&format!("{name}-id"), &format!("{name}-key"));
}

fn with_metadata(mut command: Command, metadata: &MetadataService) -> Command {
    command.env("CERTCOMMIT_METADATA", metadata.address().to_string());
    command
}

fn refused(bench: &Bench, code: &str) -> usize {
    bench.simulator.commits().iter().filter(|commit| got(code)(commit)).count()
}

/// Stops a daemon once all of these are submitted, each at its first try.
async fn finish(bench: &Bench, mut daemon: Process, ids: &[String]) {
    let done = daemon.seen().iter().filter(|line| event_of(line) == "submitted").count();
    for _ in done..ids.len() {
        daemon.until_event("submitted").await;
    }
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    bench.assert_each_submitted_once(ids).await;
    assert!(bench.rows().await.iter().all(|row| row.tries == 1), "no try is spent on credentials");
}

#[tokio::test]
async fn while_the_metadata_service_is_down_the_daemon_is_ready_and_paused() {
    let bench = bench("cvm-role").await;
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    metadata.pause_listening().await;
    let ids = ids(5);
    bench.enqueue(&ids).await;
    let mut daemon = Process::spawn(with_metadata(bench.command_without_credentials(&["run"]), &metadata));
    daemon.until_event("ready").await;
    let paused = daemon.until_event("paused").await;
    assert_eq!(paused["cause"], "no_credentials");
    let why = paused["why"].as_str().unwrap();
    let start = "there are no credentials: the machine's role is unavailable: http://";
    assert!(why.starts_with(start) && why.contains("can't be reached"), "{why}");
    assert!(bench.simulator.arrivals().is_empty());
    metadata.resume_listening().await.unwrap();
    daemon.until_event("resumed").await;
    finish(&bench, daemon, &ids).await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "no request was wasted");
}

#[tokio::test]
async fn without_credentials_nothing_is_claimed_and_the_database_says_why() {
    let bench = bench("cvm-role").await;
    let available = Arc::new(AtomicBool::new(false));
    let (secret_id, secret_key) = bench.simulator.credentials();
    let credentials = Credentials { secret_id, secret_key: secret_key.into(), token: None };
    let is_available = Arc::clone(&available);
    let source = CredentialSource::new(move || {
        ready(match is_available.load(Ordering::SeqCst) {
            true => Ok(Found::lasting(credentials.clone(), Source::Caller)),
            false => Err(CredentialsError::Unreachable("it is down".to_owned())),
        })
    });
    let ids = ids(5);
    bench.enqueue(&ids).await;
    let mut daemon = bench.start_with(source).await;
    let cause = daemon.until_paused().await;
    assert!(cause.code() == "no_credentials" && cause.to_string().ends_with("it is down"), "{cause}");
    let (mode, why): (String, String) =
        (bench.value("SELECT mode FROM daemon").await, bench.value("SELECT why FROM daemon").await);
    assert_eq!((mode.as_str(), why), ("paused_by_fault", cause.to_string()));
    let (code, parameters): (String, String) =
        (bench.value("SELECT why_code FROM daemon").await, bench.value("SELECT why_parameters FROM daemon").await);
    assert_eq!(Cause::from_parts(&code, Some(&parameters)), Some(cause));
    bench.enqueue(&["one-more"]).await;
    daemon.until_count(State::Pending, 6).await;
    assert!(bench.rows().await.iter().all(|row| row.state == "pending" && row.tries == 0));
    available.store(true, Ordering::SeqCst);
    daemon.until_count(State::Submitted, 6).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn a_run_until_empty_does_not_wait_for_a_metadata_service_that_is_down() {
    let bench = bench("cvm-role").await;
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    metadata.pause_listening().await;
    bench.enqueue(&ids(2)).await;
    let (code, _) =
        Process::spawn(with_metadata(bench.command_without_credentials(&["run", "--until-empty"]), &metadata))
            .end()
            .await;
    assert_eq!((code, bench.count("pending").await), (Some(UNAVAILABLE), 2));
}

#[tokio::test]
async fn temporary_credentials_are_renewed_without_a_refused_request() {
    let bench = bench("cvm-role").await;
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    // They are renewed five minutes before they expire.
    metadata.set_lifetime(Duration::from_secs(302));
    let ids = ids(60);
    bench.enqueue(&ids).await;
    let daemon = Process::spawn(with_metadata(bench.command_without_credentials(&["run"]), &metadata));
    finish(&bench, daemon, &ids).await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "no request was refused");
    let used = bench.simulator.temporary_credentials_used();
    assert!(used >= 2, "{used} credentials were used within three seconds");
}

#[tokio::test]
async fn expired_temporary_credentials_pause_the_queue_until_there_are_new_ones() {
    let bench = bench("cvm-role").await;
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    metadata.set_lifetime(Duration::from_secs(3));
    let mut daemon = Process::spawn(with_metadata(bench.command_without_credentials(&["run"]), &metadata));
    daemon.until_event("ready").await;
    metadata.pause_listening().await;
    let paused = daemon.until_event("paused").await;
    assert_eq!(paused["cause"], "credentials_expired");
    let ids = ids(5);
    bench.enqueue(&ids).await;
    metadata.set_lifetime(Duration::from_secs(3600));
    metadata.resume_listening().await.unwrap();
    daemon.until_event("resumed").await;
    finish(&bench, daemon, &ids).await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "nothing was sent with expired credentials");
}

#[tokio::test]
async fn claims_made_while_the_credentials_expire_are_given_back_and_cost_no_try() {
    let bench = bench("cvm-role").await;
    // No result causes a batch before the credentials expire.
    bench.simulator.set_latency(Duration::from_secs(5), Duration::ZERO);
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    metadata.set_lifetime(Duration::from_secs(6));
    let ids = ids(60);
    bench.enqueue(&ids).await;
    let mut daemon = Process::spawn(with_metadata(bench.command_without_credentials(&["run"]), &metadata));
    daemon.until_event("ready").await;
    metadata.pause_listening().await;
    in_time("commits", bench.simulator.until_commits(4)).await;
    // The next batch, which would claim, waits for the lock until the credentials have expired.
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    daemon.until_event("paused").await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    in_time("claims given back", async {
        while bench.count("in_flight").await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let sent = bench.simulator.commits().len();
    assert!(sent < ids.len(), "the credentials expired midway");
    bench.simulator.set_latency(Duration::ZERO, Duration::ZERO);
    metadata.set_lifetime(Duration::from_secs(3600));
    metadata.resume_listening().await.unwrap();
    daemon.until_event("resumed").await;
    finish(&bench, daemon, &ids).await;
    // On a busy machine, one may exceed the limit by a little, and is repeated.
    let answered = bench.simulator.commits().iter().filter(|commit| !got("RequestLimitExceeded")(commit)).count();
    assert_eq!(answered, ids.len(), "nothing was sent twice, or with expired credentials");
}

#[tokio::test]
async fn replaced_credentials_are_noticed_after_a_refusal() {
    let mut bench = bench("file").await;
    bench.set("credentials.file", &text(&write_file(&bench, "first")));
    accept(&bench, "second");
    let ids = ids(5);
    bench.enqueue(&ids).await;
    let mut daemon = Process::spawn(bench.command_without_credentials(&["run"]));
    let paused = daemon.until_event("paused").await;
    assert!(paused["why"].as_str().unwrap().contains(REVOKED), "{paused}");
    write_file(&bench, "second");
    daemon.until_event("resumed").await;
    finish(&bench, daemon, &ids).await;
}

#[tokio::test]
async fn replaced_credentials_are_noticed_after_a_missing_permission() {
    let mut bench = bench("file").await;
    bench.set("credentials.file", &text(&write_file(&bench, "first")));
    accept(&bench, "first");
    let ids = ids(12);
    ids.iter().for_each(|id| bench.simulator.script_commits_forever(id, Fault::Error(DENIED.to_owned())));
    bench.enqueue(&ids).await;
    let mut daemon = Process::spawn(bench.command_without_credentials(&["run"]));
    let paused = daemon.until_event("paused").await;
    assert!(paused["why"].as_str().unwrap().contains(DENIED), "{paused}");
    accept(&bench, "second");
    ids.iter().for_each(|id| bench.simulator.clear_scripts(id));
    write_file(&bench, "second");
    daemon.until_event("resumed").await;
    assert_eq!(refused(&bench, REVOKED), 0, "it probes with the new credentials");
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
}

#[tokio::test]
async fn credentials_replaced_during_an_operators_pause_are_used_from_the_first_request() {
    let mut bench = bench("file").await;
    bench.set("credentials.file", &text(&write_file(&bench, "first")));
    accept(&bench, "first");
    bench.sql("UPDATE control SET paused = 1, pause_reason = 'new keys'").await;
    let ids = ids(5);
    bench.enqueue(&ids).await;
    let mut daemon = Process::spawn(bench.command_without_credentials(&["run"]));
    daemon.until_event("paused").await;
    accept(&bench, "second");
    write_file(&bench, "second");
    bench.sql("UPDATE control SET paused = 0").await;
    finish(&bench, daemon, &ids).await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "nothing was sent with the previous credentials");
}

#[tokio::test]
async fn refused_credentials_that_need_a_restart_say_so() {
    let bench = bench("systemd").await;
    let directory = write_directory(&bench, "first");
    bench.enqueue(&ids(2)).await;
    let mut command = bench.command_without_credentials(&["run"]);
    command.env("CREDENTIALS_DIRECTORY", directory);
    let mut daemon = Process::spawn(command);
    let paused = daemon.until_event("paused").await;
    assert!(paused["why"].as_str().unwrap().contains(REVOKED), "{paused}");
    let message = paused["message"].as_str().unwrap();
    assert!(message.ends_with("that systemd hands over, then: systemctl restart certcommit"), "{message}");
    accept(&bench, "first");
    bench.sql("UPDATE control SET probe_requested = 1").await;
    daemon.until_event("resumed").await;
    finish(&bench, daemon, &ids(2)).await;
}

/// What `check` prints about the credentials.
async fn credentials_checked(command: Command) -> String {
    let ended = output(command).await;
    let (stdout, stderr) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "{stderr}");
    let lines = stdout
        .lines()
        .skip_while(|line| !line.starts_with("credentials"))
        .take_while(|line| !line.starts_with("clock"));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn check_says_which_credentials_it_found_and_which_providers_had_none() {
    let mut bench = Bench::new().await;
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    let home = bench.path("home").join(".tencentcloud/credentials");
    let indent = " ".repeat(15);
    let not_systemd = format!("{indent}not from systemd: $CREDENTIALS_DIRECTORY is not set");
    let not_environment = format!("{indent}not from the environment: TENCENTCLOUD_SECRET_ID is not set");
    let check = |bench: &Bench| with_metadata(bench.command_without_credentials(&["check"]), &metadata);

    let found = credentials_checked(check(&bench)).await;
    let lines: Vec<&str> = found.lines().collect();
    let role = "credentials    SimulatedTmpId0001Tx7Qw9 from the machine's role certs, good for another 5 h 59 min";
    let not_home = format!("{indent}not from the file {}: there is no such file", home.display());
    let not_etc = format!("{indent}not from the file /etc/tencentcloud/credentials: there is no such file");
    let tool = bench.path("home").join(".tccli/default.credential");
    let not_tool = format!("{indent}not from the file {}: there is no such file", tool.display());
    assert_eq!(lines, [role, &not_systemd, &not_environment, &not_home, &not_etc, &not_tool]);

    let login = format!(
        r#"{{"type": "oauth", "secretId": "tool-id", "secretKey": "k", "token": "t", "expiresAt": {}}}"#,
        certcommit::clock::now().unix.seconds() + 7230
    );
    std::fs::create_dir_all(tool.parent().unwrap()).unwrap();
    std::fs::write(&tool, login).unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o600)).unwrap();
    let found = credentials_checked(check(&bench)).await;
    let from_tool =
        format!("credentials    tool-id from the file {}, profile default, good for another 2 h 0 min", tool.display());
    assert_eq!(found.lines().collect::<Vec<_>>(), [&from_tool, &not_systemd, &not_environment, &not_home, &not_etc]);

    let file = write_file(&bench, "mine");
    bench.set("credentials.file", &text(&file));
    let found = credentials_checked(check(&bench)).await;
    let from_file = format!("credentials    mine-id from the file {}, profile default", file.display());
    assert_eq!(found.lines().collect::<Vec<_>>(), [&from_file, &not_systemd, &not_environment]);

    let mut command = check(&bench);
    command.env("TENCENTCLOUD_SECRET_ID", "my-id").env("TENCENTCLOUD_SECRET_KEY", "my-key");
    let found = credentials_checked(command).await;
    let from_environment = "credentials    my-id from the environment";
    assert_eq!(found.lines().collect::<Vec<_>>(), [from_environment, &not_systemd]);

    let directory = write_directory(&bench, "handed");
    let mut command = check(&bench);
    command.env("TENCENTCLOUD_SECRET_ID", "my-id").env("TENCENTCLOUD_SECRET_KEY", "my-key");
    command.env("CREDENTIALS_DIRECTORY", &directory);
    let found = credentials_checked(command).await;
    assert_eq!(found, format!("credentials    handed-id from systemd's directory {}", directory.display()));
    assert_eq!(bench.simulator.temporary_credentials().len(), 1, "later sources aren't tried");
}

#[tokio::test]
async fn check_exits_with_69_while_the_metadata_service_is_down() {
    let bench = bench("cvm-role").await;
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    metadata.pause_listening().await;
    let ended = output(with_metadata(bench.command_without_credentials(&["check"]), &metadata)).await;
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(UNAVAILABLE), "{stderr}");
    assert!(stderr.contains("can't be reached") && stderr.lines().count() == 1, "{stderr}");
}

#[tokio::test]
async fn the_configured_role_is_used() {
    let mut bench = bench("cvm-role").await;
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    let check = |bench: &Bench| output(with_metadata(bench.command_without_credentials(&["check"]), &metadata));
    bench.set("credentials.role", "others");
    let ended = in_time("check", check(&bench)).await;
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(
        ended.status.code() == Some(78) && stderr.contains("says that this machine has no role others"),
        "{stderr}"
    );
    bench.set("credentials.role", "certs");
    assert!(in_time("check", check(&bench)).await.status.success());
}
