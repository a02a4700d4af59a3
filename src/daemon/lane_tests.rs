//! A lane: what it takes, in which order and when it lets it go, and what it gives back.

use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use super::gate::{Ending, Fault, GatePolicy};
use super::lane::{Lane, LaneSettings};
use crate::pacing::Limits;
use crate::queue::Claim;
use crate::submission::{Evidence, Row, State};

const LIMITS: Limits = Limits { per_second: 1, guard: Duration::ZERO };
const POLICY: GatePolicy =
    GatePolicy { after: 5, probe_initial: Duration::from_secs(30), probe_max: Duration::from_secs(900) };
const SECOND: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(99);
const SLOW: Duration = Duration::from_millis(100);

/// A lane of one request a second whose first slot is open, and the time of that slot.
fn lane(max_in_flight: usize) -> (Lane, Instant) {
    let started = crate::clock::now().instant;
    (Lane::new(LaneSettings { limits: LIMITS, gate: POLICY, max_in_flight }, started), started + SECOND)
}

fn close(lane: &mut Lane, now: Instant) {
    lane.gate.observe(1, &Ending::Fault(Fault::Account("Code".into()), "refused".into()), now, now);
}

/// A lane whose gate is closed, with its probe due, and the time of that.
fn closed_lane() -> (Lane, Instant) {
    let (mut lane, now) = lane(64);
    close(&mut lane, now);
    (lane, now + POLICY.probe_initial)
}

fn claim(request: i64) -> Claim {
    let row = Row { state: State::InFlight, tries: 0, evidence: Evidence::none() };
    let certificate_id = format!("c{request}").parse().unwrap();
    Claim { request, submission: request + 100, certificate_id, verify_type: None, row }
}

fn claims(requests: impl IntoIterator<Item = i64>) -> Vec<Claim> {
    requests.into_iter().map(claim).collect()
}

fn numbers(claims: &[Claim]) -> Vec<i64> {
    claims.iter().map(|claim| claim.request).collect()
}

fn held(lane: &Lane) -> Vec<i64> {
    let mut held: Vec<i64> = lane.held().collect();
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
    let (mut wide, now) = lane(64);
    assert_eq!(wide.room(now), 16);
    assert!(wide.take(claims(1..=4), None, now).is_empty());
    assert_eq!(wide.room(now), 12);
    let (mut narrow, now) = lane(5);
    assert_eq!(narrow.room(now), 5);
    narrow.take(claims(1..=3), None, now);
    let first = narrow.next(now).unwrap();
    narrow.sent(task().await, first);
    assert_eq!(narrow.room(now), 2, "one is on its way and two are ready");
    narrow.take(claims(4..=5), None, now);
    assert_eq!(narrow.room(now), 0);
}

#[test]
fn it_asks_for_more_at_six_ahead_and_takes_along_a_handful_or_nothing() {
    let with = |ahead: i64| {
        let (mut lane, now) = lane(64);
        lane.take(claims(1..=ahead), Some(100), now);
        (lane.is_hungry(now, 100, QUICK), lane.room(now))
    };
    assert_eq!([6, 7, 12, 13, 16].map(with), [(true, 10), (false, 9), (false, 4), (false, 0), (false, 0)]);
}

#[test]
fn where_turns_are_slow_it_asks_as_soon_as_there_is_room_for_a_handful() {
    let hungry = |ahead: i64| {
        let (mut lane, now) = lane(64);
        lane.take(claims(1..=ahead), Some(100), now);
        lane.is_hungry(now, 100, SLOW)
    };
    assert_eq!([7, 12, 13].map(hungry), [true, true, false]);
}

#[test]
fn when_the_row_that_is_due_first_is_due_is_what_the_last_turn_said() {
    let (mut lane, now) = lane(64);
    assert_eq!(lane.next_due(), None);
    for due in [Some(100), Some(-3), None] {
        lane.take(Vec::new(), due, now);
        assert_eq!(lane.next_due(), due);
    }
}

#[test]
fn other_settings_count_from_now_on_and_what_it_holds_stays() {
    let (mut lane, now) = lane(64);
    lane.take(claims([1, 2]), None, now);
    let limits = Limits { per_second: 2, guard: Duration::ZERO };
    let gate = GatePolicy { probe_initial: POLICY.probe_initial * 2, ..POLICY };
    lane.set(LaneSettings { limits, gate, max_in_flight: 8 }, now);
    assert_eq!((held(&lane), lane.room(now)), (vec![1, 2], 6));
    lane.next(now).unwrap();
    assert_eq!(lane.next_slot(now), Some(now + SECOND / 2));
    close(&mut lane, now);
    assert_eq!(lane.gate.next_probe(), Some(now + POLICY.probe_initial * 2));
}

#[tokio::test]
async fn it_is_hungry_when_something_is_due_and_there_is_room() {
    let (mut lane, now) = lane(1);
    assert!(!lane.is_hungry(now, 100, QUICK), "nothing is known to be due");
    lane.take(Vec::new(), Some(100), now);
    assert!(!lane.is_hungry(now, 99, QUICK));
    assert!(lane.is_hungry(now, 100, QUICK) && lane.is_hungry(now, 101, QUICK));
    lane.take(claims([1]), Some(100), now);
    assert!(!lane.is_hungry(now, 100, QUICK), "it is full");
}

#[tokio::test]
async fn claims_go_out_in_their_order_each_in_a_slot_of_its_own() {
    let (mut lane, now) = lane(64);
    assert_eq!((lane.next(now), lane.next_slot(now)), (None, None), "there is nothing to send");
    lane.take(claims([1, 2]), None, now);
    assert_eq!(lane.next_slot(now), Some(now));
    assert_eq!(lane.next(now - Duration::from_nanos(1)), None, "before the slot");
    let first = lane.next(now).unwrap();
    assert_eq!(first.request, 1);
    let sent = task().await;
    lane.sent(sent, first);
    assert!(lane.departed(1, now));
    assert_eq!(lane.next(now), None, "the slot is taken");
    assert_eq!(lane.next_slot(now), Some(now + SECOND));
    assert_eq!(lane.next(now + SECOND).unwrap().request, 2);
}

#[tokio::test]
async fn an_empty_lane_takes_no_slot() {
    let (mut lane, now) = lane(64);
    assert_eq!(lane.next(now), None);
    lane.take(claims([1]), None, now);
    assert_eq!(lane.next(now).map(|claim| claim.request), Some(1));
}

#[tokio::test]
async fn a_request_departs_once_and_only_in_its_own_lane() {
    let (mut lane, now) = lane(64);
    lane.take(claims([1]), None, now);
    let first = lane.next(now).unwrap();
    assert!(!lane.departed(1, now), "it isn't sent yet");
    lane.sent(task().await, first);
    assert!(!lane.departed(2, now));
    assert!(lane.departed(1, now));
    assert!(!lane.departed(1, now), "it was known to have");
}

/// When the second of two requests may go out, if the first ended like this, with what was told of it.
async fn slot_after(told: bool, departed: Option<Duration>) -> Duration {
    let (mut lane, now) = lane(64);
    lane.take(claims([1, 2]), None, now);
    let first = lane.next(now).unwrap();
    let sent = task().await;
    lane.sent(sent, first);
    if told {
        assert!(lane.departed(1, now));
    }
    assert_eq!(lane.on_the_way(), 1);
    assert_eq!(lane.ended(sent, departed.map(|after| now + after)).map(|claim| claim.request), Some(1));
    assert_eq!(lane.on_the_way(), 0);
    assert_eq!(lane.ended(sent, None), None, "it ended already");
    lane.next_slot(now + SECOND).unwrap() - now
}

#[tokio::test]
async fn a_slot_counts_from_the_departure_whoever_tells_of_it_and_is_free_if_there_was_none() {
    let half = Duration::from_millis(500);
    assert_eq!(slot_after(false, Some(half)).await, SECOND + half, "its end tells");
    assert_eq!(slot_after(true, Some(half)).await, SECOND, "its departure told, and counts once");
    assert_eq!(slot_after(true, None).await, SECOND);
    assert_eq!(slot_after(false, None).await, SECOND, "nothing went out; only the spacing holds");
}

#[tokio::test]
async fn what_is_not_sent_is_given_back_and_what_is_on_its_way_can_be_given_up() {
    let (mut lane, now) = lane(64);
    lane.take(claims([11, 12, 13]), None, now);
    let first = lane.next(now).unwrap();
    lane.sent(task().await, first);
    assert_eq!(held(&lane), [11, 12, 13]);
    assert_eq!(numbers(&lane.drain_ready(now)), [12, 13]);
    assert_eq!((held(&lane), lane.on_the_way()), (vec![11], 1));
    assert_eq!(numbers(&lane.drain_on_the_way()), [11]);
    assert_eq!((held(&lane), lane.on_the_way()), (vec![], 0));
}

#[test]
fn a_gate_that_closed_since_lets_none_or_one_probe_in() {
    let (mut lane, due) = closed_lane();
    let early = due - SECOND;
    assert_eq!(lane.room(early), 0);
    assert_eq!(numbers(&lane.take(claims([1, 2]), None, early)), [1, 2]);
    assert_eq!(lane.room(due), 1);
    assert_eq!(numbers(&lane.take(claims([3, 4]), None, due)), [4]);
    assert_eq!(held(&lane), [3]);
    assert_eq!((lane.gate.next_probe(), lane.room(due)), (None, 0), "one probe at a time");
}

#[test]
fn with_nothing_to_probe_with_it_looks_again_a_second_later() {
    let (mut lane, due) = closed_lane();
    lane.take(Vec::new(), None, due);
    assert_eq!(lane.gate.next_probe(), Some(due + SECOND));
}

#[test]
fn what_is_ready_as_the_gate_closes_is_no_probe_and_puts_off_none() {
    let (mut lane, now) = lane(64);
    lane.take(claims([1, 2]), None, now);
    close(&mut lane, now);
    assert_eq!(numbers(&lane.drain_ready(now)), [1, 2]);
    assert_eq!(lane.gate.next_probe(), Some(now + POLICY.probe_initial));
}

#[test]
fn a_probe_that_is_given_back_unsent_is_tried_again_a_second_later() {
    let (mut lane, due) = closed_lane();
    assert!(lane.drain_ready(due).is_empty());
    assert_eq!(lane.gate.next_probe(), Some(due), "no probe was claimed: it stays due");
    lane.take(claims([3]), None, due);
    assert_eq!(numbers(&lane.drain_ready(due)), [3]);
    assert_eq!(lane.gate.next_probe(), Some(due + SECOND));
}

#[test]
fn a_probe_that_is_on_its_way_is_waited_for() {
    let (mut lane, due) = closed_lane();
    lane.take(claims([3]), None, due);
    assert_eq!(lane.next(due).map(|claim| claim.request), Some(3));
    assert!(lane.drain_ready(due).is_empty());
    assert_eq!(lane.gate.next_probe(), None);
}
