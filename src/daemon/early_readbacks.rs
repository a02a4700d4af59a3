//! Early readbacks: how soon what is in doubt is read back before an order must show. At once, as long as that finds orders.
//! In an outage it finds none, and each row is read back later anyway; so the less they find, the fewer are made.

use std::time::Duration;

use tokio::time::Instant;

use crate::queue::Completed;
use crate::submission::{OutcomeClass, RequestKind, VerifyPolicy};

/// This many may find nothing in succession before the others wait.
const FREE_MISSES: u32 = 5;
/// The first wait. It doubles each time, up to `verify.settle`.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The pace of early readbacks.
#[derive(Debug, Default)]
pub(super) struct EarlyReadbacks {
    /// How many found nothing since one found an order.
    misses: u32,
    /// The next one waits until then.
    next: Option<Instant>,
}

impl EarlyReadbacks {
    /// How long until the next one may be made.
    pub(super) fn allowed_in(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// A request ended.
    pub(super) fn observe(&mut self, completed: &Completed, policy: &VerifyPolicy, now: Instant) {
        let claim = &completed.claim;
        if claim.kind != RequestKind::Readback || claim.row.evidence.settles_in(policy).is_zero() {
            return;
        }
        // The circuit breaker observes those that fail.
        let class = completed.outcome.class;
        if class == OutcomeClass::Committed {
            *self = Self::default();
        } else if class == OutcomeClass::Early {
            self.misses += 1;
            let doublings = self.misses.checked_sub(FREE_MISSES);
            let wait = doublings.map(|doublings| FIRST_WAIT.saturating_mul(1 << doublings.min(31)));
            self.next = wait.map(|wait| now + wait.min(policy.settle));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{claim, completed, context};
    use super::*;
    use crate::clock;
    use crate::submission::Outcome;

    const SECOND: Duration = Duration::from_secs(1);

    /// A readback that ended like this, so long after the commit.
    fn ended(class: OutcomeClass, age: Duration) -> Completed {
        let mut claim = claim(RequestKind::Readback, 1);
        claim.row.evidence.last_commit = Some(OutcomeClass::InDoubt);
        claim.row.evidence.age = age;
        Completed { claim, outcome: Outcome { class, ..Outcome::shown(None, Some(13), None) }, ..completed(1) }
    }

    #[test]
    fn those_that_find_nothing_wait_longer_each_time_and_one_that_finds_an_order_ends_that() {
        let (mut early, policy, now) = (EarlyReadbacks::default(), context().policy.verify, clock::now().instant);
        let mut waits = |class| {
            early.observe(&ended(class, SECOND), &policy, now);
            early.allowed_in(now).as_secs()
        };
        let misses: Vec<u64> = (0..13).map(|_| waits(OutcomeClass::Early)).collect();
        assert_eq!(misses, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(waits(OutcomeClass::Committed), 0);
        assert_eq!(waits(OutcomeClass::Early), 0);
    }

    #[test]
    fn readbacks_that_fail_or_decide_change_nothing() {
        let (mut early, policy, now) = (EarlyReadbacks::default(), context().policy.verify, clock::now().instant);
        for _ in 0..20 {
            early.observe(&ended(OutcomeClass::Retry, SECOND), &policy, now);
            early.observe(&ended(OutcomeClass::NotCommitted, policy.settle), &policy, now);
        }
        assert_eq!(early.allowed_in(now), Duration::ZERO);
    }
}
