//! The states of a submission and the only ways between them.

use std::fmt;
use std::str::FromStr;

/// Where a submission stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Waits for its turn, or for its due time.
    Pending,
    /// Claimed, and perhaps on the wire.
    InFlight,
    /// A commit went out and its outcome isn't known; it is read back.
    InDoubt,
    /// The order is placed. Final.
    Submitted,
    /// Refused, or out of tries.
    Failed,
    /// What was read back can't be decided by a machine.
    Held,
    /// Taken out by hand before it was sent.
    Canceled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::InFlight, Self::InDoubt, Self::Submitted, Self::Failed, Self::Held, Self::Canceled];

    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InFlight => "in_flight",
            Self::InDoubt => "in_doubt",
            Self::Submitted => "submitted",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Canceled => "canceled",
        }
    }

    /// Whether a submission may ever go from this state to that one. The triggers of the database hold
    /// everyone to the same table, and ask for evidence besides.
    #[must_use]
    pub fn may_become(self, to: Self) -> bool {
        self.successors().contains(&to)
    }

    fn successors(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::InFlight, Self::Canceled, Self::InDoubt],
            Self::InFlight => &[Self::Submitted, Self::Failed, Self::Pending, Self::InDoubt],
            Self::InDoubt => &[Self::Submitted, Self::Failed, Self::Pending, Self::Held],
            Self::Submitted => &[],
            Self::Failed | Self::Canceled => &[Self::Pending],
            Self::Held => &[Self::InDoubt, Self::Pending, Self::Submitted, Self::Failed],
        }
    }

    /// Whether the daemon still has something to do for a submission in this state.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::InFlight | Self::InDoubt)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is not a state of a submission"))
    }
}

/// Who established that a submission is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolvedBy {
    /// The reply to its own commit.
    Reply,
    /// A read that shows the order.
    Readback,
    /// A person.
    Operator,
}

impl ResolvedBy {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Readback => "readback",
            Self::Operator => "operator",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_as_written() {
        let names = ["pending", "in_flight", "in_doubt", "submitted", "failed", "held", "canceled"];
        for (state, name) in State::ALL.into_iter().zip(names) {
            assert_eq!((state.as_str(), state.to_string().as_str()), (name, name));
            assert_eq!(name.parse(), Ok(state));
        }
        assert_eq!("lost".parse::<State>(), Err("\"lost\" is not a state of a submission".to_owned()));
    }

    #[test]
    fn these_are_the_only_ways_between_the_states() {
        // One line a state, one column a state that it may become, both in the order of `ALL`.
        let table = [".f?...c", "p.?sx..", "p..sxh.", ".......", "p......", "p.?sx..", "p......"];
        let letters = ['p', 'f', '?', 's', 'x', 'h', 'c'];
        for (from, expected) in State::ALL.into_iter().zip(table) {
            let ways =
                State::ALL.into_iter().zip(letters).map(|(to, letter)| if from.may_become(to) { letter } else { '.' });
            assert_eq!(ways.collect::<String>(), expected, "{from}");
        }
    }

    #[test]
    fn what_is_pending_in_flight_or_in_doubt_is_still_open() {
        let open: Vec<State> = State::ALL.into_iter().filter(|state| state.is_open()).collect();
        assert_eq!(open, [State::Pending, State::InFlight, State::InDoubt]);
    }

    #[test]
    fn who_established_it_has_a_name() {
        let names = [ResolvedBy::Reply, ResolvedBy::Readback, ResolvedBy::Operator].map(ResolvedBy::as_str);
        assert_eq!(names, ["reply", "readback", "operator"]);
    }
}
