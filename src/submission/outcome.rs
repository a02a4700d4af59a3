//! The outcome of a request: one type from the reply to the row.

use super::certificate_status::CertificateStatus;
use super::outcome_class::{OutcomeClass, RequestKind};
use crate::cause::{ApiError, Quote};

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it means.
    pub class: OutcomeClass,
    /// The CA's order number, if one was placed or shown.
    pub order_id: Option<String>,
    /// The certificate's status, if one was given or shown.
    pub status: Option<i64>,
    /// The ID that the server gave the request.
    pub request_id: Option<String>,
    /// The server's error, if it gave one.
    pub error: Option<ApiError>,
    /// What went wrong, where the server's error doesn't say it.
    pub detail: Option<String>,
}

impl Outcome {
    /// A commit that placed an order.
    #[must_use]
    pub fn submitted(order_id: String, status: i64, request_id: Option<String>) -> Self {
        Self { order_id: Some(order_id), status: Some(status), request_id, ..Self::of(OutcomeClass::Submitted) }
    }

    /// A readback that showed the certificate; both of its fields may be null in the reply.
    #[must_use]
    pub fn shown(order_id: Option<String>, status: Option<i64>, request_id: Option<String>) -> Self {
        let class = class_of_shown(status, order_id.is_some());
        Self { order_id, status, request_id, ..Self::of(class) }
    }

    /// A request that the server refused.
    #[must_use]
    pub fn refused(class: OutcomeClass, error: ApiError) -> Self {
        let request_id = error.request_id.as_ref().map(ToString::to_string);
        Self { error: Some(error), request_id, ..Self::of(class) }
    }

    /// A request whose outcome is unknown for this reason.
    #[must_use]
    pub fn unknown(kind: RequestKind, detail: String) -> Self {
        Self { detail: Some(detail), ..Self::of(OutcomeClass::unknown(kind)) }
    }

    /// A request that never left this machine, for this reason.
    #[must_use]
    pub fn not_sent(detail: String) -> Self {
        Self { detail: Some(detail), ..Self::of(OutcomeClass::NotSent) }
    }

    fn of(class: OutcomeClass) -> Self {
        Self { class, order_id: None, status: None, request_id: None, error: None, detail: None }
    }

    /// Why it didn't succeed: the detail, or else the server's error.
    #[must_use]
    pub fn why(&self) -> Quote {
        match (&self.detail, &self.error) {
            (Some(detail), _) => Quote::new(detail),
            (None, Some(error)) => Quote::new(&error.to_string()),
            (None, None) => Quote::new(&self.describe()),
        }
    }

    /// Order and status in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let order = match &self.order_id {
            Some(order_id) => format!("order {order_id}"),
            None => "no order".to_owned(),
        };
        match self.status {
            Some(status) => match CertificateStatus::of_code(status) {
                Some(known) => format!("{order}, status {status} ({})", known.text),
                None => format!("{order}, unknown status {status}"),
            },
            None => format!("{order}, no status"),
        }
    }
}

/// The class of a readback that showed this status, with or without an order.
fn class_of_shown(status: Option<i64>, has_order: bool) -> OutcomeClass {
    match status.and_then(CertificateStatus::of_code) {
        Some(status) if has_order => status.with_order,
        Some(status) => status.without_order,
        None => OutcomeClass::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_that_is_shown_has_the_class_of_the_contract() {
        for status in -1..=17 {
            let with_order = match status {
                0 | 1 | 4 | 8 | 11 | 12 => OutcomeClass::Committed,
                2 | 3 | 6 | 7 | 9 | 10 | 14 => OutcomeClass::DeadEnd,
                _ => OutcomeClass::Unclear,
            };
            let without_order = match status {
                5 | 13 => OutcomeClass::NotCommitted,
                2 | 3 | 6 | 7 | 9 | 10 | 14 => OutcomeClass::DeadEnd,
                _ => OutcomeClass::Unclear,
            };
            assert_eq!(class_of_shown(Some(status), true), with_order, "{status} with an order");
            assert_eq!(class_of_shown(Some(status), false), without_order, "{status} without an order");
        }
        assert_eq!([true, false].map(|order| class_of_shown(None, order)), [OutcomeClass::Unclear; 2]);
    }

    #[test]
    fn a_readback_describes_order_and_status_with_their_meaning() {
        let shown = |order: Option<&str>, status| Outcome::shown(order.map(str::to_owned), status, None).describe();
        assert_eq!(
            shown(Some("SO1"), Some(8)),
            "order SO1, status 8 (information submitted, pending confirmation letter upload)"
        );
        assert_eq!(shown(None, Some(99)), "no order, unknown status 99");
        assert_eq!(shown(None, None), "no order, no status");
    }

    #[test]
    fn the_reason_of_an_outcome_is_its_detail_or_else_the_servers_error() {
        let refused = Outcome::refused(OutcomeClass::Failed, ApiError::new("A.B", "no", None));
        assert_eq!(refused.why().as_str(), "A.B: no");
        assert_eq!(Outcome { detail: Some("cut".into()), ..refused }.why().as_str(), "cut");
        assert_eq!(Outcome::not_sent("refused".into()).why().as_str(), "refused");
    }

    #[test]
    fn an_unknown_outcome_leaves_a_commit_in_doubt_and_repeats_a_readback() {
        let class = |kind| Outcome::unknown(kind, "cut".into()).class;
        assert_eq!(class(RequestKind::Commit), OutcomeClass::InDoubt);
        assert_eq!(class(RequestKind::Readback), OutcomeClass::Retry);
    }
}
