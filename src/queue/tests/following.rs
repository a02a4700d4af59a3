//! Following the certificates whose order stands.

use super::*;
use crate::submission::Standing;

/// The first look comes this long after the order.
const FIRST: Duration = Duration::from_secs(99);
const INTERVAL: Duration = Duration::from_secs(600);

/// So many seconds after the beginning, as a time of the wall clock.
fn after(seconds: i64) -> UnixMillis {
    UnixMillis::of_seconds(BEGIN + seconds)
}

/// A queue with submitted, failed and pending certificates.
async fn site() -> Site {
    let mut site = Site::with(&["first", "second", "pending"]).await;
    site.sql("UPDATE submissions SET due_at = 9999999999 WHERE certificate_id = 'pending'").await;
    site.commit(0, receipt()).await;
    site.commit(1, receipt()).await;
    changed_when_finished(&mut site).await;
    site
}

/// In these tests, a claim and its result have the same time; a rule takes that for an outside change, and sets the real time.
async fn changed_when_finished(site: &mut Site) {
    site.sql("UPDATE submissions SET updated_at = finished_at WHERE state = 'submitted'").await;
}

/// The certificates that are due then.
async fn due(site: &mut Site, seconds: i64) -> Vec<String> {
    let due = site.queue.due_to_follow(after(seconds), 100).await.unwrap();
    due.into_iter().map(|followed| followed.certificate_id.to_string()).collect()
}

/// Follows everything that can be.
async fn adopt_all(site: &mut Site, seconds: i64) -> FollowCursor {
    let mut cursor = FollowCursor::default();
    while site.queue.adopt(&mut cursor, FIRST, after(seconds)).await.unwrap() {}
    cursor
}

#[tokio::test]
async fn what_is_submitted_is_looked_at_a_while_after_the_order_and_the_rest_is_not() {
    let mut site = site().await;
    assert_eq!(due(&mut site, 100).await, [""; 0]);
    adopt_all(&mut site, 50).await;
    assert_eq!(due(&mut site, 98).await, [""; 0]);
    assert_eq!(due(&mut site, 100).await, ["first", "second"]);
}

#[tokio::test]
async fn what_is_submitted_later_is_followed_too_and_nothing_twice() {
    let mut site = site().await;
    let mut cursor = adopt_all(&mut site, 100).await;
    site.enqueue(new("third")).await;
    site.commit(200, receipt()).await;
    changed_when_finished(&mut site).await;
    let before = cursor;
    site.queue.adopt(&mut cursor, FIRST, after(201)).await.unwrap();
    assert_eq!(cursor, before, "a change of the last two seconds may not be written yet");
    site.queue.adopt(&mut cursor, FIRST, after(202)).await.unwrap();
    assert_eq!(due(&mut site, 298).await, ["first", "second"]);
    assert_eq!(due(&mut site, 299).await, ["first", "second", "third"]);
    adopt_all(&mut site, 300).await;
    assert_eq!(site.number("SELECT count(*) FROM followed").await, Some(3));
}

#[tokio::test]
async fn an_answer_that_is_final_is_not_followed() {
    let mut site = Site::with(&["issued"]).await;
    site.commit(0, Outcome::submitted("SO1".into(), 1, None)).await;
    changed_when_finished(&mut site).await;
    adopt_all(&mut site, 100).await;
    assert_eq!(due(&mut site, 100).await, [""; 0]);
}

#[tokio::test]
async fn a_look_is_recorded_beside_the_answer_with_the_time_of_the_change() {
    let mut site = site().await;
    adopt_all(&mut site, 100).await;
    for (seconds, status) in [(100, 8), (700, 8), (1_300, 0)] {
        let due = site.queue.due_to_follow(after(seconds), 10).await.unwrap();
        let followed = due.into_iter().find(|followed| followed.certificate_id.as_str() == "first").unwrap();
        let look = followed.seen(Some(status), None, INTERVAL, after(seconds));
        site.queue.record_looks(&[look], after(seconds)).await.unwrap();
    }
    let report = "SELECT status || ' ' || current_status || ' ' || current_status_text || ' ' || current_status_at
                    FROM submission_report WHERE certificate_id = 'first'";
    assert_eq!(site.text(report).await.as_deref(), Some("8 0 reviewing 2023-11-14T22:35:00Z"));
    assert_eq!(
        site.text("SELECT current_status_at FROM submission_report WHERE certificate_id = 'second'").await,
        None
    );
}

#[tokio::test]
async fn a_certificate_that_a_reply_leaves_out_keeps_what_is_known_and_is_looked_at_again() {
    let mut site = site().await;
    adopt_all(&mut site, 100).await;
    for (seconds, status, message) in [(100, Some(4), Some("waiting for DNS")), (900, None, None)] {
        let due = site.queue.due_to_follow(after(seconds), 1).await.unwrap();
        let look = due[0].seen(status, message.map(str::to_owned), INTERVAL, after(seconds));
        site.queue.record_looks(&[look], after(seconds)).await.unwrap();
        site.sql("UPDATE followed SET due_at = NULL WHERE submission = 2").await;
    }
    let known = "SELECT status || ' ' || (status_at - 1700000000) || ' ' || (read_at - 1700000000) || ' ' ||
                        (due_at - 1700000000) || ' ' || message FROM followed WHERE submission = 1";
    assert_eq!(site.text(known).await.as_deref(), Some("4 100 900 1500 waiting for DNS"));
}

#[tokio::test]
async fn a_final_status_is_never_read_again_and_a_deleted_submission_is_forgotten() {
    let mut site = site().await;
    adopt_all(&mut site, 100).await;
    let followed = site.queue.due_to_follow(after(100), 10).await.unwrap();
    let looks: Vec<Look> = [1, 7]
        .into_iter()
        .zip(&followed)
        .map(|(status, followed)| followed.seen(Some(status), None, INTERVAL, after(100)))
        .collect();
    site.queue.record_looks(&looks, after(100)).await.unwrap();
    assert_eq!(site.number("SELECT count(*) FROM followed WHERE due_at IS NOT NULL").await, Some(0));
    site.sql("DELETE FROM submissions WHERE certificate_id = 'first'").await;
    assert_eq!(site.number("SELECT count(*) FROM followed").await, Some(1));
}

#[tokio::test]
async fn a_look_from_before_the_clock_was_set_back_is_due_now() {
    let mut site = site().await;
    adopt_all(&mut site, 100).await;
    let followed = site.queue.due_to_follow(after(100), 10).await.unwrap();
    for (followed, seconds) in followed.iter().zip([100, 90_000]) {
        let look = followed.seen(Some(0), None, INTERVAL, after(seconds));
        site.queue.record_looks(&[look], after(seconds)).await.unwrap();
    }
    site.queue.follow_clock_back(after(200)).await.unwrap();
    assert_eq!(due(&mut site, 200).await, ["second"]);
}

#[tokio::test]
async fn the_certificates_that_were_looked_at_are_counted_by_where_they_stand() {
    let mut site = site().await;
    adopt_all(&mut site, 100).await;
    let followed = site.queue.due_to_follow(after(100), 10).await.unwrap();
    let looks: Vec<Look> =
        followed.iter().zip([12, 8]).map(|(one, status)| one.seen(Some(status), None, INTERVAL, after(100))).collect();
    site.queue.record_looks(&looks, after(100)).await.unwrap();
    let counted = site.queue.count_standing(&[Standing::LetterNeeded, Standing::Refused]).await.unwrap();
    assert_eq!(counted, [(Standing::LetterNeeded, 2), (Standing::Refused, 0)]);
}

#[test]
fn the_next_look_comes_later_the_longer_nothing_changes_and_soon_after_a_change() {
    let followed = |status| Followed {
        submission: 1,
        certificate_id: UntrustedText::of("a"),
        order_id: None,
        status,
        since: Some(BEGIN),
    };
    for (before, now, expected) in [
        (None, Some(8), Some(600)),
        (Some(8), Some(8), Some(1_000)),
        (Some(8), None, Some(1_000)),
        (Some(0), Some(8), Some(600)),
        (Some(8), Some(1), None),
    ] {
        let look = followed(before).seen(now, None, INTERVAL, after(8_000));
        assert_eq!(look.due_at, expected.map(|wait| BEGIN + 8_000 + wait), "{before:?} {now:?}");
    }
}
