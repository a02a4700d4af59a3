//! When orders are looked at, and what a reply means for them.

use super::super::fixtures;
use super::*;
use crate::cause::ApiError;
use crate::queue::UntrustedText;

const INTERVAL: Duration = Duration::from_secs(600);

/// Following that is on, and where its queue is.
async fn following() -> (Following, tempfile::TempDir, Now) {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = fixtures::queue(directory.path()).await;
    let mut settings = fixtures::settings();
    settings.follow.interval = Some(INTERVAL);
    let now = clock::now();
    (Following::new(&settings, fixtures::client(), queue.files().clone(), now.instant), directory, now)
}

fn followed(id: &str) -> Followed {
    Followed { submission: 1, certificate_id: UntrustedText::of(id), order_id: None, status: Some(8), since: Some(0) }
}

fn found(due: Vec<Followed>, may_be_more: bool) -> Step {
    Step::Searched(Ok(Found { cursor: FollowCursor::default(), may_be_more, due, standings: Vec::new() }))
}

fn refused(class: OutcomeClass) -> Outcome {
    Outcome::refused(class, ApiError::new("A.B", "no", None))
}

fn looked(due: Vec<Followed>, statuses: Result<Vec<SeenStatus>, Outcome>) -> Step {
    let read = StatusesRead { statuses, departed: None };
    Step::Looked(Box::new(Looked { due, read, recorded: Ok(Vec::new()) }))
}

/// How long after this it wants to go on.
fn wait(following: &Following, now: Now) -> Option<Duration> {
    following.next_wakeup(None).map(|at| at - now.instant)
}

#[tokio::test]
async fn it_searches_at_the_start_and_again_soon_and_not_at_all_without_an_interval() {
    let (mut following, _directory, now) = following().await;
    assert_eq!(wait(&following, now), Some(Duration::ZERO));
    following.handle(found(Vec::new(), true), now);
    assert_eq!(wait(&following, now), Some(Duration::ZERO), "there may be more to examine");
    following.handle(found(Vec::new(), false), now);
    assert_eq!(wait(&following, now), Some(SEARCH_AGAIN));
    following.set(&fixtures::settings(), now.instant);
    assert_eq!(wait(&following, now), None);
}

#[tokio::test]
async fn what_is_due_waits_for_a_slot() {
    let (mut following, _directory, now) = following().await;
    following.handle(found(vec![followed("a")], false), now);
    let slot = now.instant + Duration::from_secs(3);
    assert!(following.wants_slot());
    assert_eq!((following.next_wakeup(None), following.next_wakeup(Some(slot))), (None, Some(slot)));
}

#[tokio::test]
async fn an_unusable_reply_is_asked_for_again_with_fewer_certificates_and_a_good_one_with_more() {
    let (mut following, _directory, now) = following().await;
    for (due, statuses, expected) in [
        (100, Err(refused(OutcomeClass::Retry)), 50),
        (50, Err(refused(OutcomeClass::Failed)), 25),
        (25, Err(refused(OutcomeClass::Throttled)), 25),
        (25, Ok(Vec::new()), 50),
        (50, Ok(Vec::new()), 100),
        (100, Ok(Vec::new()), 100),
    ] {
        following.handle(looked(vec![followed("a"); due], statuses.clone()), now);
        assert_eq!(following.at_once, expected, "{due} {statuses:?}");
    }
}

#[tokio::test]
async fn the_wait_after_a_failure_doubles_up_to_the_longest_and_a_success_ends_it() {
    let (mut following, _directory, now) = following().await;
    let denied = || looked(vec![followed("a")], Err(refused(OutcomeClass::Denied)));
    let waits = [30, 60, 120, 240, 480, 900, 900].map(Duration::from_secs);
    for expected in waits {
        following.handle(denied(), now);
        assert_eq!(wait(&following, now), Some(expected));
    }
    following.handle(looked(vec![followed("a")], Ok(Vec::new())), now);
    following.handle(denied(), now);
    assert_eq!(wait(&following, now), Some(waits[0]));
}

#[test]
fn a_reply_about_one_certificate_that_is_unusable_leaves_it_for_later_and_others_stay_due() {
    let now = UnixMillis::of_seconds(8_000);
    let statuses = |id: &str, status| vec![SeenStatus { certificate_id: id.parse().unwrap(), status, message: None }];
    let looks = |due: &[&str], read| {
        let due: Vec<Followed> = due.iter().map(|id| followed(id)).collect();
        let looks = looks(&due, &read, INTERVAL, now);
        looks.into_iter().map(|look| (look.status, look.due_at)).collect::<Vec<_>>()
    };
    let later = Some(9_000);
    assert_eq!(looks(&["a", "b"], Ok(statuses("b", 1))), [(None, later), (Some(1), None)]);
    assert_eq!(looks(&["a"], Err(refused(OutcomeClass::Failed))), [(None, later)]);
    assert_eq!(looks(&["a", "b"], Err(refused(OutcomeClass::Failed))), []);
    assert_eq!(looks(&["a"], Err(refused(OutcomeClass::Denied))), []);
}
