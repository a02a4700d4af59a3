//! The evidence about a certificate's order: what the record of its requests shows. Pure.
//!
//! One rule decides what may be sent: after a commit that may have been executed, no other goes out until readbacks have shown
//! no order.

use std::time::Duration;

use super::outcome_class::{OutcomeClass, RequestKind};
use super::outcome_effects::{READBACKS_TO_RESEND, Shows, effects};
use super::policy::VerifyPolicy;

/// What the record of requests shows for a certificate, when a request for it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// How the newest commit ended that may have been executed; none if there never was one.
    pub last_commit: Option<OutcomeClass>,
    /// How long ago, in monotonic time, that commit can have been signed at the latest. A commit of an
    /// earlier run counts from the start of this one.
    pub age: Duration,
    /// Readbacks since that commit that showed no order, once an order had had time to show. A readback that showed
    /// anything else voids those before it.
    pub negative_readbacks: u32,
    /// Whether one of them came so late that the commit can't be executed any more.
    pub late_readback: bool,
    /// Readbacks of any outcome since that commit had had time to take effect.
    pub readbacks: u32,
    /// Whether a readback before that time showed no order.
    pub was_read_early: bool,
    /// Whether a commit before that one may have been executed and was never disproved.
    pub earlier_in_doubt: bool,
    /// Whether an order is on record.
    pub placed: bool,
}

impl Evidence {
    /// The evidence of a certificate for which no request was ever made.
    #[must_use]
    pub fn none() -> Self {
        Self {
            last_commit: None,
            age: Duration::ZERO,
            negative_readbacks: 0,
            late_readback: false,
            readbacks: 0,
            was_read_early: false,
            earlier_in_doubt: false,
            placed: false,
        }
    }

    /// Whether readbacks must show that there is no order before another commit goes out.
    #[must_use]
    pub fn needs_readback(&self) -> bool {
        self.placed || !self.is_disproved()
    }

    /// Whether readbacks have shown that the newest commit placed no order, nor any before it.
    #[must_use]
    pub fn is_disproved(&self) -> bool {
        match self.last_commit {
            _ if self.is_in_doubt() => self.negative_readbacks >= READBACKS_TO_RESEND && self.late_readback,
            Some(last) => self.negative_readbacks >= effects(RequestKind::Commit, last).readbacks_to_disprove,
            None => true,
        }
    }

    /// Whether the outcome of the newest commit, or of one before it, isn't known.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.earlier_in_doubt || self.last_commit == Some(OutcomeClass::InDoubt)
    }

    /// How long until a commit whose outcome isn't known has had time to take effect, and to show. By monotonic time: a clock
    /// that was set forward lets nothing settle.
    #[must_use]
    pub fn settles_in(&self, policy: &VerifyPolicy) -> Duration {
        self.settles_after(policy).saturating_sub(self.age)
    }

    /// The class of a readback's outcome by this evidence. Before the last commit has settled, a readback is conclusive only
    /// if it shows an order: whatever else it shows may change.
    #[must_use]
    pub fn class_of_readback(&self, shown: OutcomeClass, policy: &VerifyPolicy) -> OutcomeClass {
        let shows = effects(RequestKind::Readback, shown).shows;
        let is_early = !self.settles_in(policy).is_zero() && matches!(shows, Shows::NoOrder | Shows::Other);
        if is_early { OutcomeClass::Early } else { shown }
    }

    /// How long until a readback that shows no order counts.
    #[must_use]
    pub fn readbacks_count_in(&self, policy: &VerifyPolicy) -> Duration {
        self.shows_after(policy).saturating_sub(self.age)
    }

    /// The evidence after one more commit, which ended like this and was signed so long ago. One that wasn't executed
    /// changes nothing.
    #[must_use]
    pub fn with_commit(&self, class: OutcomeClass, age: Duration) -> Self {
        let effects = effects(RequestKind::Commit, class);
        if effects.readbacks_to_disprove == 0 {
            return self.clone();
        }
        Self {
            last_commit: Some(class),
            age,
            negative_readbacks: 0,
            late_readback: false,
            readbacks: 0,
            was_read_early: false,
            earlier_in_doubt: !self.is_disproved(),
            placed: self.placed || effects.shows == Shows::Order,
        }
    }

    /// The evidence after one more readback, which ended like this and went out so long after the newest commit was signed.
    #[must_use]
    pub fn with_readback(&self, class: OutcomeClass, since: Duration, policy: &VerifyPolicy) -> Self {
        let shows = effects(RequestKind::Readback, class).shows;
        if since < self.settles_after(policy) && shows != Shows::Order {
            return Self { was_read_early: self.was_read_early || class == OutcomeClass::Early, ..self.clone() };
        }
        let readback = Self { readbacks: self.readbacks + 1, ..self.clone() };
        match shows {
            Shows::NoOrder if since >= self.shows_after(policy) => Self {
                negative_readbacks: self.negative_readbacks + 1,
                late_readback: self.late_readback || since >= policy.resend_after,
                ..readback
            },
            Shows::Order => Self { negative_readbacks: 0, late_readback: false, placed: true, ..readback },
            Shows::Other => Self { negative_readbacks: 0, late_readback: false, ..readback },
            Shows::NoOrder | Shows::Nothing => readback,
        }
    }

    /// How long after the newest commit it may still take effect.
    fn settles_after(&self, policy: &VerifyPolicy) -> Duration {
        match self.last_commit {
            Some(OutcomeClass::InDoubt | OutcomeClass::BackendError) => policy.settle,
            _ => Duration::ZERO,
        }
    }

    /// How long after the newest commit a readback shows the order that it may have placed.
    fn shows_after(&self, policy: &VerifyPolicy) -> Duration {
        match self.last_commit {
            Some(OutcomeClass::InDoubt | OutcomeClass::BackendError | OutcomeClass::StatusRefused) => policy.settle,
            // The server says that nothing was placed.
            _ => Duration::ZERO,
        }
    }
}
