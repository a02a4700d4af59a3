//! The keys, commands, events and files that the pages name exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use certcommit::config::KEYS;
use certcommit::logging::{Field, LogEvent};

use crate::pages::{Page, all, manual, page, root};

#[test]
fn every_configuration_key_named_on_a_page_exists() {
    let keys: BTreeSet<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    for page in manual() {
        for quoted in page.quoted() {
            let name = quoted.split(" = ").next().unwrap_or_default();
            let is_key = name.split_once('.').is_some_and(|(section, rest)| {
                sections.contains(section) && rest.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
            });
            assert!(!is_key || keys.contains(name), "{} names {name}", page.path);
        }
    }
}

/// The arguments of each certcommit command on a page, in backticks and in terminal blocks.
fn commands(page: &Page) -> Vec<Vec<String>> {
    let blocks = page.blocks();
    let shells = blocks.iter().filter(|block| block.info == "console" || block.info == "sh");
    let lines = shells.flat_map(|block| block.text.lines());
    let typed = lines.map(|line| line.trim_start_matches(['$', '#', ' ']).split("  #").next().unwrap_or_default());
    let typed = typed.map(str::to_owned);
    typed.chain(page.quoted()).flat_map(|line| in_a_line(&line)).collect()
}

/// The arguments of each certcommit command in a shell line.
fn in_a_line(line: &str) -> Vec<Vec<String>> {
    let parts = line.split("&&").flat_map(|part| part.split([';', '|']));
    let words = parts.map(|part| part.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let is_ours = |word: &String| word == "certcommit" || word.ends_with("/certcommit");
    let ours = words.filter_map(|words| {
        let assigned = words.iter().take_while(|word| word.contains('=')).count();
        let command = words.get(assigned).filter(|word| is_ours(word))?;
        Some(words[assigned..].iter().skip_while(|word| *word == command).cloned().collect())
    });
    ours.filter(|arguments: &Vec<String>| !arguments.is_empty()).collect()
}

fn certcommit(arguments: &[String]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_certcommit")).args(arguments).output().unwrap()
}

#[test]
fn every_command_line_on_a_page_is_accepted() {
    let mut seen = BTreeSet::new();
    for page in manual() {
        for arguments in commands(&page) {
            // With `--help`, a command only prints its usage, if it accepts the arguments before.
            let plain = arguments.iter().map(|word| word.replace('…', "").trim_matches(['\'', '"']).to_owned());
            let with_help: Vec<String> = plain.chain(["--help".to_owned()]).collect();
            if seen.insert(with_help.clone()) {
                let output = certcommit(&with_help);
                assert!(output.status.success(), "{}: certcommit {with_help:?}", page.path);
            }
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn every_command_is_named_on_a_page() {
    let help = String::from_utf8(certcommit(&["--help".to_owned()]).stdout).unwrap();
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let listed = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let named: BTreeSet<String> =
        all().iter().flat_map(commands).filter_map(|words| words.into_iter().next()).collect();
    for command in listed.filter(|command| *command != "help") {
        assert!(named.contains(command), "{command} is on no page");
    }
}

#[test]
fn every_event_and_field_in_a_journal_query_exists() {
    for page in manual() {
        for after in page.text.split("CERTCOMMIT_EVENT=").skip(1) {
            let name: String = after.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            assert!(LogEvent::ALL.iter().any(|event| event.as_str() == name), "{} names {name}", page.path);
        }
        for after in page.text.split("CERTCOMMIT_").skip(1) {
            let name: String =
                after.chars().take_while(|letter| letter.is_ascii_uppercase() || *letter == '_').collect();
            let known = Field::ALL.iter().any(|field| field.as_str() == name.to_lowercase());
            // Two underscores begin the variables of the configuration.
            assert!(known || name == "EVENT" || name.starts_with('_') || name.is_empty(), "{} names {name}", page.path);
        }
    }
}

#[test]
fn every_file_named_on_a_page_exists() {
    let places = ["src/", "tests/", "docs/", "deploy/", "config/", "migrations/", ".ci/"];
    for page in all() {
        for quoted in page.quoted() {
            let path = quoted.split(' ').next().unwrap_or_default();
            if places.iter().any(|place| path.starts_with(place)) {
                assert!(root().join(path).exists(), "{} names {path}", page.path);
            }
        }
    }
}

/// The text of every source file below this directory.
fn sources(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.extension() {
        _ if path.is_dir() => sources(&path),
        Some(extension) if extension == "rs" => std::fs::read_to_string(&path).unwrap(),
        _ => String::new(),
    };
    entries.map(text).collect()
}

/// Asserts that each of these tests exists, and that there is at least one.
pub(crate) fn assert_tests_exist(names: &[String]) {
    let sources = ["src", "tests"].map(|directory| sources(&root().join(directory))).concat();
    assert!(!names.is_empty());
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}

#[test]
fn every_test_named_for_contributors_exists() {
    let is_sentence = |name: &String| name.matches('_').count() > 3 && !name.contains('/');
    for path in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        assert_tests_exist(&page(path).quoted().into_iter().filter(is_sentence).collect::<Vec<_>>());
    }
}
