//! The limiter in virtual time.

use proptest::prelude::*;

use super::*;

pub(super) const LIMITS: Limits = Limits { per_second: 20, guard: Duration::from_millis(25) };

pub(super) fn start() -> Instant {
    crate::clock::now().instant
}

pub(super) fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}

/// Sends on an established connection.
pub(super) fn send(limiter: &mut Limiter, now: Instant) -> Result<(), Instant> {
    limiter.try_send(now)?;
    limiter.departed(now);
    Ok(())
}

/// Sends as fast as the limiter allows, each time late by what `lateness` returns.
pub(super) fn run(
    limiter: &mut Limiter,
    from: Instant,
    until: Instant,
    mut lateness: impl FnMut() -> Duration,
) -> Vec<Instant> {
    let mut sends = Vec::new();
    let mut now = from;
    while now < until {
        match send(limiter, now) {
            Ok(()) => sends.push(now),
            Err(slot) => now = slot + lateness(),
        }
    }
    sends
}

/// The largest number of these sorted moments in any half-open window.
fn max_within(moments: &[Instant], window: Duration) -> usize {
    let within = |from: usize| moments[from..].iter().take_while(|at| **at < moments[from] + window).count();
    (0..moments.len()).map(within).max().unwrap_or(0)
}

pub(super) fn rate(sends: &[Instant]) -> f64 {
    let span = sends.last().unwrap().duration_since(sends[0]).as_secs_f64();
    f64::from(u32::try_from(sends.len() - 1).unwrap()) / span
}

#[test]
fn the_first_slot_lies_a_whole_window_after_the_start() {
    let at = start();
    assert_eq!(Limiter::new(LIMITS, at).next_slot(at), at + Duration::from_millis(1025));
}

#[test]
fn the_whole_rate_is_used_despite_late_timers() {
    let at = start();
    let mut dice = fastrand::Rng::with_seed(7);
    let mut limiter = Limiter::new(LIMITS, at);
    let sends = run(&mut limiter, at, at + Duration::from_secs(300), || micros(dice.u64(0..1200)));
    assert!(rate(&sends) >= 19.4, "{}", rate(&sends));
    assert!(rate(&sends) <= 20.0 / 1.025 + 0.01, "{}", rate(&sends));
}

#[test]
fn sends_are_evenly_spaced() {
    let at = start();
    let sends = run(&mut Limiter::new(LIMITS, at), at, at + Duration::from_secs(20), || Duration::ZERO);
    for pair in sends.windows(2) {
        let gap = pair[1].duration_since(pair[0]).as_millis();
        assert!((50..=76).contains(&gap), "{gap} ms");
    }
}

#[test]
fn a_pause_earns_no_burst() {
    let at = start();
    let mut limiter = Limiter::new(LIMITS, at);
    let first = run(&mut limiter, at, at + Duration::from_secs(3), || Duration::ZERO);
    let later = at + Duration::from_secs(60);
    let second = run(&mut limiter, later, later + Duration::from_secs(3), || Duration::ZERO);
    assert!(second[1].duration_since(second[0]) >= Duration::from_millis(50));
    let all: Vec<Instant> = first.into_iter().chain(second).collect();
    assert_eq!(max_within(&all, Duration::from_secs(1)), 20);
}

#[test]
fn the_spacing_holds_across_a_change_of_pace() {
    let at = start();
    let mut limiter = Limiter::new(LIMITS, at);
    let sends = run(&mut limiter, at, at + Duration::from_secs(3), || Duration::ZERO);
    let last = *sends.last().unwrap();
    limiter.throttled(last, last);
    assert!(limiter.next_slot(last).duration_since(last) >= Duration::from_millis(55));
}

#[test]
fn while_every_request_is_refused_few_are_sent() {
    let at = start();
    let mut limiter = Limiter::new(LIMITS, at);
    let outage = at + Duration::from_secs(5);
    run(&mut limiter, at, outage, || Duration::ZERO);
    let (mut refused, mut now) = (Vec::new(), outage);
    while now < outage + Duration::from_secs(12) {
        match send(&mut limiter, now) {
            Err(slot) => now = slot,
            Ok(()) => {
                refused.push(now.duration_since(outage));
                limiter.throttled(now, now);
            }
        }
    }
    let within = |seconds| refused.iter().filter(|since| **since < Duration::from_secs(seconds)).count();
    assert!(within(1) <= 5 && within(12) <= 11, "{refused:?}");
}

#[test]
fn the_window_is_half_open_to_the_nanosecond() {
    let at = start();
    let window = SECOND + LIMITS.guard;
    let mut departures = DepartureWindow::new(1, window);
    departures.departed(at);
    assert_eq!(departures.free_at(at), Some(at + window));
    let mut limiter = Limiter::new(Limits { per_second: 1, ..LIMITS }, at);
    let first = at + window;
    assert_eq!(send(&mut limiter, first - Duration::from_nanos(1)), Err(first));
    assert_eq!(send(&mut limiter, first), Ok(()));
    let second = first + window;
    // Governor's slot may come before that of the window, which decides.
    assert_eq!(send(&mut limiter, second - Duration::from_nanos(1)), Err(second));
    assert_eq!(send(&mut limiter, second), Ok(()));
}

#[test]
fn delays_that_vary_by_just_less_than_the_guard_keep_the_limit_even_in_a_closed_second() {
    let at = start();
    let sends = run(&mut Limiter::new(LIMITS, at), at, at + Duration::from_secs(20), || Duration::ZERO);
    let closed_second = SECOND + Duration::from_nanos(1);
    let nanosecond = Duration::from_nanos(1);
    for (slowest, max) in [(LIMITS.guard - nanosecond, 20), (LIMITS.guard, 21)] {
        // The worst case: a send is slowest, and the one 20 sends later fastest.
        let delay = |index: usize| if index % 40 < 20 { slowest } else { Duration::ZERO };
        let mut arrivals: Vec<Instant> = sends.iter().enumerate().map(|(i, sent)| *sent + delay(i)).collect();
        arrivals.sort();
        assert_eq!(max_within(&arrivals, closed_second), max, "{slowest:?}");
    }
}

#[test]
fn a_request_that_has_not_departed_counts_until_it_has() {
    let at = start();
    let mut limiter = Limiter::new(LIMITS, at);
    let mut now = at;
    for _ in 0..20 {
        now = limiter.next_slot(now);
        limiter.try_send(now).unwrap();
    }
    now += Duration::from_secs(5);
    assert!(limiter.try_send(now).is_err(), "twenty may depart at any moment");
    limiter.never_departed();
    assert_eq!(send(&mut limiter, now), Ok(()));
    (0..19).for_each(|_| limiter.departed(now));
    assert_eq!(limiter.next_slot(now + Duration::from_millis(1)), now + Duration::from_millis(1025));
}

#[test]
fn departures_that_are_reported_out_of_order_count_in_their_true_order() {
    let at = start();
    let window = SECOND + LIMITS.guard;
    let after = |seconds| at + Duration::from_secs(seconds);
    let mut departures = DepartureWindow::new(2, window);
    departures.departed(after(5));
    assert_eq!(departures.free_at(at), None, "one of two places is free");
    departures.departed(after(3));
    assert_eq!(departures.free_at(at), Some(after(3) + window));
    departures.departed(after(4));
    assert_eq!(departures.free_at(at), Some(after(4) + window));
    departures.departed(after(6));
    assert_eq!(departures.free_at(at), Some(after(5) + window));
}

proptest! {
    #[test]
    fn no_pattern_of_calls_exceeds_the_limit(
        per_second in 1u32..=20,
        guard in 0u64..=1_000,
        waits in proptest::collection::vec(0u64..400_000, 1..400),
        throttles in proptest::collection::vec(any::<bool>(), 400),
    ) {
        let at = start();
        let limits = Limits { per_second, guard: Duration::from_millis(guard) };
        let mut limiter = Limiter::new(limits, at);
        let (mut now, mut sends) = (at, Vec::new());
        for (wait, throttle) in waits.iter().zip(throttles) {
            now += micros(*wait);
            if send(&mut limiter, now).is_ok() {
                sends.push(now);
                if throttle {
                    limiter.throttled(now, now);
                }
            }
        }
        let window = SECOND + limits.guard;
        prop_assert!(max_within(&sends, window) <= usize::try_from(per_second).unwrap());
    }

    #[test]
    fn the_server_never_sees_more_than_the_limit_while_delays_vary_by_less_than_the_guard(
        per_second in 1u32..=20,
        guard in 1u64..=1_000_000,
        seed in any::<u64>(),
    ) {
        let at = start();
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut limiter = Limiter::new(Limits { per_second, guard: micros(guard) }, at);
        let sends = run(&mut limiter, at, at + Duration::from_secs(20), || micros(dice.u64(0..3_000)));
        let mut arrivals: Vec<Instant> = sends.iter().map(|sent| *sent + micros(dice.u64(0..guard))).collect();
        arrivals.sort();
        prop_assert!(max_within(&arrivals, SECOND) <= usize::try_from(per_second).unwrap());
    }

    #[test]
    fn the_limit_holds_for_departures_however_long_connecting_takes(seed in any::<u64>(), per_second in 1u32..=20) {
        let at = start();
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut limiter = Limiter::new(Limits { per_second, ..LIMITS }, at);
        let (mut now, mut waiting, mut departures) = (at, Vec::new(), Vec::new());
        while now < at + Duration::from_secs(15) {
            waiting.sort_unstable_by(|one: &Instant, other| other.cmp(one));
            while waiting.last().is_some_and(|departs| *departs <= now) {
                let departs = waiting.pop().unwrap();
                limiter.departed(departs);
                departures.push(departs);
            }
            if limiter.try_send(now).is_ok() {
                let set_up = if dice.bool() { dice.u64(0..800_000) } else { 0 };
                waiting.push(now + micros(set_up));
            }
            now += micros(dice.u64(1..5_000));
        }
        departures.sort_unstable();
        prop_assert!(max_within(&departures, Duration::from_millis(1025)) <= usize::try_from(per_second).unwrap());
    }

    #[test]
    fn a_restart_keeps_the_limit(ran in 0u64..5_000_000, down in 0u64..3_000_000) {
        let at = start();
        let stop = at + micros(ran);
        let mut sends = run(&mut Limiter::new(LIMITS, at), at, stop, || Duration::ZERO);
        let again = stop + micros(down);
        sends.extend(run(&mut Limiter::new(LIMITS, again), again, again + Duration::from_secs(3), || Duration::ZERO));
        prop_assert!(max_within(&sends, Duration::from_millis(1025)) <= 20);
    }
}
