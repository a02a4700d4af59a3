//! What the README says about the code is what the code does.

use certcommit::config::KEYS;
use certcommit::logging::{Field, LogEvent};
use certcommit::tencent::ERROR_TABLE;

const README: &str = include_str!("../README.md");

/// The rows of the table under this header, in order.
fn rows(header: &str) -> Vec<String> {
    let (_, after) = README.split_once(header).unwrap_or_default();
    after.lines().skip(2).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn the_readme_has_the_whole_catalogue_of_events() {
    let row = |event: &LogEvent| {
        let fields: Vec<String> = event.fields().iter().map(|field| format!("`{field}`")).collect();
        let level = event.level().as_str().to_lowercase();
        format!("| `{event}` | {level} | {} | {} |", event.describe(), fields.join(" "))
    };
    let expected: Vec<String> = LogEvent::ALL.iter().map(row).collect();
    assert_eq!(rows("| event | level | when | fields |"), expected);
}

#[test]
fn the_readme_has_the_whole_catalogue_of_fields() {
    let row = |field: &Field| format!("| `{field}` | {} | {} |", field.unit(), field.describe());
    let expected: Vec<String> = Field::ALL.iter().map(row).collect();
    assert_eq!(rows("| field | unit | meaning |"), expected);
}

#[test]
fn the_readme_has_the_whole_error_table() {
    let expected: Vec<String> =
        ERROR_TABLE.iter().map(|(code, class)| format!("| `{code}` | {} |", class.as_str())).collect();
    assert_eq!(rows("| error code | class |"), expected);
}

#[test]
fn the_readme_has_every_key_with_its_default() {
    let expected: Vec<String> = KEYS.iter().map(|(key, default)| format!("| `{key}` | `{default}` |")).collect();
    assert_eq!(rows("| key | default |"), expected);
}
