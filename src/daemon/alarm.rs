//! The alarm: what wakes the loop when something is due.
//!
//! To wake up from an idle processor is most of what a submission costs. Tokio keeps its timers in wheels: one that lies
//! beyond the lowest wheel's present turn of 64 ms wakes its thread once more, only to be moved down, as most do that are set
//! for the next slot. So this is a timer of the system's, which wakes it once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::clock;

/// To a timer of the system's, no time at all means never.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// The alarm. Where the system gives no timer, it is one of tokio's.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Option<AsyncFd<OwnedFd>>,
    /// What the timer is set to; none once it has rung.
    set_to: Option<Instant>,
}

impl Alarm {
    /// An alarm that isn't set.
    pub(super) fn new() -> Self {
        Self { timer: told(timer()), set_to: None }
    }

    /// Waits until then. What is past rings as soon as the other tasks had their turn, so that a loop for which something
    /// is overdue doesn't keep them from theirs. Cancelling this loses nothing: most often it is waited for again, and needs
    /// no setting.
    pub(super) async fn rings(&mut self, at: Instant) {
        if clock::now().instant >= at {
            return yield_now().await;
        }
        while clock::now().instant < at {
            let Some(timer) = &self.timer else { return sleep_until(at).await };
            if let Err(error) = ring(timer, at, &mut self.set_to).await {
                self.timer = told(Err(error));
            }
        }
    }
}

/// Waits for the timer, once it is set to this time. What it rang for may have been an earlier one.
async fn ring(timer: &AsyncFd<OwnedFd>, at: Instant, set_to: &mut Option<Instant>) -> io::Result<()> {
    if *set_to != Some(at) {
        set(timer, at)?;
        *set_to = Some(at);
    }
    timer.readable().await?.clear_ready();
    *set_to = None;
    Ok(())
}

fn timer() -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    #[expect(deprecated, reason = "unsound for types that lie about their descriptor, which this one doesn't")]
    AsyncFd::with_interest(timer, Interest::READABLE)
}

/// Sets the timer, and makes it forget that it rang.
fn set(timer: &AsyncFd<OwnedFd>, at: Instant) -> io::Result<()> {
    let left = at.saturating_duration_since(clock::now().instant).max(AT_ONCE);
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    let once = Itimerspec { it_interval: Timespec::default(), it_value: left };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(())
}

/// The timer; that there is none changes nothing but what waking up costs.
fn told<T>(timer: io::Result<T>) -> Option<T> {
    timer
        .inspect_err(|error| tracing::debug!("the system gives no timer ({error}); the loop makes do with tokio's"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Begins to wait, and thinks better of it.
    fn cancelled(alarm: &mut Alarm, at: Instant) -> bool {
        let rings = pin!(alarm.rings(at));
        matches!(rings.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    }

    #[tokio::test]
    async fn its_timer_is_the_systems_and_goes_to_no_child() {
        let alarm = Alarm::new();
        let flags = rustix::io::fcntl_getfd(alarm.timer.as_ref().unwrap()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[tokio::test]
    async fn it_rings_at_its_time_and_never_before() {
        let mut alarm = Alarm::new();
        for after in [3, 1, 2, 0] {
            let at = clock::now().instant + MS * after;
            alarm.rings(at).await;
            assert!(clock::now().instant >= at);
        }
    }

    #[tokio::test]
    async fn what_is_past_rings_as_often_as_it_is_asked_and_lets_others_have_their_turn() {
        let mut alarm = Alarm::new();
        let past = clock::now().instant;
        let other = tokio::spawn(async {});
        let mut rings = 0;
        while !other.is_finished() {
            alarm.rings(past).await;
            rings += 1;
            assert!(rings < 100, "the other one never had its turn");
        }
        assert!(rings > 0);
    }

    #[tokio::test]
    async fn one_that_was_set_to_another_time_rings_at_the_one_that_is_asked_for_last() {
        let mut alarm = Alarm::new();
        let now = clock::now().instant;
        for (before, at) in [(now + MS * 60_000, now + MS * 2), (now + MS * 4, now + MS * 8)] {
            assert!(cancelled(&mut alarm, before));
            alarm.rings(at).await;
            assert!(clock::now().instant >= at);
        }
    }

    #[tokio::test]
    async fn one_that_rang_unheard_rings_no_later_one_early() {
        let mut alarm = Alarm::new();
        let soon = clock::now().instant + MS;
        assert!(cancelled(&mut alarm, soon));
        // By now the system's timer has rung.
        Alarm::new().rings(soon + MS * 2).await;
        let later = clock::now().instant + MS * 5;
        alarm.rings(later).await;
        assert!(clock::now().instant >= later);
    }

    #[tokio::test]
    async fn without_a_timer_of_the_systems_it_rings_all_the_same() {
        let mut alarm = Alarm { timer: None, set_to: None };
        let at = clock::now().instant + MS * 2;
        alarm.rings(at).await;
        assert!(clock::now().instant >= at);
    }
}
