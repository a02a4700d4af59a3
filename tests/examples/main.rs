//! Runs the examples of `deploy/examples` as an operator would: each enqueues by SQL, waits, and prints the results. The tests of
//! a missing language fail (`.ci/run` installs the languages on Debian).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use certcommit::clock;
use certcommit::daemon::Stop;
use certcommit::simulator::Fault;
use support::{Bench, output, text};
use tempfile::TempDir;

#[path = "../support/mod.rs"]
mod support;

/// How long the examples wait for other writers.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Its quote would end an SQL string literal.
const REFERENCE: &str = "o'brien-2026-11";
/// Where Debian keeps the driver for Java.
const JAVA_DRIVER: &str = "/usr/share/java/sqlite-jdbc.jar";
/// Where Debian keeps the packages for Go.
const GO_PACKAGES: &str = "/usr/share/gocode";

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(name)
}

/// A program, and the arguments before the example's own.
struct Example {
    program: PathBuf,
    before: Vec<String>,
    /// Where it was built, if it needed building.
    _built: Option<TempDir>,
}

impl Example {
    fn script(program: &str, options: &[&str], name: &str) -> Self {
        let options = options.iter().map(|option| (*option).to_owned());
        Self { program: program.into(), before: options.chain([text(&example(name))]).collect(), _built: None }
    }

    fn shell() -> Self {
        Self::script("sh", &[], "enqueue.sh")
    }

    fn python() -> Self {
        Self::script("python3", &[], "enqueue.py")
    }

    fn php() -> Self {
        Self::script("php", &[], "enqueue.php")
    }

    fn java() -> Self {
        assert!(Path::new(JAVA_DRIVER).exists(), "{JAVA_DRIVER} is missing (the package libxerial-sqlite-jdbc-java)");
        Self::script("java", &["-cp", JAVA_DRIVER], "Enqueue.java")
    }

    /// Built with Debian's packages. The build cache is kept.
    fn go() -> Self {
        let built = tempfile::tempdir().unwrap();
        let program = built.path().join("enqueue");
        let mut build = Command::new("go");
        build.arg("build").arg("-o").arg(&program).arg(example("enqueue.go"));
        build.env("GO111MODULE", "off").env("GOPATH", GO_PACKAGES);
        build.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"));
        let compiled = build.output().unwrap_or_else(|error| panic!("go: {error}; .ci/run names the package"));
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Self { program, before: Vec::new(), _built: Some(built) }
    }

    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let program = self.program.display();
        let lookup = Command::new("sh").args(["-c", "command -v \"$0\""]).arg(&self.program).output().unwrap();
        assert!(lookup.status.success(), "{program} is not installed; .ci/run names the package");
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(arguments);
        let Output { status, stdout, stderr } = output(command).await;
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

async fn enqueues_and_prints_the_results(example: Example) {
    let bench = Bench::new().await;
    let queue = text(&bench.database());
    bench.simulator.script_commits("bad", vec![Fault::Error("FailedOperation.CertificateNotFound".to_owned())]);
    let daemon = bench.start().await;
    let arguments = [queue.as_str(), REFERENCE, "good", "bad"];
    let (code, stdout, stderr) = example.run(&arguments).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let order = bench.simulator.order_id("good").unwrap();
    let good = format!("good|submitted|{order}|information submitted, pending confirmation letter upload|");
    let expected = format!("{good}\nbad|failed|||FailedOperation.CertificateNotFound\n");
    assert_eq!(stdout, expected);
    assert_eq!(example.run(&arguments).await, (Some(0), expected, String::new()), "enqueueing again is harmless");
    daemon.stop(Stop::Soon).await;
    assert_eq!(bench.simulator.commits().len(), 2, "nothing was sent again");
}

async fn reports_a_refused_row_and_enqueues_nothing(example: Example) {
    let bench = Bench::new().await;
    let queue = text(&bench.database());
    let (code, stdout, stderr) = example.run(&[&queue, REFERENCE, "good", "not an id", "fine"]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("certificate_id must be text of 1 to 64 characters of A-Z a-z 0-9 _ -"), "{stderr}");
    assert_eq!(bench.rows().await, []);
}

async fn waits_for_other_writers_and_then_gives_up_without_a_change(example: Example) {
    let bench = Bench::new().await;
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let since = clock::now().instant;
    let (code, _, stderr) = example.run(&[&text(&bench.database()), REFERENCE, "good"]).await;
    let waited = clock::now().instant.duration_since(since);
    assert!(code == Some(1) && stderr.contains("locked"), "{code:?}: {stderr}");
    assert!(waited >= BUSY_TIMEOUT, "it gave up after {waited:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(bench.rows().await, []);
}

async fn creates_no_missing_queue_and_prints_its_usage(example: Example) {
    let bench = Bench::new().await;
    let nowhere = bench.path("nowhere.db");
    let (code, _, stderr) = example.run(&[&text(&nowhere), REFERENCE, "good"]).await;
    assert!(code == Some(1) && !stderr.is_empty(), "{code:?}: {stderr}");
    assert!(!nowhere.exists());
    let (code, _, stderr) = example.run(&[&text(&bench.database())]).await;
    assert!(code == Some(2) && stderr.contains("QUEUE.DB REFERENCE CERTIFICATE_ID…"), "{code:?}: {stderr}");
}

/// The tests of one language.
macro_rules! language {
    ($language:ident) => {
        mod $language {
            use super::Example;

            #[tokio::test]
            async fn enqueues_and_prints_the_results() {
                super::enqueues_and_prints_the_results(Example::$language()).await;
            }

            #[tokio::test]
            async fn reports_a_refused_row_and_enqueues_nothing() {
                super::reports_a_refused_row_and_enqueues_nothing(Example::$language()).await;
            }

            #[tokio::test]
            async fn waits_for_other_writers_and_then_gives_up_without_a_change() {
                super::waits_for_other_writers_and_then_gives_up_without_a_change(Example::$language()).await;
            }

            #[tokio::test]
            async fn creates_no_missing_queue_and_prints_its_usage() {
                super::creates_no_missing_queue_and_prints_its_usage(Example::$language()).await;
            }
        }
    };
}

language!(shell);
language!(python);
language!(php);
language!(go);
language!(java);
