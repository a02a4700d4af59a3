//! The limiter against a server whose own limit is lower, in virtual time.

use std::collections::BinaryHeap;

use super::tests::{LIMITS, micros, rate, run, send, start};
use super::*;

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// What the server counts against its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Counts {
    /// What it grants, in every sliding second.
    Grants,
    /// What arrives, refused or not, in every sliding second.
    Arrivals,
    /// What it grants, in each second by its clock.
    GrantsByTheClock,
}

/// A server, and the network to it.
struct Server<L> {
    /// Its limit at a time since the start.
    limit: L,
    counts: Counts,
    /// The time from a departure to the reply: of a grant, and of a refusal.
    replies_after: (Duration, Duration),
    /// How much the network delay varies.
    jitter: Duration,
}

/// The result.
#[derive(Debug)]
struct Outcome {
    /// The part of the grant that was used.
    used: f64,
    /// The part of the requests that was refused.
    refused: f64,
    /// The paces at the end of each second.
    paces: Vec<f64>,
}

/// A reply in flight. The heap returns the earliest first, hence the reversed time.
type Reply = (std::cmp::Reverse<Instant>, Instant, bool);

impl<L: Fn(Duration) -> usize> Server<L> {
    fn grants(&self, arrival: Instant, at: Instant, counted: &[Instant]) -> bool {
        let second = |moment: Instant| moment.duration_since(at).as_secs();
        let recent = counted.iter().rev().take(64).filter(|earlier| match self.counts {
            Counts::Grants | Counts::Arrivals => arrival.saturating_duration_since(**earlier) < SECOND,
            Counts::GrantsByTheClock => second(**earlier) == second(arrival),
        });
        recent.count() < (self.limit)(arrival.duration_since(at))
    }

    /// Sends for ten minutes, as fast as the limiter allows.
    fn run_for_ten_minutes(&self) -> Outcome {
        let at = start();
        let mut limiter = Limiter::new(LIMITS, at);
        let mut dice = fastrand::Rng::with_seed(7);
        let (mut counted, mut granted, mut refused): (Vec<Instant>, u32, u32) = (Vec::new(), 0, 0);
        let mut replies: BinaryHeap<Reply> = BinaryHeap::new();
        let (mut now, mut paces) = (at, Vec::new());
        while now < at + TEN_MINUTES {
            while replies.peek().is_some_and(|(due, ..)| due.0 <= now) {
                let (_, departed, was_granted) = replies.pop().unwrap();
                if was_granted { limiter.granted(departed, now) } else { limiter.throttled(departed, now) }
            }
            while u64::try_from(paces.len()).unwrap() < now.duration_since(at).as_secs() {
                paces.push(limiter.pace());
            }
            if let Err(slot) = send(&mut limiter, now) {
                let slot = slot + micros(dice.u64(0..2_000));
                now = replies.peek().map_or(slot, |(due, ..)| slot.min(due.0));
                continue;
            }
            let arrival = now + self.jitter.mul_f64(dice.f64());
            let grants = self.grants(arrival, at, &counted);
            if grants || self.counts == Counts::Arrivals {
                counted.push(arrival);
            }
            *(if grants { &mut granted } else { &mut refused }) += 1;
            let (grant, refusal) = self.replies_after;
            replies.push((std::cmp::Reverse(now + if grants { grant } else { refusal }), now, grants));
        }
        let possible: usize = (0..TEN_MINUTES.as_secs()).map(|second| (self.limit)(Duration::from_secs(second))).sum();
        let possible = f64::from(u32::try_from(possible).unwrap());
        let (granted, refused) = (f64::from(granted), f64::from(refused));
        Outcome { used: granted / possible, refused: refused / (granted + refused), paces }
    }
}

const KINDS: [Counts; 3] = [Counts::Grants, Counts::Arrivals, Counts::GrantsByTheClock];

/// Replies that come at once, later, and late; and refusals that come sooner than grants, as a gateway's do.
const REPLY_TIMES: [(Duration, Duration); 4] = [
    (Duration::from_millis(5), Duration::from_millis(5)),
    (Duration::from_millis(300), Duration::from_millis(300)),
    (Duration::from_millis(300), Duration::from_millis(20)),
    (Duration::from_secs(3), Duration::from_millis(20)),
];

#[test]
fn a_lower_limit_is_used_to_more_than_95_percent_and_at_most_2_percent_are_refused() {
    for limit in [3, 5, 10, 17] {
        for counts in KINDS {
            for replies_after in REPLY_TIMES {
                for jitter in [0, 20].map(Duration::from_millis) {
                    let server = Server { limit: |_| limit, counts, replies_after, jitter };
                    let Outcome { used, refused, .. } = server.run_for_ten_minutes();
                    let figures =
                        format!("{limit}/s, {counts:?}, {replies_after:?}, {jitter:?}: {used:.3} {refused:.4}");
                    assert!(used >= 0.95 && refused <= 0.02, "{figures}");
                }
            }
        }
    }
}

#[test]
fn a_changing_limit_is_followed() {
    let between_200_and_400 =
        |low, high| move |since: Duration| [high, low][usize::from((200..400).contains(&since.as_secs()))];
    // The further the limit falls, the longer it takes to notice that it has risen again.
    for (low, high, min_used) in [(17, 10, 0.945), (10, 17, 0.945), (5, 15, 0.945), (3, 17, 0.92)] {
        for counts in KINDS {
            for replies_after in REPLY_TIMES {
                let limit = between_200_and_400(low, high);
                let server = Server { limit, counts, replies_after, jitter: Duration::from_millis(20) };
                let Outcome { used, refused, .. } = server.run_for_ten_minutes();
                let figures = format!("{high}/s, {low}/s, {counts:?}, {replies_after:?}: {used:.3} {refused:.4}");
                // Where refused requests count too, fewer are let through.
                let min_used = if counts == Counts::Arrivals { min_used - 0.03 } else { min_used };
                assert!(used >= min_used && refused <= 0.02, "{figures}");
            }
        }
    }
}

#[test]
fn after_a_lower_limit_the_cap_is_reached_within_a_minute() {
    for limited in [0, 3, 10] {
        for replies_after in REPLY_TIMES {
            let limit = move |since: Duration| if since.as_secs() < 200 { limited } else { 1000 };
            let jitter = Duration::from_millis(20);
            let Outcome { paces, .. } =
                Server { limit, counts: Counts::Grants, replies_after, jitter }.run_for_ten_minutes();
            let back = paces.iter().skip(200).position(|pace| *pace >= 20.0);
            assert!(back.is_some_and(|seconds| seconds <= 60), "from {limited}, {replies_after:?}: {back:?}");
            assert!(paces[400..].iter().all(|pace| *pace >= 20.0), "the cap stays");
        }
    }
}

#[test]
fn what_the_server_let_through_in_the_second_before_is_allowed_from_then_on() {
    let at = start();
    let mut limiter = Limiter::new(LIMITS, at);
    let sends = run(&mut limiter, at, at + Duration::from_millis(2000), || Duration::ZERO);
    // The eighth is refused, and so are those that were in flight then.
    for departed in &sends[7..] {
        limiter.throttled(*departed, at + Duration::from_secs(2));
    }
    assert!((limiter.pace() - 7.0).abs() < 1e-9, "{}", limiter.pace());
}

#[test]
fn one_refusal_that_the_count_does_not_explain_changes_nothing_and_a_second_one_soon_does() {
    let at = start();
    let mut learned = LearnedLimit::new(10.0);
    learned.refused(at, Some(10), at);
    assert!((learned.pace() - 10.0).abs() < 1e-9);
    learned.granted(at + SECOND);
    let soon = at + Duration::from_secs(5);
    learned.refused(soon, Some(10), soon);
    assert!((learned.pace() - 9.0).abs() < 1e-9);
}

#[test]
fn more_is_tried_only_once_enough_were_granted() {
    let at = start();
    let mut learned = LearnedLimit::new(20.0);
    learned.refused(at, Some(5), at);
    let later = at + Duration::from_secs(3600);
    learned.advance(later);
    assert!((learned.pace() - 5.0).abs() < 1e-9);
    for _ in 0..59 {
        learned.granted(later);
        learned.advance(later);
    }
    assert!((learned.pace() - 5.0).abs() < 1e-9);
    learned.granted(later);
    learned.advance(later);
    assert!((learned.pace() - 6.0).abs() < 1e-9);
}

#[test]
fn the_whole_rate_is_used_after_the_cap_is_reached_again() {
    let at = start();
    let mut limiter = Limiter::new(LIMITS, at);
    limiter.throttled(at, at);
    let mut now = at;
    while limiter.pace() < 20.0 {
        match send(&mut limiter, now) {
            Ok(()) => limiter.granted(now, now),
            Err(slot) => now = slot,
        }
    }
    let sends = run(&mut limiter, now, now + Duration::from_secs(60), || Duration::ZERO);
    assert!(rate(&sends) > 19.45, "{}", rate(&sends));
}

/// A learned limit with a cap of 20, by the second.
struct Replies {
    learned: LearnedLimit,
    at: Instant,
}

impl Replies {
    fn new() -> Self {
        Self { learned: LearnedLimit::new(20.0), at: start() }
    }

    /// A request that departed then is refused, with this many in the second before it; returns the new pace.
    fn refused(&mut self, seconds: f64, before: usize) -> f64 {
        let departed = self.at + Duration::from_secs_f64(seconds);
        self.learned.refused(departed, Some(before), departed);
        self.learned.pace()
    }

    /// This many that departed then are granted; returns the new pace.
    fn granted(&mut self, seconds: f64, count: u32) -> f64 {
        let departed = self.at + Duration::from_secs_f64(seconds);
        for _ in 0..count {
            self.learned.granted(departed);
            self.learned.advance(departed);
        }
        self.learned.pace()
    }
}

fn assert_pace(pace: f64, expected: f64) {
    assert!((pace - expected).abs() < 1e-9, "{pace}, not {expected}");
}

#[test]
fn a_known_count_falls_by_one_for_a_second_glitch_within_ten_seconds_and_not_later() {
    for (second, expected) in [(9.9, 5.0), (11.0, 6.0)] {
        let mut replies = Replies::new();
        assert_pace(replies.refused(0.0, 6), 6.0);
        replies.granted(0.5, 1);
        assert_pace(replies.refused(1.0, 9), 6.0);
        replies.granted(1.5, 1);
        assert_pace(replies.refused(second, 9), expected);
    }
}

#[test]
fn refusals_with_nothing_granted_in_between_halve_the_count_from_the_third_on() {
    let mut replies = Replies::new();
    assert_pace(replies.refused(0.0, 19), 19.0);
    assert!(!replies.learned.is_exhausted());
    // The first of the two lies within the second before.
    assert_pace(replies.refused(0.5, 40), 19.0);
    assert!(replies.learned.is_exhausted());
    assert_pace(replies.refused(1.0, 40), 9.0);
    assert_pace(replies.refused(2.5, 40), 4.0);
    replies.granted(3.0, 1);
    assert!(!replies.learned.is_exhausted());
    let mut replies = Replies::new();
    replies.refused(0.0, 19);
    assert_pace(replies.refused(0.5, 1), 9.0);
}

#[test]
fn what_was_refused_in_the_second_before_was_not_let_through() {
    let mut replies = Replies::new();
    replies.refused(0.0, 19);
    replies.granted(0.2, 1);
    assert_pace(replies.refused(0.5, 15), 14.0);
    replies.granted(1.1, 1);
    // The one at 0.0 is more than a second ago, the one at 0.5 is not.
    assert_pace(replies.refused(1.2, 12), 11.0);
}

#[test]
fn a_limit_that_another_client_used_up_is_tried_every_two_seconds_and_soon_raised() {
    let mut replies = Replies::new();
    assert_pace(replies.refused(0.0, 0), 0.5);
    assert_pace(replies.granted(2.0, 1), 1.0);
    assert_pace(replies.refused(4.0, 0), 0.5);
    assert_pace(replies.granted(6.0, 1), 1.0);
    assert_pace(replies.granted(8.0, 2), 20.0);
    // One was granted, so the count is known, not guessed.
    assert_pace(replies.refused(10.0, 1), 1.0);
    assert_pace(replies.granted(12.0, 2), 1.0);
}

#[test]
fn more_is_tried_only_once_eight_seconds_have_passed() {
    let mut replies = Replies::new();
    assert_pace(replies.refused(0.0, 10), 10.0);
    assert_pace(replies.granted(7.9, 100), 10.0);
    assert_pace(replies.granted(8.0, 1), 11.0);
}

#[test]
fn one_more_that_is_refused_leads_back_to_what_was_granted_before() {
    let mut replies = Replies::new();
    replies.refused(0.0, 10);
    assert_pace(replies.granted(8.0, 60), 11.0);
    assert_pace(replies.refused(9.0, 30), 10.0);
}

#[test]
fn one_more_that_is_granted_for_two_seconds_leads_to_the_cap_and_a_refusal_there_to_the_new_count() {
    let mut replies = Replies::new();
    replies.refused(0.0, 10);
    replies.granted(8.0, 60);
    assert_pace(replies.granted(9.0, 21), 11.0);
    assert_pace(replies.granted(10.0, 1), 20.0);
    assert_pace(replies.refused(11.0, 13), 13.0);
}
