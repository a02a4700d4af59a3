//! Secrets stay in the memory of the process: they are in no log, database, argument, error or core dump.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use certcommit::config::Settings;
use certcommit::daemon::{self, CredentialSource, Stop};
use certcommit::queue::RuntimeDirectories;
use certcommit::simulator::{Fault, Options, ReadFault};
use certcommit::tencent::Credentials;

use crate::support::{Bench, Process, output, text, variable};

const ID: &str = "AKIDCanaryOfTheId5tYx";
const KEY: &str = "CanaryOfTheKeyQ7w9Zx3Rb";
const TOKEN: &str = "CanaryOfTheToken8Lm2Vc";
const CONFIGURATION: i32 = 78;
const UNAVAILABLE: i32 = 69;

/// A bench whose API accepts the canary credentials, with full logging.
async fn canaries(format: &str) -> Bench {
    let options = Options { secret_id: ID.to_owned(), secret_key: KEY.to_owned(), ..Options::default() };
    Bench::with(options, &[("log.level", "trace"), ("log.format", format), ("pause.after", "3")]).await
}

fn with_token(mut command: Command) -> Command {
    command.env("TENCENTCLOUD_TOKEN", TOKEN);
    command
}

fn assert_clean(what: &str, bytes: &[u8], secrets: &[&str]) {
    for secret in secrets {
        let leaked = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!leaked, "{what} has {secret}: {}", String::from_utf8_lossy(bytes));
    }
}

/// Asserts that no file of the bench has a secret: database, write-ahead log, marker, lock.
fn assert_files_clean(bench: &Bench) {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(bench.path("")).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        assert_clean(&text(&entry.path()), &std::fs::read(entry.path()).unwrap(), &[ID, KEY, TOKEN]);
    }
    for name in ["queue.db", "queue.db.lock", "queue.db.mark"] {
        assert!(names.iter().any(|found| found == name), "{name} is among {names:?}");
    }
}

#[tokio::test]
async fn no_secret_is_in_log_database_or_arguments_whatever_happens() {
    for format in ["json", "text"] {
        let bench = canaries(format).await;
        let script = |id: &str, fault: Fault| bench.simulator.script_commits(id, vec![fault]);
        script("refused", Fault::Error("FailedOperation.CertificateInvalid".to_owned()));
        script("signature", Fault::Error("AuthFailure.SignatureFailure".to_owned()));
        script("denied", Fault::Error("UnauthorizedOperation".to_owned()));
        script("cut", Fault::CutAfter);
        script("html", Fault::Html);
        script("bytes", Fault::NotUtf8);
        bench.simulator.script_reads("cut", vec![ReadFault::Cut]);
        bench.enqueue(&["good", "refused", "cut", "html", "bytes", "denied", "signature"]).await;
        let mut daemon = Process::spawn(with_token(bench.command(&["run"])));
        let pid = daemon.pid();
        until_text(&mut daemon, "paused: the API rejects the credentials").await;
        until_text(&mut daemon, "submitted signature").await;
        assert_files_clean(&bench);

        bench.simulator.set_credentials(ID, "anotherKey");
        bench.enqueue(&["revoked"]).await;
        until_text(&mut daemon, "paused: the API rejects the credentials").await;
        bench.simulator.set_credentials(ID, KEY);
        until_text(&mut daemon, "submitted revoked").await;

        bench.simulator.pause_listening().await;
        bench.enqueue(&["unreachable"]).await;
        until_text(&mut daemon, "paused: the API can't be reached").await;
        bench.simulator.resume_listening().await.unwrap();
        until_text(&mut daemon, "submitted unreachable").await;

        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert_clean("the argument list", &arguments, &[ID, KEY, TOKEN]);
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let children = std::fs::read(task.unwrap().path().join("children")).unwrap();
            assert!(children.is_empty(), "no child inherits the environment");
        }
        daemon.signal("TERM");
        let (code, log) = daemon.end().await;
        assert_eq!(code, Some(0));
        assert!(log.len() > 20, "the daemon logged");
        assert_clean("the log", format!("{log:?}").as_bytes(), &[ID, KEY, TOKEN]);
        assert_files_clean(&bench);
    }
}

async fn until_text(daemon: &mut Process, words: &str) {
    daemon.until_line(words, |line| line.to_string().contains(words)).await;
}

#[tokio::test]
async fn no_secret_is_in_the_output_of_commands_even_if_tls_fails() {
    let bench = canaries("json").await;
    bench.enqueue(&["abcd"]).await;
    let tls = bench.simulator.endpoint().replace("http://", "https://");
    let mut refused = with_token(bench.command(&["run", "--until-empty"]));
    refused.env(variable("api.endpoint"), &tls);
    let mut online = with_token(bench.command(&["check", "--online"]));
    online.env(variable("api.endpoint"), &tls);
    for command in [refused, online] {
        let ended = output(command).await;
        assert_eq!(ended.status.code(), Some(UNAVAILABLE), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_clean("standard error", &ended.stderr, &[ID, KEY, TOKEN]);
        assert_clean("standard output", &ended.stdout, &[KEY, TOKEN]);
    }
    for arguments in [&["run", "--until-empty"][..], &["status", "--json"], &["status"], &["history", "abcd"]] {
        let ended = output(with_token(bench.command(arguments))).await;
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        assert_clean(&format!("{arguments:?}"), &[ended.stdout, ended.stderr].concat(), &[ID, KEY, TOKEN]);
    }
    let check = output(with_token(bench.command(&["check", "--online"]))).await;
    assert!(check.status.success());
    assert_clean("check", &[&*check.stdout, &check.stderr].concat(), &[KEY, TOKEN]);
    let stdout = String::from_utf8(check.stdout).unwrap();
    assert!(stdout.contains(&format!("{ID} from the environment")), "the ID identifies the key: {stdout}");
    assert_files_clean(&bench);
}

#[tokio::test]
async fn no_secret_from_the_metadata_service_is_in_log_or_database() {
    for format in ["json", "text"] {
        let mut bench = canaries(format).await;
        bench.set("credentials.source", "cvm-role");
        let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
        metadata.set_lifetime(Duration::from_secs(3));
        bench.enqueue(&["first"]).await;
        let mut command = bench.command_without_credentials(&["run"]);
        command.env("CERTCOMMIT_METADATA", metadata.address().to_string());
        let mut daemon = Process::spawn(command);
        until_text(&mut daemon, "submitted first").await;
        metadata.pause_listening().await;
        until_text(&mut daemon, "paused: the temporary keys expired").await;
        metadata.resume_listening().await.unwrap();
        bench.enqueue(&["second"]).await;
        until_text(&mut daemon, "submitted second").await;
        bench.simulator.outage(Some("AuthFailure.TokenFailure"));
        bench.enqueue(&["third"]).await;
        until_text(&mut daemon, "paused: the API rejects the credentials").await;
        daemon.signal("TERM");
        let (_, log) = daemon.end().await;
        let mut check = bench.command_without_credentials(&["check", "--online"]);
        check.env("CERTCOMMIT_METADATA", metadata.address().to_string());
        let check = output(check).await;
        let given = bench.simulator.temporary_credentials();
        assert!(given.len() >= 3 && log.len() > 10, "{given:?} {log:?}");
        for [id, key, token] in &given {
            assert_clean("the log", format!("{log:?}").as_bytes(), &[id, key, token]);
            assert_clean("standard error", &check.stderr, &[id, key, token]);
            assert_clean("standard output", &check.stdout, &[key, token]);
            for name in ["queue.db", "queue.db-wal", "queue.db.mark", "queue.db.lock"] {
                if let Ok(bytes) = std::fs::read(bench.path(name)) {
                    assert_clean(name, &bytes, &[id, key, token]);
                }
            }
        }
    }
}

#[tokio::test]
async fn no_secret_from_systemd_is_in_log_or_error() {
    let mut bench = canaries("json").await;
    bench.set("credentials.source", "systemd");
    let directory = bench.path("handed-over");
    std::fs::create_dir(&directory).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = bench.command_without_credentials(arguments);
        command.env("CREDENTIALS_DIRECTORY", &directory);
        command
    };
    let write = |name: &str, contents: &str, mode| file(&bench, &format!("handed-over/{name}"), contents, mode);
    write("secret_id", ID, 0o600);
    write("token", TOKEN, 0o600);
    bench.enqueue(&["good"]).await;
    let refused = [
        (KEY, 0o644, "secret_key; run: chmod o-rwx "),
        (&format!("{KEY} {KEY}"), 0o600, "secret_key has characters that a key can't have"),
        (&format!("\"{KEY}\""), 0o600, "secret_key is in quotes; remove them"),
        ("", 0o600, "secret_key is missing"),
    ];
    for (contents, mode, sentence) in refused {
        write("secret_key", contents, mode);
        let ended = output(command(&["run", "--until-empty"])).await;
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(CONFIGURATION), "{stderr}");
        assert!(stderr.contains(sentence) && stderr.lines().count() == 1, "{stderr}");
        assert_clean("the refusal", &[stderr.as_bytes(), &ended.stdout].concat(), &[ID, KEY, TOKEN]);
    }
    write("secret_key", KEY, 0o600);
    let (code, log) = Process::spawn(command(&["run", "--until-empty"])).end().await;
    assert_eq!((code, bench.count("submitted").await), (Some(0), 1));
    assert_clean("the log", format!("{log:?}").as_bytes(), &[ID, KEY, TOKEN]);
}

#[tokio::test]
async fn debug_output_shows_no_secret() {
    let bench = canaries("json").await;
    let found = || Credentials {
        secret_id: ID.to_owned(),
        secret_key: KEY.to_owned().into(),
        token: Some(TOKEN.to_owned().into()),
    };
    let variables =
        [(variable("api.endpoint"), bench.simulator.endpoint()), (variable("database.path"), text(&bench.database()))];
    let settings = Settings::from_text(Path::new("none"), "", variables).unwrap();
    let source = CredentialSource::of(found());
    assert_clean("a source", format!("{source:?}").as_bytes(), &[ID, KEY, TOKEN]);
    assert_clean("credentials", format!("{:?} {:#?}", found(), found()).as_bytes(), &[KEY, TOKEN]);
    let daemon = daemon::start(settings, source, &RuntimeDirectories::default()).await.unwrap();
    assert_clean("a daemon", format!("{daemon:?} {daemon:#?}").as_bytes(), &[KEY, TOKEN]);
    drop(daemon);
    bench.start().await.stop(Stop::Soon).await;
}

/// A file with these contents and this mode.
fn file(bench: &Bench, name: &str, contents: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    let path = bench.path(name);
    std::fs::write(&path, contents).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn with_file(bench: &Bench, arguments: &[&str], path: &Path) -> Command {
    let mut command = bench.bare_command(arguments);
    command.env(variable("database.path"), bench.database()).env(variable("api.endpoint"), bench.simulator.endpoint());
    command.env(variable("credentials.source"), "file").env(variable("credentials.file"), path);
    command
}

#[tokio::test]
async fn credentials_files_of_every_usual_form_are_accepted() {
    let bench = canaries("json").await;
    let lines = ["[default]".to_owned(), format!("secret_id = {ID}"), format!("secret_key={KEY}")];
    let files = [
        file(&bench, "own", lines.join("\n"), 0o600),
        file(&bench, "group", lines.join("\n"), 0o640),
        file(&bench, "crlf", lines.join("\r\n"), 0o400),
        file(&bench, "bom", format!("\u{feff}{}\n", lines.join("\r\n")), 0o600),
    ];
    symlink(&files[0], bench.path("link")).unwrap();
    for path in files.iter().chain([&bench.path("link")]) {
        let checked = output(with_file(&bench, &["check", "--online"], path)).await;
        let printed = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
        assert!(checked.status.success(), "{}: {printed}", path.display());
        assert!(printed.contains(&format!("{ID} from the file ")), "{printed}");
    }
}

#[tokio::test]
async fn an_exposed_or_invalid_credentials_file_is_refused_in_one_line() {
    let bench = canaries("json").await;
    let good = format!("[default]\nsecret_id = {ID}\nsecret_key = {KEY}\n");
    let with = |id: &str, key: &str| format!("[default]\nsecret_id = {id}\nsecret_key = {key}\n");
    let exposed = file(&bench, "exposed", &good, 0o604);
    symlink(&exposed, bench.path("link")).unwrap();
    std::fs::create_dir(bench.path("directory")).unwrap();
    let pipe = bench.path("pipe");
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
    let huge = file(&bench, "huge", &good, 0o600);
    std::fs::OpenOptions::new().write(true).open(&huge).unwrap().set_len(1 << 30).unwrap();
    let cases = [
        (exposed, "every user of this machine can read "),
        (bench.path("link"), "every user of this machine can read "),
        (file(&bench, "writable", &good, 0o602), "run: chmod o-rwx "),
        (bench.path("directory"), "it is not a regular file"),
        (pipe, "it is not a regular file"),
        ("/dev/zero".into(), "it is not a regular file"),
        (huge, "it is longer than 64 KiB"),
        (file(&bench, "bytes", [good.as_bytes(), b"\xff"].concat(), 0o600), "the file is not UTF-8 text"),
        (file(&bench, "quoted", with(ID, &format!("\"{KEY}\"")), 0o600), "secret_key is in quotes; remove them"),
        (file(&bench, "single", with(&format!("'{ID}'"), KEY), 0o600), "secret_id is in quotes; remove them"),
        (
            file(&bench, "spaced", with(ID, &format!("{KEY} {KEY}")), 0o600),
            "secret_key has characters that a key can't have",
        ),
        (
            file(&bench, "escape", with(ID, &format!("{KEY}\u{1b}[2J")), 0o600),
            "secret_key has characters that a key can't have",
        ),
        (file(&bench, "half", format!("[default]\nsecret_key = {KEY}\n"), 0o600), "secret_id is missing"),
        (file(&bench, "section", good.replace("default", "other"), 0o600), "found no credentials"),
    ];
    for (path, sentence) in cases {
        for arguments in [&["run", "--until-empty"], &["check", "--online"]] {
            let ended = output(with_file(&bench, arguments, &path)).await;
            let stderr = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(CONFIGURATION), "{}: {stderr}", path.display());
            assert!(stderr.contains(sentence) && stderr.contains(path.to_str().unwrap()), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert_clean("the refusal", &[stderr.as_bytes(), &ended.stdout].concat(), &[ID, KEY]);
        }
    }
}

#[tokio::test]
async fn core_dumps_are_off_before_anything_secret_is_read() {
    let bench = canaries("json").await;
    let credentials = file(&bench, "credentials", format!("[default]\nsecret_id = {ID}\nsecret_key = {KEY}\n"), 0o600);
    let inner = with_file(&bench, &["check"], &credentials);
    let trace = bench.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=prctl,prlimit64,setrlimit,?open,openat", "-o"]).arg(&trace);
    command.arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    for secret in ["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"] {
        command.env_remove(secret);
    }
    let ended = output(command).await;
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let trace = std::fs::read_to_string(trace).unwrap();
    let line = |what: &str, words: &[&str]| {
        let found = trace.lines().position(|line| words.iter().all(|word| line.contains(word)));
        found.unwrap_or_else(|| panic!("{what} in {trace}"))
    };
    let limit = line("the limit", &["RLIMIT_CORE", "rlim_cur=0, rlim_max=0", "= 0"]);
    let undumpable = line("the kernel's flag", &["PR_SET_DUMPABLE", "SUID_DUMP_DISABLE", "= 0"]);
    let configuration = line("the configuration", &["open", "empty.toml"]);
    let read = line("the credentials", &["open", credentials.to_str().unwrap()]);
    assert!(limit.max(undumpable) < configuration.min(read), "{trace}");
}

#[tokio::test]
async fn a_process_killed_by_a_signal_leaves_no_core_dump() {
    let bench = canaries("json").await;
    let directory = bench.path("working");
    std::fs::create_dir(&directory).unwrap();
    for signal in ["QUIT", "ABRT", "SYS"] {
        let inner = bench.command(&["run"]);
        // A background job of a script ignores SIGQUIT.
        let mut shell = Command::new("env");
        shell.args(["--default-signal", "sh"]);
        // As high as allowed, so that it is certcommit that lowers it.
        shell.args(["-c", r#"ulimit -c "$(ulimit -H -c)"; exec "$0" "$@""#]);
        shell.arg(inner.get_program()).args(inner.get_args()).env_clear();
        shell.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&directory);
        let mut daemon = Process::spawn(shell);
        daemon.until_event("ready").await;
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{limits}");
        daemon.signal(signal);
        let status = daemon.wait().await;
        assert!(status.signal().is_some() && !status.core_dumped(), "{signal}: {status}");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "{signal} left a file");
    }
}
