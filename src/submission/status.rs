//! `Status` of a certificate, and what a read of it says about a commit.
//!
//! Source: the data type `CertificateExtra` and the actions' pages of Tencent Cloud's SSL API,
//! version 2019-12-05. Unknown integers will come: they are stored, and never fail anything.

/// Every status that the API's documentation names, with its meaning.
pub const STATUS_CODES: [(i64, &str); 16] = [
    (0, "reviewing"),
    (1, "approved"),
    (2, "unapproved"),
    (3, "expired"),
    (4, "DNS record added"),
    (5, "enterprise-grade certificate, pending submission"),
    (6, "canceling order"),
    (7, "canceled"),
    (8, "information submitted, pending confirmation letter upload"),
    (9, "revoking certificate"),
    (10, "revoked"),
    (11, "reissuing"),
    (12, "pending revocation confirmation letter upload"),
    (13, "free certificate, pending submission"),
    (14, "refunded"),
    (15, "migrating"),
];

/// The meaning of a status, if it is known.
#[must_use]
pub fn status_text(status: i64) -> Option<&'static str> {
    STATUS_CODES.iter().find(|(code, _)| *code == status).map(|(_, text)| *text)
}

/// What a read (`DescribeCertificate`) showed. Both fields may be null in the reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The CA's order number; empty strings count as none.
    pub order_id: Option<String>,
    /// The certificate's status.
    pub status: Option<i64>,
    /// The read's own request id.
    pub request_id: Option<String>,
}

/// What a reading means for a commit whose outcome isn't known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The order is placed.
    Committed,
    /// The information was not submitted, as of this read.
    NotCommitted,
    /// The certificate is where a commit neither leads nor starts: unapproved, canceled, revoked and the like.
    DeadEnd,
    /// An unknown status, or an order id and a status that contradict each other.
    Unclear,
}

impl Reading {
    /// Judges the reading.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.status, self.order_id.is_some()) {
            (Some(0 | 1 | 4 | 8 | 11 | 12), true) => Verdict::Committed,
            (Some(5 | 13), false) => Verdict::NotCommitted,
            (Some(2 | 3 | 6 | 7 | 9 | 10 | 14), _) => Verdict::DeadEnd,
            _ => Verdict::Unclear,
        }
    }

    /// The reading in words, for a reason or a log line.
    #[must_use]
    pub fn describe(&self) -> String {
        let order = match &self.order_id {
            Some(order_id) => format!("order {order_id}"),
            None => "no order".to_owned(),
        };
        match self.status {
            Some(status) => match status_text(status) {
                Some(text) => format!("{order}, status {status} ({text})"),
                None => format!("{order}, unknown status {status}"),
            },
            None => format!("{order}, no status"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(order_id: Option<&str>, status: Option<i64>) -> Verdict {
        Reading { order_id: order_id.map(str::to_owned), status, request_id: None }.verdict()
    }

    #[test]
    fn every_status_has_the_verdict_of_the_contract() {
        for status in -1..=17 {
            let with_order = match status {
                0 | 1 | 4 | 8 | 11 | 12 => Verdict::Committed,
                2 | 3 | 6 | 7 | 9 | 10 | 14 => Verdict::DeadEnd,
                _ => Verdict::Unclear,
            };
            let without_order = match status {
                5 | 13 => Verdict::NotCommitted,
                2 | 3 | 6 | 7 | 9 | 10 | 14 => Verdict::DeadEnd,
                _ => Verdict::Unclear,
            };
            assert_eq!(verdict(Some("SO1"), Some(status)), with_order, "{status} with an order");
            assert_eq!(verdict(None, Some(status)), without_order, "{status} without an order");
        }
        assert_eq!(verdict(None, None), Verdict::Unclear);
        assert_eq!(verdict(Some("SO1"), None), Verdict::Unclear);
    }

    #[test]
    fn a_reading_is_described_in_words() {
        let reading = |order_id: Option<&str>, status| Reading {
            order_id: order_id.map(str::to_owned),
            status,
            request_id: None,
        };
        assert_eq!(reading(None, Some(13)).describe(), "no order, status 13 (free certificate, pending submission)");
        assert_eq!(reading(Some("SO1"), Some(99)).describe(), "order SO1, unknown status 99");
        assert_eq!(reading(None, None).describe(), "no order, no status");
    }
}
