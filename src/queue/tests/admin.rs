//! What operators do with the queue.

use super::super::due_order::{HIGHEST_PRIORITY, PRIORITIES};
use super::*;
use crate::submission::VerifyType;

async fn failed(code: &str, ids: &[&str]) -> Site {
    let mut site = Site::with(ids).await;
    for _ in ids {
        site.commit(0, Outcome::refused(OutcomeClass::Failed, ApiError::new(code, "words", None))).await;
    }
    site
}

fn with(error_code: Option<&str>, reference: Option<&str>) -> Selection {
    Selection::With { error_code: error_code.map(str::to_owned), reference: reference.map(str::to_owned) }
}

fn ids(texts: &[&str]) -> Selection {
    Selection::Ids(texts.iter().map(|text| id(text)).collect())
}

#[tokio::test]
async fn enqueueing_counts_what_was_new_known_and_refused() {
    let mut site = Site::with(&["known", "familiar", "placed"]).await;
    site.sql("UPDATE submissions SET due_at = 9999 WHERE certificate_id <> 'placed'").await;
    site.commit(0, receipt()).await;
    site.sql("DELETE FROM submissions WHERE certificate_id = 'placed'").await;
    let batch = ["known", "one", "placed", "two", "familiar", "three"].map(new);
    let enqueued = site.queue.enqueue(&batch).await.unwrap();
    assert_eq!((enqueued.new, enqueued.known), (3, 2));
    let [(place, sentence)] = <[(usize, String); 1]>::try_from(enqueued.refused).unwrap();
    assert_eq!(place, 2, "placed");
    assert!(sentence.contains("its order is placed"), "{sentence}");
}

#[tokio::test]
async fn a_new_submission_has_the_given_values_and_a_known_one_stays_as_it_was() {
    let mut site = Site::new().await;
    let given = NewSubmission {
        verify_type: Some(VerifyType::FileProxy),
        priority: 2,
        reference: Some("renewals".into()),
        ..new("a")
    };
    site.enqueue(given).await;
    site.queue.enqueue(&[NewSubmission { due_at: None, ..new("a") }]).await.unwrap();
    site.enqueue(NewSubmission { due_at: None, ..new("b") }).await;
    let kept =
        "SELECT count(*) FROM submissions WHERE certificate_id = 'a' AND verify_type = 'FILE_PROXY' AND priority = 2
                   AND reference = 'renewals' AND due_at = 1000";
    assert_eq!(site.number(kept).await, Some(1));
    let now = "SELECT count(*) FROM submissions WHERE certificate_id = 'b' AND due_at = created_at";
    assert_eq!(site.number(now).await, Some(1), "due at once by default");
}

/// The rules, the claim and the status each list the priorities in SQL.
#[tokio::test]
async fn every_priority_that_the_rules_allow_is_claimed_and_shown() {
    let mut site = Site::new().await;
    let priorities = 0..u8::try_from(PRIORITIES).unwrap();
    for priority in priorities.clone() {
        let due_at = Some(1000 + i64::from(priority));
        site.enqueue(NewSubmission { priority, due_at, ..new(&format!("p{priority}")) }).await;
        let status = site.queue.status(BEGIN).await.unwrap();
        assert_eq!((status.next_due, status.last_due), (Some(1000), due_at));
    }
    let refused = NewSubmission { priority: priorities.end, ..new("above") };
    assert_eq!(site.queue.enqueue(&[refused]).await.unwrap().refused.len(), 1);
    let claimed = site.commits(0, usize::from(priorities.end)).await;
    assert_eq!(
        names(&claimed),
        (0..=HIGHEST_PRIORITY).rev().map(|priority| format!("p{priority}")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn named_submissions_are_moved_if_they_are_in_one_of_the_states() {
    let mut site = failed("Some.Code", &["a", "b", "c"]).await;
    site.enqueue(new("d")).await;
    let moved = site
        .queue
        .shift(&ids(&["a", "b", "d", "a", "unknown", "d"]), &[State::Failed], State::Pending, None)
        .await
        .unwrap();
    assert_eq!(moved, Shifted { moved: 2, unmoved: vec![id("d"), id("unknown")] });
    for (text, state) in [("a", "pending"), ("b", "pending"), ("c", "failed"), ("d", "pending")] {
        assert_eq!(site.state(text).await, state, "{text}");
    }
    assert!(site.number("SELECT min(due_at) FROM submissions WHERE certificate_id IN ('a', 'b')").await > Some(BEGIN));
}

#[tokio::test]
async fn submissions_are_selected_by_error_code_by_reference_or_all() {
    let mut site = failed("This.Code", &["a", "b"]).await;
    let moved = site.queue.shift(&with(Some("Other.Code"), None), &[State::Failed], State::Pending, None).await;
    assert_eq!(moved.unwrap().moved, 0);
    let moved = site.queue.shift(&with(Some("This.Code"), None), &[State::Failed], State::Pending, None).await;
    assert_eq!(moved.unwrap().moved, 2);
    for text in ["c", "d"] {
        site.enqueue(NewSubmission { reference: Some("mine".into()), ..new(text) }).await;
    }
    let moved = site.queue.shift(&with(None, Some("mine")), &[State::Pending], State::Canceled, None).await;
    assert_eq!(moved.unwrap().moved, 2);
    assert_eq!((site.state("a").await.as_str(), site.state("c").await.as_str()), ("pending", "canceled"));
    let from = [State::Canceled, State::Pending];
    let moved = site.queue.shift(&Selection::All, &[State::Pending], State::Canceled, None).await;
    assert_eq!(moved.unwrap().moved, 2);
    let moved = site.queue.shift(&Selection::All, &from, State::Pending, None).await;
    assert_eq!(moved.unwrap().moved, 4);
}

#[tokio::test]
async fn a_change_that_a_rule_rejects_for_one_row_changes_none() {
    let mut site = Site::with(&["b"]).await;
    site.commit(0, receipt()).await;
    site.enqueue(new("a")).await;
    let from = [State::Pending, State::Submitted];
    let error = site.queue.shift(&ids(&["a", "b"]), &from, State::Canceled, None).await.unwrap_err();
    assert_eq!(error.to_string(), "a submitted submission is final");
    assert_eq!(site.state("a").await, "pending");
}

#[tokio::test]
async fn only_submissions_in_doubt_or_held_are_resolved_by_hand() {
    let cases = [
        (Resolution::Submitted("SO5".into()), "submitted", Some("SO5"), Some("decided by an operator")),
        (Resolution::Failed, "failed", None, Some("decided by an operator")),
        (Resolution::Pending, "pending", None, None),
    ];
    for (resolution, state, order_id, reason) in cases {
        let mut site = Site::with(&["held", "doubt"]).await;
        site.commit(0, lost()).await;
        site.commit(0, lost()).await;
        site.sql("UPDATE submissions SET state = 'held' WHERE certificate_id = 'held'").await;
        site.enqueue(new("fresh")).await;
        for text in ["held", "doubt"] {
            assert!(site.queue.resolve(&id(text), &resolution).await.unwrap(), "{text} {resolution:?}");
            let line = site.line(text).await;
            let shown = (line.state.as_str(), line.order_id.as_deref(), line.reason.as_deref());
            assert_eq!(shown, (state, order_id, reason), "{text} {resolution:?}");
        }
        for text in ["fresh", "unknown"] {
            assert!(!site.queue.resolve(&id(text), &resolution).await.unwrap(), "{text} {resolution:?}");
        }
        assert_eq!(site.state("fresh").await, "pending");
    }
}

#[tokio::test]
async fn failed_submissions_are_grouped_by_what_they_share_and_corrected_together() {
    let mut site = failed("InvalidParam", &["a", "b", "c", "d"]).await;
    site.sql("UPDATE submissions SET verify_type = 'FILE', reference = 'spring' WHERE certificate_id IN ('a', 'b')")
        .await;
    site.sql("UPDATE submissions SET reference = 'autumn' WHERE certificate_id = 'c'").await;
    let groups = site.queue.failed_groups(Some("InvalidParam"), None, 10).await.unwrap();
    let shown: Vec<_> = groups
        .iter()
        .map(|group| {
            let text = |text: &Option<UntrustedText>| text.as_ref().map(|text| text.as_str().to_owned());
            (group.count, text(&group.error_message), text(&group.verify_type), text(&group.reference))
        })
        .collect();
    let words = || Some("words".to_owned());
    let expected = [
        (2, words(), Some("FILE".to_owned()), Some("spring".to_owned())),
        (1, words(), None, None),
        (1, words(), None, Some("autumn".to_owned())),
    ];
    assert_eq!(shown, expected);
    assert_eq!(site.queue.failed_groups(Some("InvalidParam"), Some("autumn"), 10).await.unwrap().len(), 1);
    assert_eq!(site.queue.failed_groups(Some("Other"), None, 10).await.unwrap(), []);

    let selection = with(Some("InvalidParam"), Some("spring"));
    let moved = site.queue.shift(&selection, &[State::Failed], State::Pending, Some(VerifyType::DnsAuto)).await;
    assert_eq!(moved.unwrap().moved, 2);
    let corrected = "SELECT count(*) FROM submissions WHERE state = 'pending' AND verify_type = 'DNS_AUTO'";
    assert_eq!(site.number(corrected).await, Some(2));
    assert_eq!(site.state("c").await, "failed");
}

#[tokio::test]
async fn marking_everything_pending_to_be_read_back_is_noted() {
    let mut site = Site::with(&["a"]).await;
    let verified = "SELECT verified_at FROM control";
    site.queue.shift(&ids(&["a"]), &[State::Pending], State::InDoubt, None).await.unwrap();
    assert_eq!(site.number(verified).await, None);
    site.queue.shift(&Selection::All, &[State::Pending], State::InDoubt, None).await.unwrap();
    assert!(site.number(verified).await.is_some());
}
