//! A pipeline: which claims it takes, in which order and when it sends them, and which it returns.

use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use super::circuit_breaker::{BreakerPolicy, Observation};
use super::pipeline::{Pipeline, PipelineSettings};
use crate::cause::PauseCause;
use crate::pacing::Limits;
use crate::queue::Claim;
use crate::submission::{Evidence, FaultKind, HealthSignal, RateSignal, RequestKind, Row, State};

const LIMITS: Limits = Limits { per_second: 1, guard: Duration::ZERO };
const POLICY: BreakerPolicy =
    BreakerPolicy { after: 5, probe_initial: Duration::from_secs(30), probe_max: Duration::from_secs(900) };
const SECOND: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(99);
const SLOW: Duration = Duration::from_millis(100);

/// A pipeline of one request a second whose first slot is open, and the time of that slot.
fn pipeline(max_in_flight: usize) -> (Pipeline, Instant) {
    let started = crate::clock::now().instant;
    (Pipeline::new(PipelineSettings { limits: LIMITS, breaker: POLICY, max_in_flight }, started), started + SECOND)
}

fn trip(pipeline: &mut Pipeline, now: Instant) {
    let (health, rate) = (HealthSignal::Fault(FaultKind::Account), RateSignal::Silent);
    let cause = Some(PauseCause::ApiUnreachable { why: "refused".into() });
    let seen = Observation { submission: 1, sent: now, health, rate, code: None, cause };
    pipeline.breaker.observe(&seen, now);
}

/// A pipeline whose breaker is tripped, and when its probe is due.
fn tripped_pipeline() -> (Pipeline, Instant) {
    let (mut pipeline, now) = pipeline(64);
    trip(&mut pipeline, now);
    (pipeline, now + POLICY.probe_initial)
}

fn claim(request: i64) -> Claim {
    let row = Row { state: State::InFlight, tries: 0, is_probe: false, evidence: Evidence::none() };
    let certificate_id = format!("c{request}").parse().unwrap();
    let kind = RequestKind::Commit;
    Claim { request, kind, submission: request + 100, certificate_id, verify_type: None, row }
}

fn claims(requests: impl IntoIterator<Item = i64>) -> Vec<Claim> {
    requests.into_iter().map(claim).collect()
}

fn numbers(claims: &[Claim]) -> Vec<i64> {
    claims.iter().map(|claim| claim.request).collect()
}

fn held(pipeline: &Pipeline) -> Vec<i64> {
    let mut held: Vec<i64> = pipeline.held().collect();
    held.sort_unstable();
    held
}

async fn task() -> Id {
    let task = tokio::spawn(async {});
    let id = task.id();
    task.await.unwrap();
    id
}

#[tokio::test]
async fn it_takes_sixteen_ahead_of_the_limiter_and_no_more_than_may_be_on_their_way() {
    let (mut wide, now) = pipeline(64);
    assert_eq!(wide.room(now), 16);
    assert!(wide.accept(claims(1..=4), None, now).is_empty());
    assert_eq!(wide.room(now), 12);
    let (mut narrow, now) = pipeline(5);
    assert_eq!(narrow.room(now), 5);
    narrow.accept(claims(1..=3), None, now);
    let first = narrow.next(now).unwrap();
    narrow.sent(task().await, first);
    assert_eq!(narrow.room(now), 2, "one is in flight and two are ready");
    narrow.accept(claims(4..=5), None, now);
    assert_eq!(narrow.room(now), 0);
}

#[test]
fn it_asks_for_more_at_six_ahead_and_takes_along_a_handful_or_nothing() {
    let with = |ahead: i64| {
        let (mut pipeline, now) = pipeline(64);
        pipeline.accept(claims(1..=ahead), Some(100), now);
        (pipeline.is_hungry(now, 100, QUICK), pipeline.room(now))
    };
    assert_eq!([6, 7, 12, 13, 16].map(with), [(true, 10), (false, 9), (false, 4), (false, 0), (false, 0)]);
}

#[test]
fn where_batches_are_slow_it_asks_as_soon_as_there_is_room_for_a_handful() {
    let hungry = |ahead: i64| {
        let (mut pipeline, now) = pipeline(64);
        pipeline.accept(claims(1..=ahead), Some(100), now);
        pipeline.is_hungry(now, 100, SLOW)
    };
    assert_eq!([7, 12, 13].map(hungry), [true, true, false]);
}

#[test]
fn the_next_due_time_is_what_the_last_batch_found() {
    let (mut pipeline, now) = pipeline(64);
    assert_eq!(pipeline.next_due(), None);
    for due in [Some(100), Some(-3), None] {
        pipeline.accept(Vec::new(), due, now);
        assert_eq!(pipeline.next_due(), due);
    }
}

#[test]
fn other_settings_count_from_now_on_and_what_it_holds_stays() {
    let (mut pipeline, now) = pipeline(64);
    pipeline.accept(claims([1, 2]), None, now);
    let limits = Limits { per_second: 2, guard: Duration::ZERO };
    let breaker = BreakerPolicy { probe_initial: POLICY.probe_initial * 2, ..POLICY };
    pipeline.set(PipelineSettings { limits, breaker, max_in_flight: 8 }, now);
    assert_eq!((held(&pipeline), pipeline.room(now)), (vec![1, 2], 6));
    pipeline.next(now).unwrap();
    assert_eq!(pipeline.next_slot(now), Some(now + SECOND / 2));
    trip(&mut pipeline, now);
    assert_eq!(pipeline.breaker.next_probe(), Some(now + POLICY.probe_initial * 2));
}

#[tokio::test]
async fn it_is_hungry_when_something_is_due_and_there_is_room() {
    let (mut pipeline, now) = pipeline(1);
    assert!(!pipeline.is_hungry(now, 100, QUICK), "nothing is known to be due");
    pipeline.accept(Vec::new(), Some(100), now);
    assert!(!pipeline.is_hungry(now, 99, QUICK));
    assert!(pipeline.is_hungry(now, 100, QUICK) && pipeline.is_hungry(now, 101, QUICK));
    pipeline.accept(claims([1]), Some(100), now);
    assert!(!pipeline.is_hungry(now, 100, QUICK), "it is full");
}

#[tokio::test]
async fn claims_go_out_in_their_order_each_in_a_slot_of_its_own() {
    let (mut pipeline, now) = pipeline(64);
    assert_eq!((pipeline.next(now), pipeline.next_slot(now)), (None, None), "there is nothing to send");
    pipeline.accept(claims([1, 2]), None, now);
    assert_eq!(pipeline.next_slot(now), Some(now));
    assert_eq!(pipeline.next(now - Duration::from_nanos(1)), None, "before the slot");
    let first = pipeline.next(now).unwrap();
    assert_eq!(first.request, 1);
    let sent = task().await;
    pipeline.sent(sent, first);
    assert!(pipeline.departed(1, now));
    assert_eq!(pipeline.next(now), None, "the slot is taken");
    assert_eq!(pipeline.next_slot(now), Some(now + SECOND));
    assert_eq!(pipeline.next(now + SECOND).unwrap().request, 2);
}

#[tokio::test]
async fn an_empty_pipeline_takes_no_slot() {
    let (mut pipeline, now) = pipeline(64);
    assert_eq!(pipeline.next(now), None);
    pipeline.accept(claims([1]), None, now);
    assert_eq!(pipeline.next(now).map(|claim| claim.request), Some(1));
}

#[tokio::test]
async fn a_request_departs_once_and_only_in_its_own_pipeline() {
    let (mut pipeline, now) = pipeline(64);
    pipeline.accept(claims([1]), None, now);
    let first = pipeline.next(now).unwrap();
    assert!(!pipeline.departed(1, now), "it isn't sent yet");
    pipeline.sent(task().await, first);
    assert!(!pipeline.departed(2, now));
    assert!(pipeline.departed(1, now));
    assert!(!pipeline.departed(1, now), "it was known to have");
}

/// When the second of two requests may go out, if the first departed then, and that was reported or not.
async fn slot_after(reported: bool, departed: Option<Duration>) -> Duration {
    let (mut pipeline, now) = pipeline(64);
    pipeline.accept(claims([1, 2]), None, now);
    let first = pipeline.next(now).unwrap();
    let sent = task().await;
    pipeline.sent(sent, first);
    if reported {
        assert!(pipeline.departed(1, now));
    }
    assert_eq!(pipeline.in_flight(), 1);
    assert_eq!(pipeline.ended(sent, departed.map(|after| now + after)).map(|claim| claim.request), Some(1));
    assert_eq!(pipeline.in_flight(), 0);
    assert_eq!(pipeline.ended(sent, None), None, "it ended already");
    pipeline.next_slot(now + SECOND).unwrap() - now
}

#[tokio::test]
async fn a_slot_counts_from_the_departure_however_it_is_reported_and_is_free_if_there_was_none() {
    let half = Duration::from_millis(500);
    assert_eq!(slot_after(false, Some(half)).await, SECOND + half, "its end reports it");
    assert_eq!(slot_after(true, Some(half)).await, SECOND, "its departure counts once");
    assert_eq!(slot_after(true, None).await, SECOND);
    assert_eq!(slot_after(false, None).await, SECOND, "nothing went out; only the spacing holds");
}

#[tokio::test]
async fn claims_that_are_not_sent_are_returned_and_those_in_flight_can_be_abandoned() {
    let (mut pipeline, now) = pipeline(64);
    pipeline.accept(claims([11, 12, 13]), None, now);
    let first = pipeline.next(now).unwrap();
    pipeline.sent(task().await, first);
    assert_eq!(held(&pipeline), [11, 12, 13]);
    assert_eq!(numbers(&pipeline.drain_ready(now)), [12, 13]);
    assert_eq!((held(&pipeline), pipeline.in_flight()), (vec![11], 1));
    assert_eq!(numbers(&pipeline.drain_in_flight()), [11]);
    assert_eq!((held(&pipeline), pipeline.in_flight()), (vec![], 0));
}

#[test]
fn a_breaker_that_tripped_since_lets_one_probe_through_or_none() {
    let (mut pipeline, due) = tripped_pipeline();
    let early = due - SECOND;
    assert_eq!(pipeline.room(early), 0);
    assert_eq!(numbers(&pipeline.accept(claims([1, 2]), None, early)), [1, 2]);
    assert_eq!(pipeline.room(due), 1);
    assert_eq!(numbers(&pipeline.accept(claims([3, 4]), None, due)), [4]);
    assert_eq!(held(&pipeline), [3]);
    assert_eq!((pipeline.breaker.next_probe(), pipeline.room(due)), (None, 0), "one probe at a time");
}

#[test]
fn with_nothing_to_probe_with_it_looks_again_a_second_later() {
    let (mut pipeline, due) = tripped_pipeline();
    pipeline.accept(Vec::new(), None, due);
    assert_eq!(pipeline.breaker.next_probe(), Some(due + SECOND));
}

#[test]
fn claims_that_are_ready_as_the_breaker_trips_are_no_probes_and_delay_none() {
    let (mut pipeline, now) = pipeline(64);
    pipeline.accept(claims([1, 2]), None, now);
    trip(&mut pipeline, now);
    assert_eq!(numbers(&pipeline.drain_ready(now)), [1, 2]);
    assert_eq!(pipeline.breaker.next_probe(), Some(now + POLICY.probe_initial));
}

#[test]
fn a_probe_that_is_returned_unsent_is_tried_again_a_second_later() {
    let (mut pipeline, due) = tripped_pipeline();
    assert!(pipeline.drain_ready(due).is_empty());
    assert_eq!(pipeline.breaker.next_probe(), Some(due), "no probe was claimed: it stays due");
    pipeline.accept(claims([3]), None, due);
    assert_eq!(numbers(&pipeline.drain_ready(due)), [3]);
    assert_eq!(pipeline.breaker.next_probe(), Some(due + SECOND));
}

#[test]
fn no_probe_follows_while_one_is_in_flight() {
    let (mut pipeline, due) = tripped_pipeline();
    pipeline.accept(claims([3]), None, due);
    assert_eq!(pipeline.next(due).map(|claim| claim.request), Some(3));
    assert!(pipeline.drain_ready(due).is_empty());
    assert_eq!(pipeline.breaker.next_probe(), None);
}
