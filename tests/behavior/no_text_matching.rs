//! Types and codes carry meaning: no code matches against text that is written for people.

use std::path::{Path, PathBuf};

/// Names of variables, fields and methods that hold text for people.
const TEXTS: [&str; 15] = [
    "why",
    "reason",
    "sentence",
    "message",
    "remedy",
    "detail",
    "words",
    "cause",
    "error",
    "pause_reason",
    "error_message",
    "todo",
    "told",
    "said",
    "advice",
];

/// Methods that match against a text.
const MATCHERS: [&str; 14] = [
    "starts_with",
    "ends_with",
    "contains",
    "strip_prefix",
    "strip_suffix",
    "split",
    "split_once",
    "split_whitespace",
    "find",
    "matches",
    "eq_ignore_ascii_case",
    "trim_start_matches",
    "trim_end_matches",
    "parse",
];

/// Methods whose result is still the same text.
const CONVERSIONS: [&str; 11] = [
    "as_str",
    "as_deref",
    "as_ref",
    "to_string",
    "to_owned",
    "to_lowercase",
    "trim",
    "clone",
    "unwrap_or_default",
    "to_str",
    "as_bytes",
];

/// Every file below this directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A file's source without its tests; empty for a file of tests.
fn without_tests(file: &Path) -> String {
    let source = std::fs::read_to_string(file).unwrap();
    let name = file
        .to_string_lossy()
        .replace("_tests.rs", "/tests/")
        .replace("_tests/", "/tests/")
        .replace("/tests.rs", "/tests/");
    if name.contains("/tests/") {
        String::new()
    } else {
        source.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned()
    }
}

/// The name of what a method is called on, given the code up to its dot: a variable, a field or another method.
fn receiver(code: &str) -> &str {
    let code = code.trim_end();
    let Some(call) = code.strip_suffix(')') else {
        let name = code.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_').map_or(0, |at| at + 1);
        return &code[name..];
    };
    let mut depth = 1;
    let opens = call.char_indices().rev().find(|(_, letter)| {
        depth += i32::from(*letter == ')') - i32::from(*letter == '(');
        depth == 0
    });
    let before = &call[..opens.map_or(0, |(at, _)| at)];
    let method = receiver(before);
    match before.trim_end_matches(method).trim_end().strip_suffix('.') {
        Some(on) if CONVERSIONS.contains(&method) => receiver(on),
        _ => method,
    }
}

/// The lines of a source that match against text for people.
fn text_matches(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let dots = code.match_indices('.');
    let found = dots.filter(|(at, _)| {
        let method: String =
            code[at + 1..].chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        let is_called = code[at + 1 + method.len()..].starts_with(['(', ':']);
        is_called && MATCHERS.contains(&method.as_str()) && TEXTS.contains(&receiver(&code[..*at]))
    });
    found
        .map(|(at, _)| code[code[..at].rfind('\n').map_or(0, |at| at + 1)..].lines().next().unwrap().to_owned())
        .collect()
}

#[test]
fn no_code_matches_against_text_for_people() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let found = files(&source).into_iter().flat_map(|file| {
        let text = without_tests(&file);
        text_matches(&text).into_iter().map(move |line| format!("{}: {}", file.display(), line.trim()))
    });
    assert_eq!(found.collect::<Vec<_>>(), [""; 0], "match on a type or a code instead");
}

#[test]
fn a_match_against_text_is_found_however_it_is_written() {
    for code in [
        r#"if why.starts_with("the account") {"#,
        r#"let restored = control.pause_reason.as_deref().is_some_and(|why| why.contains("restored"));"#,
        r#"error.to_string().contains("locked")"#,
        "match row\n    .reason\n    .split_once(':')",
        r#"reason.as_deref().unwrap_or_default().trim().starts_with("x")"#,
    ] {
        assert_eq!(text_matches(code).len(), 1, "{code}");
    }
    for code in [
        r#"code.starts_with("AuthFailure.")"#,
        r#"// why.starts_with("x")"#,
        r#"whys.iter().find(|one| one.len() > 1)"#,
    ] {
        assert_eq!(text_matches(code), [""; 0], "{code}");
    }
}
