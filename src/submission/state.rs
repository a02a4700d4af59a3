//! The states of a submission and the only transitions between them.

use crate::named_enum::named_enum;

named_enum! {
    /// Where a submission stands.
    #[derive(PartialOrd, Ord)]
    pub enum State {
        /// Waits for its turn, or for its due time.
        Pending = "pending",
        /// Claimed, and perhaps on the wire.
        InFlight = "in_flight",
        /// A commit went out and its outcome isn't known; it is read back.
        InDoubt = "in_doubt",
        /// The order is placed. Final.
        Submitted = "submitted",
        /// Refused, or out of tries.
        Failed = "failed",
        /// The readback can't be decided by a machine; a person has to.
        Held = "held",
        /// Withdrawn by hand before it was sent.
        Canceled = "canceled",
    }
}

impl State {
    /// Whether a submission may ever go from this state to that one. The database's triggers enforce the same
    /// table, and also require evidence.
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

named_enum! {
    /// Who established that a submission is submitted.
    pub enum ResolvedBy {
        /// The reply to its own commit.
        Reply = "reply",
        /// A read that shows the order.
        Readback = "readback",
        /// A person.
        Operator = "operator",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_database() {
        assert_eq!(State::NAMES, ["pending", "in_flight", "in_doubt", "submitted", "failed", "held", "canceled"]);
        assert_eq!(ResolvedBy::NAMES, ["reply", "readback", "operator"]);
    }

    #[test]
    fn these_are_the_only_transitions() {
        // A line per state, a column per state that it may become, both in the order of `ALL`.
        let table = [".f?...c", "p.?sx..", "p..sxh.", ".......", "p......", "p.?sx..", "p......"];
        let letters = ['p', 'f', '?', 's', 'x', 'h', 'c'];
        for (from, expected) in State::ALL.into_iter().zip(table) {
            let row =
                State::ALL.into_iter().zip(letters).map(|(to, letter)| if from.may_become(to) { letter } else { '.' });
            assert_eq!(row.collect::<String>(), expected, "{from}");
        }
    }

    #[test]
    fn pending_in_flight_and_in_doubt_are_open() {
        let open: Vec<State> = State::ALL.into_iter().filter(|state| state.is_open()).collect();
        assert_eq!(open, [State::Pending, State::InFlight, State::InDoubt]);
    }
}
