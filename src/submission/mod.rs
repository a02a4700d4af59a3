//! The domain: certificate IDs, states, outcomes, the retry policy, and [`next_state`], the whole state machine as one pure
//! function.
//!
//! Nothing here does I/O, reads a clock or draws random numbers. Replies are classified in [`tencent`](crate::tencent), and
//! rows are stored in [`queue`](crate::queue).

mod certificate;
mod certificate_status;
mod evidence;
mod following;
mod outcome;
mod outcome_class;
mod outcome_effects;
mod policy;
mod state;
mod transition;

pub use certificate::{CertificateId, InvalidCertificateId, VerifyType};
pub use certificate_status::{CertificateStatus, Standing};
pub use evidence::Evidence;
pub use following::next_look;
pub use outcome::Outcome;
pub use outcome_class::{OutcomeClass, RequestKind};
pub use outcome_effects::{Effects, FaultKind, HealthSignal, RateSignal, Shows, effects};
pub use policy::{RetryPolicy, VerifyPolicy};
pub use state::{ResolvedBy, State};
pub use transition::{Change, Event, Policy, Row, next_state};

#[cfg(test)]
mod evidence_tests;
#[cfg(test)]
mod state_machine_model;
#[cfg(test)]
mod transition_tests;
