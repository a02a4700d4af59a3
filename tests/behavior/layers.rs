//! Imports run downwards only, by the table in `src/lib.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each module with those that it may import, besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("submission", &["clock"]),
    ("config", &["logging", "submission", "clock"]),
    ("logging", &["config", "submission", "clock"]),
    ("metrics", &[]),
    ("pacing", &["config", "logging", "submission", "clock"]),
    ("queue", &["config", "logging", "submission", "clock"]),
    ("tencent", &["config", "logging", "submission", "clock"]),
    ("daemon", &["queue", "tencent", "pacing", "config", "logging", "metrics", "submission", "clock"]),
    ("simulator", &["tencent", "submission", "clock"]),
    (
        "cli",
        &["daemon", "simulator", "queue", "tencent", "pacing", "metrics", "config", "logging", "submission", "clock"],
    ),
];

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The modules that a source file names as `crate::module`, but for its comments.
fn named(source: &str) -> BTreeSet<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let after = code.split("crate::").skip(1);
    after.map(|rest| rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()).collect()
}

fn module(file: &Path, source: &Path) -> String {
    let first = file.strip_prefix(source).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_run_downwards_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeSet::new();
    for file in files(&source) {
        let own = module(&file, &source);
        if own == "lib" || own == "main" {
            continue;
        }
        let (_, below) = LAYERS.iter().find(|(name, _)| *name == own).expect("the table has every module");
        for other in named(&std::fs::read_to_string(&file).unwrap()) {
            let allowed = other == own || below.contains(&other.as_str());
            assert!(allowed, "{} imports crate::{other}, which {own} may not", file.display());
        }
        modules.insert(own);
    }
    assert_eq!(modules, LAYERS.iter().map(|(name, _)| (*name).to_owned()).collect());
}
