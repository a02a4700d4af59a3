//! How many submissions there are in each state, and how long the open ones take.

use std::time::Duration;

use crate::submission::{OutcomeClass, RequestKind, State, effects};

/// The lowest pace that is assumed, so that nothing takes forever.
const MIN_PACE: f64 = 0.1;

/// How many submissions are in each state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts(Vec<(State, i64)>);

/// How many requests of each kind are sent in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paces {
    /// Commits.
    pub commits: f64,
    /// Readbacks.
    pub reads: f64,
}

impl Counts {
    /// How many are in this state.
    #[must_use]
    pub fn of(&self, state: State) -> i64 {
        self.0.iter().find(|(known, _)| *known == state).map_or(0, |(_, count)| *count)
    }

    /// How many submissions the daemon still works on.
    #[must_use]
    pub fn open(&self) -> i64 {
        State::ALL.into_iter().filter(|state| state.is_open()).map(|state| self.of(state)).sum()
    }

    /// How long the open submissions take at these paces: each takes a commit, and each in doubt also takes the readbacks
    /// that it needs before it is sent again. Commits and readbacks run at the same time.
    #[must_use]
    pub fn time_left(&self, paces: Paces) -> Duration {
        let reads = self
            .of(State::InDoubt)
            .saturating_mul(i64::from(effects(RequestKind::Commit, OutcomeClass::InDoubt).readbacks_to_disprove));
        time_for(self.open(), paces.commits).max(time_for(reads, paces.reads))
    }
}

impl FromIterator<(State, i64)> for Counts {
    fn from_iter<T: IntoIterator<Item = (State, i64)>>(counts: T) -> Self {
        Self(counts.into_iter().collect())
    }
}

/// How long this many requests take at this pace.
fn time_for(requests: i64, pace: f64) -> Duration {
    let requests = f64::from(u32::try_from(requests.max(0)).unwrap_or(u32::MAX));
    let pace = if pace.is_finite() { pace.max(MIN_PACE) } else { MIN_PACE };
    Duration::from_secs_f64(requests / pace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACES: Paces = Paces { commits: 20.0, reads: 10.0 };

    fn left(pending: i64, in_flight: i64, in_doubt: i64, paces: Paces) -> u64 {
        let counts = [(State::Pending, pending), (State::InFlight, in_flight), (State::InDoubt, in_doubt)];
        counts.into_iter().collect::<Counts>().time_left(paces).as_secs()
    }

    #[test]
    fn each_open_submission_takes_a_commit() {
        assert_eq!(left(0, 0, 0, PACES), 0);
        assert_eq!(left(190, 10, 0, PACES), 10);
        assert_eq!(left(190, 10, 0, Paces { commits: 4.0, ..PACES }), 50);
        assert_eq!(
            [(State::Submitted, 1000), (State::Held, 5)].into_iter().collect::<Counts>().time_left(PACES).as_secs(),
            0
        );
    }

    #[test]
    fn each_submission_in_doubt_takes_two_readbacks() {
        assert_eq!(left(0, 0, 200_000, PACES), 40_000, "eleven hours");
        assert_eq!(left(0, 0, 200_000, Paces { reads: 5.0, ..PACES }), 80_000);
        assert_eq!(left(0, 0, 100, Paces { commits: 1.0, reads: 100.0 }), 100, "and it may be sent again");
    }

    #[test]
    fn commits_and_readbacks_run_at_the_same_time() {
        assert_eq!(left(1000, 0, 100, PACES), 55);
        assert_eq!(left(100, 0, 100, PACES), 20);
    }

    #[test]
    fn an_impossible_pace_takes_long_but_not_forever() {
        for pace in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(left(1, 0, 1, Paces { commits: pace, reads: pace }), 20, "{pace}");
        }
        assert!(left(i64::MAX, 0, 0, PACES) > 0 && left(0, 0, i64::MAX, PACES) > 0);
    }
}
