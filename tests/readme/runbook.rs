//! The runbook has an entry for every cause of a pause and for every obstacle of the database, with the program's own words.

use std::path::PathBuf;

use certcommit::cause::{ApiError, KeySource, PauseCause};
use certcommit::queue::{Fault, Process, QueueError};

use crate::pages::{page, root};

const PATH: &str = "docs/RUNBOOK.md";

/// An example of each cause of a pause.
fn pauses() -> Vec<PauseCause> {
    let error = |code: &str, message: &str| ApiError::new(code, message, Some("5b3c…"));
    let keys = KeySource::File { path: "/etc/certcommit/keys".into() };
    let busy = error("FailedOperation.NetworkError", "CA is busy");
    let unreachable = PauseCause::ApiUnreachable { why: "connection refused".into() };
    vec![
        PauseCause::ByOperator { reason: Some("maintenance at the CA".into()) },
        PauseCause::RestoredBehind { newest: 1200, made: 1240 },
        PauseCause::RestoredEmptied { made: 1240 },
        PauseCause::RestoredUnmarked { newest: 1240 },
        PauseCause::RestoredBackup { written_at: 1_790_000_000 },
        PauseCause::RestoredDump,
        PauseCause::ControlLost,
        PauseCause::UncleanShutdown { silent_s: 7_200 },
        PauseCause::HeartbeatInFuture { ahead_s: 7_200 },
        PauseCause::NoCredentials { why: Some("the metadata service doesn't answer".into()) },
        PauseCause::CredentialsExpired { why: Some("the metadata service doesn't answer".into()) },
        PauseCause::CredentialsRejected { error: error("AuthFailure.SecretIdNotFound", "secret id not found"), keys },
        PauseCause::AccountRejected {
            error: error("FailedOperation.NoRealNameAuth", "real-name authentication required"),
        },
        PauseCause::ClockSkew {
            error: error("AuthFailure.SignatureExpire", "the signature has expired"),
            ours: 1_790_000_000,
            theirs: Some(1_790_000_602),
        },
        unreachable.clone(),
        PauseCause::CaBusy { error: busy.clone() },
        PauseCause::CommitDenied { error: error("UnauthorizedOperation", "no permission") },
        PauseCause::RateExhausted { error: error("RequestLimitExceeded", "limit exceeded") },
        PauseCause::OutcomesUnknown { why: "connection closed before message completed".into(), request_id: None },
        PauseCause::WritesRejected { results: 2, submissions: 0, rule: "no writes on Sundays".into() },
        PauseCause::ReadbackDenied { error: error("UnauthorizedOperation", "no permission") },
        PauseCause::ReadbackFailing { why: "InternalError: backend error".into(), request_id: Some("5b3c…".into()) },
        unreachable.of_readback(),
    ]
}

/// An example of each obstacle that an operator meets in a running system, and how to see that it is over.
fn obstacles() -> Vec<(QueueError, &'static str)> {
    let path = || PathBuf::from("/var/lib/certcommit/queue.db");
    let process =
        |program: &str| Process { pid: 4711, program: Some(program.to_owned()), started: None, is_stopped: true };
    let fault = || Fault { what: Some("writing a batch"), detail: "disk I/O error".to_owned() };
    let by_itself = "the log has the event `resumed`, with the number of results that were kept and are written now, and `status` \
                     says RUNNING";
    let after_a_start = "after the start, `status` says RUNNING, or PAUSED with what is left to do";
    let flaws = "trigger submissions_moved is missing".to_owned();
    vec![
        (QueueError::NoSpace { directory: "/var/lib/certcommit".into(), free: 0 }, by_itself),
        (QueueError::Locked { path: path(), holder: Some(process("sqlite3 queue.db")), last_write: None }, by_itself),
        (QueueError::DaemonFrozen(process("certcommit run")), "`status` says RUNNING"),
        (QueueError::ReadOnlyFilesystem { path: path(), only_here: false }, by_itself),
        (QueueError::ReadOnly("writing a batch"), by_itself),
        (QueueError::Io(fault()), by_itself),
        (
            QueueError::Corrupt { path: path(), detail: "database disk image is malformed".to_owned() },
            "`certcommit check --integrity` ends with 0, and after the start, `status` says RUNNING or PAUSED",
        ),
        (
            QueueError::DepartureMarker {
                path: "/run/certcommit/departures".into(),
                error: std::io::ErrorKind::StorageFull.into(),
            },
            after_a_start,
        ),
        (
            QueueError::Altered { path: path(), flaws },
            "`certcommit check` ends with 0, and after the start, `status` says RUNNING",
        ),
        (QueueError::Replaced(path()), after_a_start),
        (QueueError::Rewound { path: path(), newest: 1200, made: 1240 }, after_a_start),
        (QueueError::Emptied { path: path(), made: 1240 }, after_a_start),
        (
            QueueError::Held { path: path(), holder: "process 4711".to_owned() },
            "nothing was interrupted: the other daemon goes on",
        ),
    ]
}

/// What the program says is a sentence without its capital and its full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn entry(code: &str, lines: &[(&str, String)]) -> String {
    let lines = lines.iter().map(|(label, text)| format!("- **{label}** {text}\n"));
    format!("### `{code}`\n\n{}", lines.collect::<String>())
}

fn pause_entry(cause: &PauseCause) -> String {
    let mut lines = vec![("You see:", cause.to_string()), ("Meanwhile:", sentence(cause.consequence()))];
    lines.extend(remedies(cause));
    lines.push(("Over when:", sentence(cause.over_when())));
    entry(cause.code(), &lines)
}

/// What to do; where that depends on the source of the keys, for each source.
fn remedies(cause: &PauseCause) -> Vec<(&'static str, String)> {
    if let PauseCause::ReadbackFailing { why, .. } = cause {
        let without_id = PauseCause::ReadbackFailing { why: why.clone(), request_id: None };
        return vec![
            ("Do, if there is a RequestId:", sentence(&cause.remedy())),
            ("Do, if there is none:", sentence(&without_id.remedy())),
        ];
    }
    let PauseCause::CredentialsRejected { error, .. } = cause else { return vec![("Do:", sentence(&cause.remedy()))] };
    let sources = [
        ("Do, if the keys are in a file:", KeySource::File { path: "/etc/certcommit/keys".into() }),
        ("Do, if they are in the environment:", KeySource::Environment),
        ("Do, if systemd passes them on:", KeySource::Systemd),
        ("Do, if the machine's role has them:", KeySource::Role { name: "certcommit".into() }),
    ];
    let remedy = |keys| sentence(&PauseCause::CredentialsRejected { error: error.clone(), keys }.remedy());
    sources.map(|(label, keys)| (label, remedy(keys))).to_vec()
}

fn obstacle_entry((error, over_when): &(QueueError, &str)) -> String {
    let lines = [
        ("You see:", error.to_string()),
        ("Do:", sentence(&error.remedy().unwrap_or_default())),
        ("Over when:", sentence(over_when)),
    ];
    entry(error.code(), &lines)
}

/// Asserts that the page has these entries between two headings. With `UPDATE_PAGES` set, writes them there.
fn assert_entries(from: &str, to: &str, expected: &str) {
    let text = page(PATH).text;
    let (before, rest) = text.split_once(from).unwrap_or_else(|| panic!("{PATH} has {from}"));
    let (section, after) = rest.split_once(to).unwrap_or_else(|| panic!("{PATH} has {to}"));
    let (introduction, entries) = section.split_at(section.find("### ").unwrap_or(section.len()));
    let expected = format!("{expected}\n");
    if entries != expected && std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(root().join(PATH), [before, from, introduction, &expected, to, after].concat()).unwrap();
        return;
    }
    assert_eq!(entries, expected, "{PATH}; UPDATE_PAGES=1 writes it");
}

#[test]
fn the_runbook_has_an_entry_for_every_pause_in_the_words_of_the_program() {
    let pauses = pauses();
    let codes: Vec<&str> = pauses.iter().map(PauseCause::code).collect();
    let catalogue: Vec<&str> = PauseCause::CATALOGUE.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, catalogue);
    let entries: Vec<String> = pauses.iter().map(pause_entry).collect();
    assert_entries(
        "\n## The queue, or readback, is paused\n",
        "\n## The database can't be used\n",
        &entries.join("\n"),
    );
}

#[test]
fn the_runbook_has_an_entry_for_every_obstacle_in_the_words_of_the_program() {
    let entries: Vec<String> = obstacles().iter().map(obstacle_entry).collect();
    assert_entries("\n## The database can't be used\n", "\n## Single certificates\n", &entries.join("\n"));
}

#[test]
fn every_alert_links_to_a_section_of_the_runbook() {
    let rules = page("deploy/certcommit.rules.yml").text;
    let runbook = page(PATH).text;
    let headings: Vec<String> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let links: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")).collect();
    assert_eq!(links.len(), rules.matches("- alert: ").count(), "each alert has one");
    for link in links.into_iter().filter(|link| *link != "docs/RUNBOOK.md#{{ $labels.code }}") {
        let (path, section) = link.split_once('#').expect("a page and a section");
        assert!(path == PATH && headings.contains(&section.to_owned()), "{link}: {headings:?}");
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let letters = heading.to_lowercase();
    letters.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}
