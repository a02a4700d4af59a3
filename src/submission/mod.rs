//! The domain: certificate IDs, states, outcomes, the retry policy, and [`next_state`], the whole state
//! machine as one pure function.
//!
//! Nothing here does I/O, reads a clock or throws dice. What isn't here: how a reply is told apart
//! ([`tencent`](crate::tencent)) and how a row is kept ([`queue`](crate::queue)).

mod certificate;
mod evidence;
mod outcome;
mod policy;
mod state;
mod status;
mod transition;

pub use certificate::{CertificateId, InvalidCertificateId, VerifyType};
pub use evidence::Evidence;
pub use outcome::{CommitClass, CommitOutcome, ReadClass, ReadOutcome, Receipt, Refusal};
pub use policy::{RetryPolicy, VerifyPolicy};
pub use state::{ResolvedBy, State};
pub use status::{Reading, STATUS_CODES, Verdict, status_text};
pub use transition::{Change, Event, Policy, Row, next_state};

#[cfg(test)]
mod evidence_tests;
#[cfg(test)]
mod state_machine_model;
#[cfg(test)]
mod transition_tests;
