//! The counts that triggers maintain, and what the views show.

use proptest::prelude::*;

use crate::outsider::Outsider;

#[tokio::test]
async fn the_summary_has_counts_the_oldest_and_the_next_due() {
    let mut outsider = Outsider::new().await;
    outsider
        .must(
            "INSERT INTO submissions (certificate_id, priority, due_at, created_at) VALUES
               ('a', 0, 1000000000, 1100000000), ('b', 3, 1200000000, 1300000000), ('c', 1, 900000000, 1400000000),
               ('d', 0, 1500000000, 1500000000)",
        )
        .await;
    outsider.must("UPDATE submissions SET state = 'in_doubt' WHERE certificate_id = 'd'").await;
    let summary = outsider.rows("SELECT state, count, oldest, next_due FROM queue_summary ORDER BY state").await;
    let expected = [
        "canceled|0|NULL|NULL",
        "failed|0|NULL|NULL",
        "held|0|NULL|NULL",
        "in_doubt|1|2017-07-14T02:40:00Z|2017-07-14T02:40:00Z",
        "in_flight|0|NULL|NULL",
        "pending|3|2004-11-09T11:33:20Z|1998-07-09T16:00:00Z",
        "submitted|0|NULL|NULL",
    ];
    assert_eq!(summary, expected);
}

#[tokio::test]
async fn every_state_is_in_the_summary() {
    let mut outsider = Outsider::with_every_state().await;
    let summary = outsider.rows("SELECT state, count, oldest IS NOT NULL FROM queue_summary ORDER BY state").await;
    let expected = ["canceled", "failed", "held", "in_doubt", "in_flight", "pending", "submitted"];
    assert_eq!(summary, expected.map(|state| format!("{state}|1|1")));
}

#[tokio::test]
async fn times_in_the_report_are_iso_8601() {
    let mut outsider = Outsider::with_every_state().await;
    outsider
        .must("INSERT INTO submissions (certificate_id, due_at, created_at, updated_at) VALUES ('row', 9999999999, 0, 1700000000)")
        .await;
    let row = "SELECT due_at, created_at, updated_at, finished_at FROM submission_report WHERE certificate_id = 'row'";
    assert_eq!(outsider.one(row).await, "2286-11-20T17:46:39Z|1970-01-01T00:00:00Z|2023-11-14T22:13:20Z|NULL");
    let shape = "'[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z'";
    for time in ["due_at", "created_at", "updated_at", "finished_at"] {
        let others = format!("SELECT count(*) FROM submission_report WHERE {time} NOT GLOB {shape}");
        assert_eq!(outsider.one(&others).await, "0", "{time}");
    }
}

#[tokio::test]
async fn an_unknown_status_is_shown_as_unknown() {
    let mut outsider = Outsider::with_every_state().await;
    outsider.must("UPDATE submissions SET state = 'held', status = 99 WHERE certificate_id = 'in_doubt'").await;
    let row = "SELECT status, status_text FROM submission_report WHERE certificate_id = ";
    assert_eq!(outsider.one(&format!("{row}'in_doubt'")).await, "99|unknown status");
    assert_eq!(outsider.one(&format!("{row}'pending'")).await, "NULL|NULL");
}

const STATES: [&str; 7] = ["pending", "in_flight", "in_doubt", "submitted", "failed", "held", "canceled"];

/// An arbitrary statement by an outsider; many are refused.
fn statement() -> impl Strategy<Value = String> {
    let id = (0..9_u8).prop_map(|number| format!("c{number}"));
    let state = prop::sample::select(STATES.to_vec());
    let insert = prop::sample::select(crate::outsider::INSERTS.to_vec());
    let update = prop::sample::select(crate::outsider::UPDATES.to_vec());
    let outcome = prop::sample::select(vec![
        "submitted",
        "retry",
        "failed",
        "in_doubt",
        "status_refused",
        "not_sent",
        "committed",
        "not_committed",
        "dead_end",
    ]);
    let kind = prop::sample::select(vec!["commit", "read"]);
    prop_oneof![
        (insert.clone(), id.clone(), id.clone())
            .prop_map(|(insert, a, b)| format!("{insert} INTO submissions (certificate_id) VALUES ('{a}'), ('{b}')")),
        (insert.clone(), 0..9_u8, 0..9_u8).prop_map(|(insert, id, number)| format!(
            "{insert} INTO submissions (id, certificate_id) VALUES ({id}, 'c{number}')"
        )),
        (insert, 2..9_u8).prop_map(|(insert, count)| format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             {insert} INTO submissions (certificate_id) SELECT 'c' || i FROM n"
        )),
        id.clone().prop_map(|id| format!(
            "INSERT INTO submissions (certificate_id) VALUES ('{id}') ON CONFLICT (certificate_id) DO UPDATE SET state = 'pending'"
        )),
        (update.clone(), id.clone(), state.clone()).prop_map(|(update, id, to)| format!(
            "{update} submissions SET state = '{to}' WHERE certificate_id = '{id}'"
        )),
        (update.clone(), state.clone(), state.clone())
            .prop_map(|(update, from, to)| format!("{update} submissions SET state = '{to}' WHERE state = '{from}'")),
        (id.clone(), prop::sample::select(vec!["reply", "readback", "operator"])).prop_map(|(id, by)| {
            crate::outsider::moving(&id, certcommit::submission::State::Submitted, by)
        }),
        (kind, id.clone()).prop_map(|(kind, id)| format!(
            "INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at) VALUES ('{id}', '{kind}', 'run', 0, 0)"
        )),
        id.clone().prop_map(|id| format!(
            "BEGIN; INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at) VALUES ('{id}', 'commit', 'run', 0, 0);
             UPDATE submissions SET state = 'in_flight' WHERE certificate_id = '{id}'; COMMIT"
        )),
        (update, outcome)
            .prop_map(|(update, outcome)| format!("{update} requests SET finished_at = 1, outcome = '{outcome}' WHERE finished_at IS NULL")),
        id.prop_map(|id| format!("DELETE FROM submissions WHERE certificate_id = '{id}'")),
        state.prop_map(|state| format!("DELETE FROM submissions WHERE state = '{state}'")),
        Just("DELETE FROM submissions".to_owned()),
        Just("DELETE FROM requests".to_owned()),
        Just("PRAGMA recursive_triggers = ON".to_owned()),
        Just("PRAGMA recursive_triggers = OFF".to_owned()),
        Just("BEGIN; UPDATE submissions SET state = 'canceled' WHERE state = 'pending'; ROLLBACK".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_counts_are_right_after_any_statements(statements in prop::collection::vec(statement(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut outsider = Outsider::new().await;
            for statement in &statements {
                if outsider.run(statement).await.is_err() && statement.starts_with("BEGIN") {
                    // The transaction may have ended with the error.
                    drop(outsider.run("ROLLBACK").await);
                }
                outsider.check_counts().await;
            }
        });
    }
}
