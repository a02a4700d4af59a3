//! The examples on the pages are what the program accepts and prints.

use std::collections::BTreeSet;
use std::time::Duration;

use certcommit::config::Settings;
use certcommit::queue::{Opening, Queue};
use certcommit::simulator::{Fault, Options, ReadFault};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tempfile::TempDir;

use crate::pages::{manual, page, root};
use crate::support::{Bench, Process, in_time, output};

/// The languages of blocks that a test checks.
const CHECKED: [&str; 7] = ["console", "json", "mermaid", "sh", "sql", "text", "toml"];

#[test]
fn every_block_has_a_language_that_is_checked() {
    for page in manual() {
        for block in page.blocks() {
            // tests/systemd runs the statements of a rollback, on a queue that was migrated.
            assert!(CHECKED.contains(&&*block.info) || block.info == "sql rollback", "{}: {}", page.path, block.info);
            // tests/operators runs these, on a journal.
            assert!(block.info != "sh" || page.path == "docs/LOGGING.md", "{}", page.path);
            let objects = serde_json::Deserializer::from_str(&block.text).into_iter::<Value>();
            assert!(block.info != "json" || objects.into_iter().all(|object| object.is_ok()), "{}", page.path);
        }
    }
}

/// A queue with one pending submission, and a connection to it.
async fn queue() -> (TempDir, SqliteConnection) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    Queue::open(&path, Opening::Create).await.unwrap().close().await.unwrap();
    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let row = "INSERT INTO submissions (certificate_id, reference) VALUES ('waits', 'renewals-2026-11')";
    sqlx::raw_sql(row).execute(&mut connection).await.unwrap();
    (directory, connection)
}

#[tokio::test]
async fn every_sql_statement_on_a_page_runs() {
    for page in manual() {
        for block in page.blocks_in("sql") {
            let (_directory, mut connection) = queue().await;
            let run = sqlx::raw_sql(AssertSqlSafe(block.text.clone())).execute(&mut connection).await;
            assert!(run.is_ok(), "{}: {run:?} for {}", page.path, block.text);
        }
    }
}

#[tokio::test]
async fn the_readme_shows_the_sentence_that_refuses_invalid_input() {
    let readme = page("README.md");
    let blocks = readme.blocks_in("console");
    let documented = blocks.iter().find_map(|block| block.text.strip_prefix("$ sqlite3 queue.db \"")).unwrap();
    let (statement, sentence) = documented.split_once("\"\nError: stepping, ").unwrap();
    let (_directory, mut connection) = queue().await;
    let refused = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap_err();
    assert_eq!(sentence.trim_end(), format!("{} (19)", refused.as_database_error().unwrap().message()));
}

#[test]
fn every_configuration_on_a_page_loads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("certcommit.toml");
    for page in manual() {
        for block in page.blocks_in("toml") {
            std::fs::write(&file, &block.text).unwrap();
            let loaded = Settings::load(Some(&file), []);
            assert!(loaded.is_ok(), "{}: {loaded:?}", page.path);
        }
    }
}

/// The text without what differs between runs: numbers, and the letters of request IDs that follow a digit.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for letter in text.chars() {
        let in_number = masked.ends_with('0') && (letter.is_ascii_hexdigit() && !letter.is_ascii_uppercase());
        match letter {
            _ if in_number => {}
            '0'..='9' => masked.push('0'),
            letter => masked.push(letter),
        }
    }
    masked
}

/// The log of a daemon that goes through everything that the page about the log shows.
async fn logged() -> String {
    let mut bench = Bench::new().await;
    bench.set("log.progress_interval", "1s");
    let api = &bench.simulator;
    let error = |code: &str| Fault::Error(code.to_owned());
    api.script_commits("abcb1235", vec![error("FailedOperation.NetworkError")]);
    api.script_commits("abcb1237", vec![Fault::CutAfter]);
    api.script_commits("abcb1238", vec![Fault::CutBefore]);
    api.script_reads_forever("abcb1238", ReadFault::Shows { order_id: None, status: Some(7) });
    bench.enqueue(&["abcb1234", "abcb1235", "abcb1237", "abcb1238"]).await;
    let ended = output(bench.command(&["run", "--until-empty"])).await;
    String::from_utf8(ended.stderr).unwrap()
}

/// With `UPDATE_PAGES` set, each line is replaced by the logged one about the same event.
#[tokio::test]
async fn every_log_line_on_the_page_is_one_that_the_daemon_writes() {
    let path = "docs/LOGGING.md";
    let logged = logged().await;
    let known: BTreeSet<String> = logged.lines().map(masked).collect();
    let about = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        [&value["event"], &value["certificate_id"], &value["outcome"]].map(Value::to_string)
    };
    let mut text = page(path).text;
    let documented: String = page(path).blocks_in("json").into_iter().map(|block| block.text).collect();
    for line in documented.lines().filter(|line| !known.contains(&masked(line))) {
        let real = logged.lines().find(|other| about(other) == about(line)).expect(line);
        assert!(std::env::var_os("UPDATE_PAGES").is_some(), "{line}\nis (UPDATE_PAGES=1 writes it)\n{real}");
        text = text.replacen(line, real, 1);
    }
    assert!(documented.lines().count() > 3, "{documented}");
    if text != page(path).text {
        std::fs::write(root().join(path), text).unwrap();
    }
}

/// The labels in the output of `status`.
fn labels(status: &str) -> Vec<String> {
    let labels =
        status.lines().filter(|line| !line.starts_with(' ')).map(|line| line.chars().take(13).collect::<String>());
    labels.map(|label| label.trim().to_owned()).collect()
}

#[tokio::test]
async fn the_readme_shows_the_lines_of_a_status() {
    let readme = page("README.md");
    let blocks = readme.blocks_in("console");
    let documented = blocks.iter().find_map(|block| block.text.strip_prefix("$ certcommit status\n")).unwrap();
    let slow = Options { latency: Duration::from_secs(1), ..Options::default() };
    let bench = Bench::with(slow, &[]).await;
    bench.enqueue(&crate::support::ids(200)).await;
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("submitted").await;
    let status = output(bench.command(&["status"])).await;
    assert_eq!(labels(documented), labels(&String::from_utf8(status.stdout).unwrap()));
}

/// Terminal output, without its numbers and the widths of its columns.
fn normalized(text: &str) -> Vec<String> {
    text.lines().map(|line| masked(line).split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn the_readme_shows_what_the_first_commands_print() {
    let readme = page("README.md");
    let blocks = readme.blocks_in("console");
    let documented = &blocks.iter().find(|block| block.text.starts_with("$ certcommit enqueue")).unwrap().text;
    let bench = Bench::new().await;
    let mut printed = String::new();
    for line in documented.lines().filter(|line| line.starts_with("$ certcommit ")) {
        let arguments: Vec<&str> = line.split(' ').skip(2).collect();
        let ended = output(bench.command(&arguments)).await;
        assert!(ended.status.success(), "{line}: {ended:?}");
        printed += &format!("{line}\n{}", String::from_utf8(ended.stdout).unwrap());
    }
    assert_eq!(normalized(documented), normalized(&printed));
}

#[tokio::test]
async fn the_readme_shows_the_output_of_the_demo() {
    let readme = page("README.md");
    let documented = readme.blocks_in("text").remove(0).text;
    let bench = Bench::new().await;
    let demo = output(bench.bare_command(&["demo", "--certificates", "3"])).await;
    let printed = String::from_utf8(demo.stdout).unwrap();
    // Without the chart, and without lines that only some demos print.
    let is_rare =
        |line: &str| [" failed", " order waiting", " order refused"].iter().any(|rare| line.starts_with(rare));
    let lines = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains(" s  ") && !is_rare(line));
        normalized(&lines.collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(lines(&documented), lines(&printed));
    let (_, report) = printed.trim_end().rsplit_once(' ').unwrap();
    let written = std::fs::read_to_string(report).unwrap();
    std::fs::remove_file(report).unwrap();
    assert!(written.starts_with("<!DOCTYPE html>") && written.contains("\"demo000003\""), "{written}");
}

/// The table on the page about campaigns, as a spreadsheet saves it.
fn saved_table(text: &str) -> Vec<u8> {
    ["\u{feff}", &text.replace('\n', "\r\n")].concat().into_bytes()
}

#[tokio::test]
async fn the_page_about_campaigns_shows_what_its_commands_print() {
    let campaigns = page("docs/CAMPAIGNS.md");
    let bench = Bench::new().await;
    std::fs::write(bench.path("certificates.csv"), saved_table(&campaigns.blocks_in("text").remove(0).text)).unwrap();
    let mut daemon = None;
    for block in campaigns.blocks_in("console") {
        if block.text.starts_with("$ certcommit report") {
            let running: &mut Process = daemon.insert(bench.spawn(&["run"]));
            for _ in 0..2 {
                running.until_event("submitted").await;
            }
            in_time("both to be written", async { while bench.count("submitted").await < 2 {} }).await;
        }
        let mut printed = String::new();
        for line in block.text.lines().filter(|line| line.starts_with("$ certcommit ")) {
            let mut command = bench.command(&line.split(' ').skip(2).collect::<Vec<_>>());
            command.current_dir(bench.path(""));
            let ended = output(command).await;
            let [out, errors] = [ended.stdout, ended.stderr].map(|text| String::from_utf8(text).unwrap());
            printed += &format!("{line}\n{errors}{out}");
        }
        assert_eq!(block.text, printed);
    }
    let refused = std::fs::read_to_string(bench.path("refused.csv")).unwrap();
    assert_eq!(refused.lines().count(), 4, "{refused}");
}
