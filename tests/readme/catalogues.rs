//! Each catalogue on a page lists exactly what the code has.

use std::collections::BTreeSet;

use certcommit::cause::{Cause, PauseCause};
use certcommit::cli::Code;
use certcommit::config::KEYS;
use certcommit::logging::{Field, LogEvent};
use certcommit::metrics::Metric;
use certcommit::submission::{CertificateStatus, OutcomeClass, RequestKind, State, effects};
use certcommit::tencent::ERROR_TABLE;
use sqlx::AssertSqlSafe;

use crate::pages::{first_cells, page, root, table};
use crate::support::Bench;

/// Asserts that a page has this table. With `UPDATE_PAGES` set, writes it there.
fn assert_table(path: &str, header: &str, expected: &[String]) {
    let documented = page(path);
    let rows = documented.rows(header);
    if rows != expected && std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(root().join(path), documented.text.replacen(&rows.join("\n"), &expected.join("\n"), 1)).unwrap();
    }
    assert_eq!(page(path).rows(header), expected, "{path}; UPDATE_PAGES=1 writes it");
}

#[test]
fn the_logging_page_lists_every_event_and_every_field() {
    let event = |event: &LogEvent| {
        let fields: Vec<String> = event.fields().iter().map(|field| format!("`{field}`")).collect();
        let level = event.level().as_str().to_lowercase();
        format!("| `{event}` | {level} | {} | {} |", event.describe(), fields.join(" "))
    };
    let events: Vec<String> = LogEvent::ALL.iter().map(event).collect();
    assert_table("docs/LOGGING.md", "| event | level | when | fields |", &events);
    let field = |field: &Field| format!("| `{field}` | {} | {} |", field.unit(), field.describe());
    let fields: Vec<String> = Field::ALL.iter().map(field).collect();
    assert_table("docs/LOGGING.md", "| field | unit | meaning |", &fields);
}

#[test]
fn the_errors_page_lists_every_code_and_explains_every_class() {
    let codes: Vec<String> =
        ERROR_TABLE.iter().map(|(code, class)| format!("| `{code}` | {} |", class.as_str())).collect();
    assert_table("docs/ERRORS.md", "| error code | class |", &codes);
    let explained = first_cells(&page("docs/ERRORS.md").rows("| class | what it means | what becomes of the row |"));
    let classes: BTreeSet<&str> = ERROR_TABLE.iter().map(|(_, class)| class.as_str()).collect();
    assert_eq!(explained.len(), classes.len());
    assert_eq!(explained.iter().map(String::as_str).collect::<BTreeSet<_>>(), classes);
}

#[test]
fn the_causes_page_lists_every_code() {
    let codes: Vec<String> = Cause::catalogue().map(|(code, meaning)| format!("| `{code}` | {meaning} |")).collect();
    assert_table("docs/CAUSES.md", "| code | meaning |", &codes);
}

#[test]
fn the_causes_page_explains_every_pause_once() {
    let page = page("docs/CAUSES.md");
    let sections = ["## Faults that pause the queue", "## Faults that pause readback", "## Pauses until you resume"];
    let rows = sections.map(|heading| table(page.section(heading), "| code | when |"));
    let mut explained = first_cells(&rows.concat());
    let mut codes: Vec<&str> = PauseCause::CATALOGUE.iter().map(|(code, _)| *code).collect();
    explained.sort();
    codes.sort_unstable();
    assert_eq!(explained, codes);
}

#[test]
fn the_operations_page_lists_every_code_of_a_database_error() {
    let source = page("src/queue/error.rs").text;
    let (_, function) = source.split_once("fn code_and_remedy(&self)").unwrap();
    let (arms, _) = function.split_once("\n    }\n").unwrap();
    let is_code = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let mut codes: Vec<&str> = arms.split('"').skip(1).step_by(2).filter(is_code).collect();
    codes.dedup();
    assert_eq!(first_cells(&page("docs/OPERATIONS.md").rows("| error | what happened |")), codes);
}

#[test]
fn the_configuration_page_lists_every_key_with_its_default() {
    let keys: Vec<String> = KEYS.iter().map(|(key, default)| format!("| `{key}` | `{default}` |")).collect();
    assert_table("docs/CONFIGURATION.md", "| key | default |", &keys);
}

#[test]
fn the_operations_page_lists_every_exit_code_and_every_metric() {
    let codes: Vec<String> =
        Code::ALL.iter().map(|code| format!("| {} | {} |", code.number(), code.describe())).collect();
    assert_table("docs/OPERATIONS.md", "| code | meaning |", &codes);
    let metrics: Vec<String> =
        Metric::ALL.iter().map(|metric| format!("| `{metric}` | {} |", metric.describe())).collect();
    assert_table("docs/OPERATIONS.md", "| metric | meaning |", &metrics);
}

#[test]
fn the_operations_page_lists_every_alert() {
    let rules = page("deploy/certcommit.rules.yml").text;
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(first_cells(&page("docs/OPERATIONS.md").rows("| alert | fires when |")), alerts);
}

#[test]
fn the_diagram_shows_exactly_the_possible_transitions() {
    let page = page("docs/STATE_MACHINE.md");
    let diagrams = page.blocks_in("mermaid");
    let arrows = diagrams[0].text.lines().filter_map(|line| line.trim().split_once(" --> "));
    let inner = arrows.filter(|(from, to)| *from != "[*]" && *to != "[*]");
    let transitions = inner.map(|(from, rest)| (from, rest.split(':').next().unwrap_or(rest)));
    let documented: Vec<String> = transitions.map(|(from, to)| format!("{from} to {to}")).collect();
    let pairs = State::ALL.into_iter().flat_map(|from| State::ALL.map(|to| (from, to)));
    let possible: BTreeSet<String> =
        pairs.filter(|(from, to)| from.may_become(*to)).map(|(from, to)| format!("{from} to {to}")).collect();
    assert_eq!(documented.iter().cloned().collect::<BTreeSet<_>>(), possible);
    assert_eq!(documented.len(), possible.len(), "each arrow once");
    assert_eq!(first_cells(&page.rows("| state | meaning |")), State::ALL.map(State::as_str));
}

#[test]
fn the_state_machine_page_says_how_each_outcome_of_a_commit_counts() {
    let rows = page("docs/STATE_MACHINE.md").rows("| outcome of a commit |");
    let cells = rows.iter().map(|row| row.split(" | ").collect::<Vec<_>>());
    let documented: Vec<String> = cells.map(|cells| format!("{} | {} | {}", cells[0], cells[2], cells[3])).collect();
    let row = |class: &OutcomeClass| {
        let effects = effects(RequestKind::Commit, *class);
        let counts = if effects.spends_try { "yes" } else { "no" };
        format!("| `{}` | {counts} | {} |", class.as_str(), effects.readbacks_to_disprove)
    };
    let expected: Vec<String> = OutcomeClass::of_kind(RequestKind::Commit).iter().map(row).collect();
    assert_eq!(documented, expected);
}

#[test]
fn the_state_machine_page_says_what_a_readback_of_each_status_shows() {
    let row = |status: CertificateStatus| {
        let CertificateStatus { code, text, with_order, without_order } = status;
        format!("| {code} | {text} | `{with_order}` | `{without_order}` |")
    };
    let page = page("docs/STATE_MACHINE.md");
    assert_eq!(page.rows("| status | text |"), CertificateStatus::ALL.map(row));
    let explained: BTreeSet<String> = first_cells(&page.rows("| outcome of a readback |"))
        .into_iter()
        .map(|name| name.trim_matches('`').to_owned())
        .collect();
    assert_eq!(
        explained,
        OutcomeClass::of_kind(RequestKind::Readback).iter().map(|class| class.as_str().to_owned()).collect()
    );
}

#[tokio::test]
async fn the_data_model_page_lists_every_column_of_every_table() {
    let bench = Bench::new().await;
    let mut connection = bench.connect().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_%' ESCAPE '\\'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let page = page("docs/DATA_MODEL.md");
    for name in &tables {
        let columns = format!("SELECT '| `' || name || '` | ' || type || ' |' FROM pragma_table_info('{name}')");
        let columns: Vec<String> = sqlx::query_scalar(AssertSqlSafe(columns)).fetch_all(&mut connection).await.unwrap();
        let section = page.section(&format!("### `{name}`"));
        let rows = table(section, "| column | type | meaning |");
        let documented: Vec<String> =
            rows.iter().map(|row| row.splitn(4, '|').take(3).collect::<Vec<_>>().join("|") + "|").collect();
        assert_eq!(documented, columns, "{name}");
    }
    let headings = page.text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    assert_eq!(headings.collect::<BTreeSet<_>>(), tables.iter().map(String::as_str).collect());
    let views: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'view'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    for view in views {
        assert!(page.section("## Views").contains(&format!("`{view}`")), "{view}");
    }
}
