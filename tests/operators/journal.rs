//! Under systemd, the log goes to the journal, and the recipes of `docs/LOGGING.md` work. Needs systemd's journal, `jq`, the
//! `sqlite3` shell, and user namespaces.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

use certcommit::simulator::{Fault, ReadFault};

use crate::support::{Bench, Journal, Process, output, signals};

const LOG_PAGE: &str = include_str!("../../docs/LOGGING.md");

/// The shell commands of the page's questions, in order.
fn recipes() -> Vec<String> {
    let (_, section) = LOG_PAGE.split_once("\n## Questions\n").expect("there is such a section");
    let (section, _) = section.split_once("\n## ").expect("it is not the last one");
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split_once("```").expect("a block ends").0.to_owned()).collect()
}

/// Waits until a shell command succeeds.
async fn until(journal: &Journal, bench: &Bench, condition: &str) {
    let script = format!("for try in {{1..600}}; do if {condition}; then exit; fi; sleep 0.1; done; exit 1");
    assert!(output(journal.shell(bench, &script)).await.status.success(), "{condition}");
}

async fn answer(journal: &Journal, bench: &Bench, script: &str) -> String {
    let answer = output(journal.shell(bench, script)).await;
    let text = String::from_utf8(answer.stdout).unwrap();
    let errors = String::from_utf8(answer.stderr).unwrap();
    assert!(answer.status.success(), "{script}\n{text}{errors}");
    assert!(!text.contains("blob data"), "{text}");
    text
}

/// A shell that runs until it is dropped.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        signals::send_to_group("KILL", self.0.id());
        self.0.wait().map(drop).unwrap_or_default();
    }
}

#[tokio::test]
async fn every_recipe_of_the_logging_page_works() {
    let recipes = recipes();
    let mut bench = Bench::new().await;
    bench.set("log.progress_interval", "1s");
    let journal = Journal::start(&bench);
    let refusal = |code: &str| Fault::Error(code.to_owned());
    bench.simulator.script_commits("abcb1234", vec![refusal("FailedOperation.NetworkError")]);
    bench.simulator.script_commits("refused", vec![refusal("FailedOperation.CertificateNotFound")]);
    bench.simulator.script_commits("dead-end", vec![Fault::CutBefore]);
    bench.simulator.script_reads_forever("dead-end", ReadFault::Shows { order_id: None, status: Some(7) });
    bench.sql("INSERT INTO submissions (certificate_id, due_at) VALUES ('later', 9999999999)").await;
    bench.enqueue(&["abcb1234", "refused", "dead-end"]).await;
    let daemon = Process::spawn(journal.command(&bench, &["run"]));
    for event in ["ready", "failed", "held", "submitted", "progress"] {
        until(&journal, &bench, &format!("journalctl -q CERTCOMMIT_EVENT={event} | grep -q .")).await;
    }

    let database = bench.database();
    let scripts: Vec<String> = recipes
        .iter()
        .map(|recipe| recipe.replace("/var/lib/certcommit/queue.db", database.to_str().unwrap()))
        .collect();
    let [failed, story, stuck, done, alert, json] = &scripts[..] else { panic!("{} recipes", scripts.len()) };

    let text = answer(&journal, &bench, failed).await;
    assert!(
        text.contains("certcommit[") && text.contains("failed refused: FailedOperation.CertificateNotFound"),
        "{text}"
    );
    assert!(text.contains("held dead-end: a readback shows"), "{text}");
    assert!(text.contains("1 FailedOperation.CertificateNotFound\n"), "{text}");
    assert!(text.contains("failed|FailedOperation.CertificateNotFound|1|refused|the server refused it"), "{text}");

    let text = answer(&journal, &bench, story).await;
    assert!(text.contains("FailedOperation.NetworkError"), "{text}");
    assert!(text.contains("retrying abcb1234") && text.contains("submitted abcb1234"), "{text}");
    assert!(!text.contains("dead-end"), "{text}");

    let text = answer(&journal, &bench, done).await;
    let seconds: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(
        matches!(seconds[..], [status, _] if status > 200 * 365 * 86_400),
        "no earlier than the last due time: {text}"
    );

    let watcher = Watcher(journal.shell(&bench, alert).stdin(Stdio::null()).process_group(0).spawn().unwrap());
    // The watcher sees only events after its start, and doesn't report when it has started. So repeat the event until it is seen.
    let pause = "certcommit pause 'maintenance at the CA' && sleep 0.2 && certcommit resume && sleep 0.2";
    until(
        &journal,
        &bench,
        &format!("{pause} && grep -q 'certcommit: paused: an operator paused the queue: maintenance' mail"),
    )
    .await;
    drop(watcher);

    let text = answer(&journal, &bench, stuck).await;
    assert!(text.contains("paused: an operator paused the queue: maintenance at the CA"), "{text}");
    assert!(text.contains("pending|1|"), "{text}");
    assert!(!text.contains("submitted abcb1234"), "a submission isn't a warning: {text}");
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));

    bench.enqueue(&["refused-too"]).await;
    bench.simulator.script_commits("refused-too", vec![refusal("FailedOperation.CertificateNotFound")]);
    let mut daemon = bench.command(&["run"]);
    daemon.stderr(File::create(bench.path("certcommit.log")).unwrap());
    let mut daemon = daemon.spawn().unwrap();
    until(&journal, &bench, "grep -q refused-too certcommit.log").await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let text = answer(&journal, &bench, json).await;
    assert!(text.starts_with("refused-too\tFailedOperation.CertificateNotFound\tfailed refused-too: "), "{text}");
}

/// Runs a program without a journal, with a standard error that looks like the journal's.
const WITHOUT_JOURNAL: &str = "mount -t tmpfs tmpfs /run && \
    JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$0\" \"$@\"";

#[tokio::test]
async fn a_configured_journal_that_is_missing_is_a_configuration_error() {
    let mut bench = Bench::new().await;
    bench.set("log.format", "journald");
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", WITHOUT_JOURNAL];
    let refused = output(bench.command_under(&wrapper, &["run"])).await;
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{text}");
    assert!(
        text.contains("log.format is \"journald\", and no journal listens at /run/systemd/journal/socket"),
        "{text}"
    );

    bench.set("log.format", "auto");
    let mut daemon = Process::spawn(bench.command_under(&wrapper, &["run"]));
    daemon.until_event("ready").await;
}
