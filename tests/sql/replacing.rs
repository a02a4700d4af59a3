//! REPLACE deletes without firing delete triggers, and is refused anyway. Upserts are allowed.

use crate::outsider::{INSERTS, Outsider, UPDATES};
use certcommit::submission::State;

const REPLACES: [&str; 2] = ["INSERT OR REPLACE", "REPLACE"];
const REFUSAL: &str = "REPLACE would delete a submission";
const RECURSION: [&str; 2] = ["PRAGMA recursive_triggers = OFF", "PRAGMA recursive_triggers = ON"];

/// Each kind of REPLACE on a row in each state, with and without recursive triggers, and the sentence that refuses it.
fn replaces() -> impl Iterator<Item = (&'static str, State, &'static str, &'static str)> {
    let of = |(pragma, state)| REPLACES.map(|replace| (pragma, state, replace));
    let all = RECURSION.into_iter().flat_map(|pragma| State::ALL.map(|state| (pragma, state))).flat_map(of);
    all.map(|(pragma, state, replace)| match (state, pragma == RECURSION[1]) {
        (State::InFlight | State::InDoubt, true) => (pragma, state, replace, "can not be deleted"),
        _ => (pragma, state, replace, REFUSAL),
    })
}

#[tokio::test]
async fn a_row_cannot_be_replaced_by_its_certificate_id_in_any_state() {
    let mut outsider = Outsider::with_every_state().await;
    for (pragma, state, replace, fragment) in replaces() {
        outsider.must(pragma).await;
        let values = format!("(certificate_id) VALUES ('{state}')");
        outsider.refused(&format!("{replace} INTO submissions {values}"), fragment).await;
    }
}

#[tokio::test]
async fn a_row_cannot_be_replaced_by_its_id_in_any_state() {
    let mut outsider = Outsider::with_every_state().await;
    for (pragma, state, replace, fragment) in replaces() {
        outsider.must(pragma).await;
        for (column, certificate_id) in [("id", "new"), ("rowid", "new"), ("id", state.as_str())] {
            let row = format!("SELECT id, '{certificate_id}' FROM submissions WHERE certificate_id = '{state}'");
            let sql = format!("{replace} INTO submissions ({column}, certificate_id) {row}");
            outsider.refused(&sql, fragment).await;
        }
    }
}

#[tokio::test]
async fn two_rows_cannot_be_replaced_by_one() {
    let mut outsider = Outsider::with_every_state().await;
    for pragma in RECURSION {
        outsider.must(pragma).await;
        for replace in REPLACES {
            let row = "SELECT id, 'failed' FROM submissions WHERE certificate_id = 'canceled'";
            outsider.refused(&format!("{replace} INTO submissions (id, certificate_id) {row}"), REFUSAL).await;
        }
    }
}

#[tokio::test]
async fn a_replace_after_other_rows_of_its_statement_is_refused() {
    let mut outsider = Outsider::with_every_state().await;
    for pragma in RECURSION {
        outsider.must(pragma).await;
        for replace in REPLACES {
            for values in ["('new'), ('failed')", "('new'), ('failed'), ('newer')", "('new'), ('new')"] {
                outsider
                    .refused(&format!("{replace} INTO submissions (certificate_id) VALUES {values}"), REFUSAL)
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn a_replace_that_replaces_nothing_is_an_insert() {
    let mut outsider = Outsider::with_every_state().await;
    for (number, insert) in INSERTS.iter().enumerate() {
        outsider.must(&format!("{insert} INTO submissions (certificate_id) VALUES ('new-{number}')")).await;
    }
    outsider.check_counts().await;
}

#[tokio::test]
async fn an_ignored_insert_does_not_affect_the_next_one() {
    let mut outsider = Outsider::with_every_state().await;
    outsider.must("INSERT OR IGNORE INTO submissions (certificate_id) VALUES ('held')").await;
    outsider.must("REPLACE INTO submissions (certificate_id) VALUES ('new')").await;
    outsider.refused("REPLACE INTO submissions (certificate_id) VALUES ('new')", REFUSAL).await;
}

#[tokio::test]
async fn an_update_cannot_take_the_place_of_another_row() {
    let mut outsider = Outsider::with_every_state().await;
    for pragma in RECURSION {
        outsider.must(pragma).await;
        for update in UPDATES {
            for set in [
                "certificate_id = 'failed'",
                "id = 1",
                "rowid = 1",
                "id = -1",
                "certificate_id = 'fresh'",
                "certificate_id = NULL",
                "id = NULL",
                "id = id + 100",
                "created_at = 0",
            ] {
                let id_never_changes = "id, certificate_id and created_at never change";
                let fragment = if set == "id = NULL" { "" } else { id_never_changes };
                let sql = format!("{update} submissions SET {set} WHERE certificate_id = 'canceled'");
                outsider.refused(&sql, fragment).await;
            }
        }
    }
}

#[tokio::test]
async fn an_upsert_changes_what_may_be_changed() {
    let mut outsider = Outsider::with_every_state().await;
    let upsert = "ON CONFLICT (certificate_id) DO UPDATE SET priority = 3";
    for state in State::ALL {
        outsider.must(&format!("INSERT INTO submissions (certificate_id) VALUES ('{state}') {upsert}")).await;
    }
    outsider.must(&format!("INSERT INTO submissions (certificate_id) VALUES ('new') {upsert}")).await;
    let rows = outsider.rows("SELECT certificate_id, state, priority FROM submissions ORDER BY id").await;
    let mut expected: Vec<String> = State::ALL.iter().map(|state| format!("{state}|{state}|3")).collect();
    expected.push("new|pending|0".to_owned());
    assert_eq!(rows, expected);
    outsider.check_counts().await;
}

#[tokio::test]
async fn an_upsert_has_to_follow_the_rules() {
    let mut outsider = Outsider::with_every_state().await;
    for (set, fragment) in [
        ("state = 'pending'", "a submitted submission is final"),
        ("order_id = 'SO2'", "are written by certcommit"),
        ("priority = 4", "priority must be"),
        ("certificate_id = 'held'", "never change"),
    ] {
        let upsert = format!("ON CONFLICT (certificate_id) DO UPDATE SET {set}");
        let sql = format!("INSERT INTO submissions (certificate_id) VALUES ('submitted') {upsert}");
        outsider.refused(&sql, fragment).await;
    }
}
