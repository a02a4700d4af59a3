//! Limits that change while requests go out.

use proptest::prelude::*;

use super::tests::{LIMITS, micros, rate, run, start};
use super::*;

fn limits(per_second: u32, guard: u64) -> Limits {
    Limits { per_second, guard: Duration::from_millis(guard) }
}

/// How many of these sorted sends, from `at` on, exceed the limit in the window that ends with them.
fn excess(sends: &[Instant], at: Instant, limits: Limits) -> usize {
    let max = usize::try_from(limits.per_second).unwrap();
    let count =
        |send: Instant| sends.iter().filter(|other| **other <= send && **other + limits.window() > send).count();
    sends.iter().filter(|send| **send >= at && count(**send) > max).count()
}

#[test]
fn a_lower_limit_applies_at_once_and_counts_what_was_sent_before() {
    let at = start();
    let mut limiter = Limiter::new(LIMITS, at);
    let changed = at + Duration::from_secs(5);
    let mut sends = run(&mut limiter, at, changed, || Duration::ZERO);
    limiter.set_limits(limits(4, 25), changed);
    let after = run(&mut limiter, changed, changed + Duration::from_secs(20), || Duration::ZERO);
    assert!(after[0] >= sends[sends.len() - 4] + Duration::from_millis(1025), "four of the last window count");
    assert!((rate(&after) - 4.0 / 1.025).abs() < 0.05, "{}", rate(&after));
    sends.extend(after);
    assert_eq!(excess(&sends, changed, limits(4, 25)), 0);
}

#[test]
fn a_higher_limit_is_used_at_once_without_a_burst() {
    let at = start();
    let mut limiter = Limiter::new(limits(4, 25), at);
    let changed = at + Duration::from_secs(5);
    run(&mut limiter, at, changed, || Duration::ZERO);
    limiter.set_limits(LIMITS, changed);
    let after = run(&mut limiter, changed, changed + Duration::from_secs(10), || Duration::ZERO);
    assert!(after[0] < changed + Duration::from_millis(51), "{:?}", after[0].duration_since(changed));
    assert!(after.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_millis(50)));
    assert!(rate(&after) > 19.4, "{}", rate(&after));
}

#[test]
fn what_was_learned_of_the_servers_limit_survives_a_change() {
    let at = start();
    let mut limiter = Limiter::new(LIMITS, at);
    let sends = run(&mut limiter, at, at + Duration::from_secs(4), || Duration::ZERO);
    let last = *sends.last().unwrap();
    limiter.throttled(last, last);
    assert!((limiter.pace() - 19.0).abs() < 1e-9, "{}", limiter.pace());
    for (per_second, pace) in [(18, 18.0), (20, 19.0), (5, 5.0)] {
        limiter.set_limits(limits(per_second, 25), last);
        assert!((limiter.pace() - pace).abs() < 1e-9, "{}", limiter.pace());
    }
}

proptest! {
    #[test]
    fn each_send_keeps_the_limits_of_its_time_whatever_they_change_to(
        changes in proptest::collection::vec((1u32..=20, 0u64..=1_000, 0u64..3_000), 1..8),
        seed in any::<u64>(),
    ) {
        let at = start();
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut limiter = Limiter::new(LIMITS, at);
        let (mut now, mut sends) = (at + Duration::from_secs(3), Vec::new());
        sends.extend(run(&mut limiter, at, now, || Duration::ZERO));
        for (per_second, guard, millis) in changes {
            let (new, until) = (limits(per_second, guard), now + Duration::from_millis(millis));
            limiter.set_limits(new, now);
            sends.extend(run(&mut limiter, now, until, || micros(dice.u64(0..3_000))));
            prop_assert_eq!(excess(&sends, now, new), 0, "{:?}", new);
            now = sends.last().map_or(until, |last| until.max(*last));
        }
    }
}
