//! What one certificate shows, and what to do about it. Pure.

use crate::named_enum::named_enum;
use crate::queue::Story;
use crate::submission::{OutcomeClass, RequestKind, Standing, State};

named_enum! {
    /// Where a certificate stands.
    pub enum Outcome {
        /// The certificate is issued.
        Issued = "issued",
        /// Its order is placed, and nothing waits for a person.
        Ordered = "ordered",
        /// Its order is placed, and the CA waits for a confirmation letter.
        LetterNeeded = "letter_needed",
        /// The CA refused its order.
        Refused = "refused",
        /// Its order is over: the certificate expired, or was canceled, revoked or refunded.
        Over = "over",
        /// It has no order, and certcommit goes on with it.
        Open = "open",
        /// The server refused it for good, or it is out of tries.
        Failed = "failed",
        /// A person has to decide.
        Held = "held",
        /// Somebody canceled it.
        Canceled = "canceled",
    }
}

impl Outcome {
    /// Where this certificate stands; open, if this version doesn't know its state.
    #[must_use]
    pub fn of(story: &Story) -> Self {
        match (story.row.state(), story.row.standing()) {
            (_, Some(Standing::Issued)) => Self::Issued,
            (_, Some(Standing::LetterNeeded)) => Self::LetterNeeded,
            (_, Some(Standing::Refused)) => Self::Refused,
            (_, Some(Standing::Over)) => Self::Over,
            (_, Some(Standing::Underway)) => Self::Ordered,
            (Some(State::Failed), None) => Self::Failed,
            (Some(State::Held), None) => Self::Held,
            (Some(State::Canceled), None) => Self::Canceled,
            (Some(State::Pending | State::InFlight | State::InDoubt | State::Submitted) | None, None) => Self::Open,
        }
    }

    /// Whether a person has to do something.
    #[must_use]
    pub fn waits_for_a_person(self) -> bool {
        matches!(self, Self::LetterNeeded | Self::Refused | Self::Failed | Self::Held)
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Ordered => "ordered",
            Self::LetterNeeded => "ordered, confirmation letter needed",
            Self::Refused => "order refused by the CA",
            Self::Over => "order over",
            Self::Open => "open",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Canceled => "canceled",
        }
    }

    /// What to do about it, for all certificates that stand there; nothing, if certcommit or the CA goes on by itself.
    #[must_use]
    pub fn todo(self) -> Option<&'static str> {
        match self {
            Self::LetterNeeded => Some(
                "upload the confirmation letter in the Tencent Cloud console, unless the CA validates the domain by itself",
            ),
            Self::Refused => Some("read in the Tencent Cloud console why the CA refused it, and apply again"),
            Self::Failed => Some("remove the cause that the error names, then: certcommit retry"),
            Self::Held => {
                Some("look it up in the Tencent Cloud console, then: certcommit verify or certcommit resolve")
            }
            Self::Issued | Self::Ordered | Self::Open | Self::Over | Self::Canceled => None,
        }
    }
}

/// What was sent for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Commits that left this machine.
    pub commits: u64,
    /// Readbacks that left this machine.
    pub readbacks: u64,
}

impl Sent {
    /// Counts the requests that were sent.
    #[must_use]
    pub fn of(story: &Story) -> Self {
        let mut sent = Self::default();
        for request in &story.requests {
            let is_unsent = request.outcome.as_deref() == Some(OutcomeClass::NotSent.as_str());
            match (is_unsent, request.kind.as_str() == RequestKind::Commit.as_str()) {
                (true, _) => {}
                (false, true) => sent.commits += 1,
                (false, false) => sent.readbacks += 1,
            }
        }
        sent
    }
}

/// What to do about this certificate.
#[must_use]
pub(super) fn todo(story: &Story) -> Option<String> {
    let outcome = Outcome::of(story);
    match outcome {
        Outcome::Failed | Outcome::Held => {
            let remedy = |cause: crate::cause::RowCause| cause.remedy(story.row.certificate_id.as_str());
            story.row.cause().map(remedy).or_else(|| outcome.todo().map(str::to_owned))
        }
        Outcome::LetterNeeded | Outcome::Refused => outcome.todo().map(str::to_owned),
        Outcome::Issued | Outcome::Ordered | Outcome::Open | Outcome::Over | Outcome::Canceled => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::queue::{ReportRequest, ReportRow, UntrustedText};

    /// A certificate in this state, with this status if it has an order.
    pub(in crate::report) fn story(id: &str, state: &str, status: Option<i64>) -> Story {
        let row = ReportRow {
            id: 1,
            certificate_id: UntrustedText::of(id),
            state: UntrustedText::of(state),
            order_id: status.map(|_| UntrustedText::of("SO1")),
            status,
            status_text: status.map(|status| UntrustedText::of(&format!("status {status}"))),
            request_id: None,
            tries: 1,
            verify_type: None,
            priority: Some(0),
            reference: None,
            error_code: None,
            error_message: None,
            reason: None,
            reason_code: None,
            reason_parameters: None,
            resolved_by: None,
            created_at: 1_700_000_000,
            updated_at: Some(1_700_000_060),
            finished_at: None,
            current_status: None,
            current_status_text: None,
            current_status_at: None,
            current_status_message: None,
        };
        Story { row, requests: Vec::new() }
    }

    /// A commit that left at this time, in milliseconds.
    pub(in crate::report) fn commit(
        number: i64,
        sent_at: i64,
        outcome: &str,
        duration_ms: Option<i64>,
    ) -> ReportRequest {
        ReportRequest {
            number,
            kind: UntrustedText::of("commit"),
            sent_at,
            outcome: Some(UntrustedText::of(outcome)),
            error_code: None,
            request_id: None,
            order_id: None,
            status: None,
            duration_ms,
        }
    }

    #[test]
    fn the_newest_status_says_where_an_order_stands_and_the_answer_does_before_it_is_read() {
        let mut ordered = story("a", "submitted", Some(8));
        assert_eq!(Outcome::of(&ordered), Outcome::LetterNeeded);
        for (status, expected) in
            [(0, Outcome::Ordered), (1, Outcome::Issued), (2, Outcome::Refused), (10, Outcome::Over)]
        {
            ordered.row.current_status = Some(status);
            assert_eq!(Outcome::of(&ordered), expected, "{status}");
        }
    }

    #[test]
    fn what_waits_for_a_person_has_something_to_do() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.todo().is_some(), outcome.waits_for_a_person(), "{outcome}");
        }
    }
}
