//! The codes of causes beside their texts: each is cleared when its text is changed by hand.

use certcommit::submission::State;

use crate::outsider::Outsider;

const PRAGMAS: [&str; 2] = ["PRAGMA recursive_triggers = OFF", "PRAGMA recursive_triggers = ON"];

const PAUSE: &str = "SELECT paused, pause_reason, pause_code, pause_parameters FROM control";
const WHY: &str = "SELECT why, why_code, why_parameters FROM daemon";
const REASON: &str = "SELECT state, reason, reason_code, reason_parameters FROM submissions";

/// A queue that certcommit paused, with its cause.
async fn paused() -> Outsider {
    let mut outsider = Outsider::new().await;
    let by_certcommit = r#"UPDATE control SET paused = 1, pause_reason = 'it was restored';
        UPDATE control SET pause_code = 'restored_behind', pause_parameters = '{"newest":3,"made":7}'"#;
    outsider.must(by_certcommit).await;
    assert_eq!(outsider.one(PAUSE).await, r#"1|it was restored|restored_behind|{"newest":3,"made":7}"#);
    outsider
}

#[tokio::test]
async fn a_pause_by_hand_has_no_code() {
    for pragma in PRAGMAS {
        let mut outsider = paused().await;
        outsider.must(pragma).await;
        outsider.must("UPDATE control SET paused = 1, pause_reason = 'maintenance'").await;
        assert_eq!(outsider.one(PAUSE).await, "1|maintenance|NULL|NULL");

        let mut outsider = paused().await;
        outsider.must(pragma).await;
        outsider.must("UPDATE control SET paused = 0").await;
        outsider.must("UPDATE control SET paused = 1").await;
        assert_eq!(outsider.one(PAUSE).await, "1|it was restored|NULL|NULL");
    }
}

#[tokio::test]
async fn other_changes_of_a_paused_queue_keep_its_code() {
    let mut outsider = paused().await;
    outsider.must("UPDATE control SET probe_requested = 1, paused = 1").await;
    assert_eq!(outsider.one(PAUSE).await, r#"1|it was restored|restored_behind|{"newest":3,"made":7}"#);
    let other = r#"UPDATE control SET pause_reason = 'more is missing', pause_parameters = '{"newest":3,"made":8}'"#;
    outsider.must(other).await;
    assert_eq!(outsider.one(PAUSE).await, r#"1|more is missing|restored_behind|{"newest":3,"made":8}"#);
}

#[tokio::test]
async fn a_heartbeat_has_a_code_and_a_text_written_by_hand_has_none() {
    for pragma in PRAGMAS {
        let mut outsider = Outsider::new().await;
        outsider.must(pragma).await;
        let beat = r#"UPDATE daemon SET why = 'busy', why_code = 'ca_busy', why_parameters = '{"error":1}'"#;
        outsider.must(beat).await;
        outsider.must(beat).await;
        assert_eq!(outsider.one(WHY).await, r#"busy|ca_busy|{"error":1}"#);
        outsider.must("UPDATE daemon SET why = 'something else'").await;
        assert_eq!(outsider.one(WHY).await, "something else|NULL|NULL");
    }
}

/// A submission that waits for its next try.
async fn waiting() -> Outsider {
    let mut outsider = Outsider::new().await;
    outsider.enqueue("row").await;
    let put_off = r#"UPDATE submissions SET due_at = 9999999999, reason = 'try 1 of 8 failed', reason_code = 'try_failed',
        reason_parameters = '{"try":1,"max_tries":8}'"#;
    outsider.must(put_off).await;
    outsider
}

#[tokio::test]
async fn a_reason_written_by_hand_clears_the_previous_code() {
    for set in ["reason = 'asked the CA'", "state = 'canceled', reason = 'not wanted any more'", "reason = NULL"] {
        for pragma in PRAGMAS {
            let mut outsider = waiting().await;
            outsider.must(pragma).await;
            outsider.must(&format!("UPDATE submissions SET {set}, due_at = 5")).await;
            let row = outsider.one(REASON).await;
            assert!(row.ends_with("|NULL|NULL") && !row.contains("try 1"), "{set}: {row}");
        }
    }
}

#[tokio::test]
async fn a_reason_keeps_its_code_when_other_columns_change_and_when_certcommit_writes_the_next_reason() {
    let mut outsider = waiting().await;
    outsider.must("UPDATE submissions SET priority = 3, due_at = 5").await;
    assert_eq!(outsider.one(REASON).await, r#"pending|try 1 of 8 failed|try_failed|{"try":1,"max_tries":8}"#);
    let next = r#"UPDATE submissions SET reason = 'try 2 of 8 failed', reason_code = 'try_failed',
        reason_parameters = '{"try":2,"max_tries":8}'"#;
    outsider.must(next).await;
    assert_eq!(outsider.one(REASON).await, r#"pending|try 2 of 8 failed|try_failed|{"try":2,"max_tries":8}"#);
    assert_eq!(outsider.one("SELECT reason_code FROM submission_report").await, "try_failed");
    outsider.must("UPDATE submissions SET state = 'canceled'").await;
    assert_eq!(outsider.one(REASON).await, r#"canceled|try 2 of 8 failed|try_failed|{"try":2,"max_tries":8}"#);
}

#[tokio::test]
async fn a_row_that_is_set_to_pending_by_hand_has_no_cause() {
    for state in [State::Failed, State::Held, State::Canceled] {
        let mut outsider = Outsider::new().await;
        outsider.in_state("row", state).await;
        outsider.must("UPDATE submissions SET reason = 'why', reason_code = 'code', reason_parameters = '{}'").await;
        outsider.must("UPDATE submissions SET state = 'pending'").await;
        assert_eq!(outsider.one(REASON).await, "pending|NULL|NULL|NULL", "{state}");
    }
}

#[tokio::test]
async fn a_new_submission_has_no_cause() {
    let mut outsider = Outsider::new().await;
    for column in ["reason_code", "reason_parameters"] {
        let insert = format!("INSERT INTO submissions (certificate_id, {column}) VALUES ('row', 'x')");
        outsider.refused(&insert, "reason_code and reason_parameters are written by certcommit; leave them out").await;
    }
}
