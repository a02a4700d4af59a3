//! Misbehaviour: scripted for one certificate, or mixed in at random.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How a commit goes wrong. Where an order is placed first and the certificate's status doesn't allow one, the refusal
/// takes the order's place in the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// None: an order is placed and answered.
    Behave,
    /// No order; answered with this error code.
    Error(String),
    /// The order is placed, yet answered with this error code.
    ErrorAfter(String),
    /// No order; the connection is cut.
    CutBefore,
    /// The order is placed; the connection is cut.
    CutAfter,
    /// No order; never answered.
    HangBefore,
    /// The order is placed; never answered.
    HangAfter,
    /// The connection is cut; the order is placed this long after the arrival.
    LateAfter(Duration),
    /// The order is placed; the answer comes this much later.
    Delay(Duration),
    /// The order is placed; the connection is cut in the middle of the answer.
    HalfBody,
    /// The order is placed; answered with HTTP 502 and a page.
    Html,
    /// The order is placed; answered with `{"Response":null}`.
    NullResponse,
    /// The order is placed; the answer isn't UTF-8.
    NotUtf8,
    /// The order is placed; the answer's `Status` is a string.
    WrongTypeStatus,
    /// The order is placed; the answer has no `OrderId`.
    NoOrderId,
    /// The order is placed; the answer is over 1 MiB long.
    HugeBody,
    /// The order is placed; the certificate and the answer have this status.
    Status(i64),
    /// No order; HTTP 307 to this address.
    Redirect(String),
    /// No order; HTTP 200 with these bytes.
    Raw(Vec<u8>),
}

/// When a fault lets the order be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    None,
    /// Before the answer.
    First,
    /// This long after the arrival.
    After(Duration),
}

impl Fault {
    pub(super) fn order(&self) -> Order {
        match self {
            Self::Error(_) | Self::CutBefore | Self::HangBefore | Self::Redirect(_) | Self::Raw(_) => Order::None,
            Self::LateAfter(wait) => Order::After(*wait),
            Self::Behave
            | Self::ErrorAfter(_)
            | Self::CutAfter
            | Self::HangAfter
            | Self::Delay(_)
            | Self::HalfBody
            | Self::Html
            | Self::NullResponse
            | Self::NotUtf8
            | Self::WrongTypeStatus
            | Self::NoOrderId
            | Self::HugeBody
            | Self::Status(_) => Order::First,
        }
    }

    /// How much later than usual the answer comes.
    pub(super) fn delay(&self) -> Duration {
        if let Self::Delay(wait) = self { *wait } else { Duration::ZERO }
    }

    /// Whether the client gets to see what the service answered.
    pub(super) fn is_intact(&self) -> bool {
        matches!(self, Self::Behave | Self::Delay(_) | Self::Status(_))
    }

    /// What an arrival's `answer` says of it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Behave | Self::Delay(_) | Self::Status(_) => "ok",
            Self::Error(code) | Self::ErrorAfter(code) => code,
            Self::CutBefore => "cut before the order",
            Self::CutAfter => "cut after the order",
            Self::HangBefore => "no answer, no order",
            Self::HangAfter => "no answer after the order",
            Self::LateAfter(_) => "cut, the order follows",
            Self::HalfBody => "half a body",
            Self::Html => "HTTP 502",
            Self::NullResponse => "null response",
            Self::NotUtf8 => "not UTF-8",
            Self::WrongTypeStatus => "status as a string",
            Self::NoOrderId => "no order id",
            Self::HugeBody => "huge body",
            Self::Redirect(_) => "redirect",
            Self::Raw(_) => "raw bytes",
        }
    }
}

/// How a read goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFault {
    /// As it should: the certificate as it is.
    Behave,
    /// Answered with this error code.
    Error(String),
    /// The connection is cut.
    Cut,
    /// Never answered.
    Hang,
    /// Answered with HTTP 502 and a page.
    Html,
    /// Answered with HTTP 200 and these bytes.
    Raw(Vec<u8>),
    /// Answered with this, whatever the certificate is.
    Shows {
        /// `OrderId`, null if none.
        order_id: Option<String>,
        /// `Status`, null if none.
        status: Option<i64>,
    },
}

/// What awaits the next requests for one certificate.
#[derive(Debug, Clone)]
pub(super) struct Script<F> {
    next: VecDeque<F>,
    then: Option<F>,
}

impl<F> Default for Script<F> {
    fn default() -> Self {
        Self { next: VecDeque::new(), then: None }
    }
}

impl<F: Clone> Script<F> {
    pub(super) fn append(&mut self, faults: Vec<F>) {
        self.next.extend(faults);
    }

    pub(super) fn forever(&mut self, fault: F) {
        self.then = Some(fault);
    }

    pub(super) fn take(&mut self) -> Option<F> {
        self.next.pop_front().or_else(|| self.then.clone())
    }
}

/// Only the first commits of a certificate meet a random fault, so that each comes to an end.
const COMMITS_AT_RISK: u64 = 2;

/// Random faults for commits of unscripted certificates, as probabilities from 0 to 1. All but `invalid` strike at
/// most a certificate's first two commits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mixture {
    /// `FailedOperation.CertificateInvalid`, for ever; of all certificates.
    pub invalid: f64,
    /// `FailedOperation.NetworkError`.
    pub network_error: f64,
    /// `InternalError.BackendResponseError`; no order.
    pub backend_error: f64,
    /// `RequestLimitExceeded`, without need.
    pub throttled: f64,
    /// [`Fault::CutBefore`].
    pub lost_before: f64,
    /// [`Fault::CutAfter`].
    pub lost_after: f64,
    /// [`Fault::Html`].
    pub html: f64,
}

impl Mixture {
    /// The fault of a certificate's commit, counted from 1. It depends on its arguments alone, not on the order in which
    /// requests arrive.
    pub(super) fn draw(&self, seed: u64, certificate_id: &str, commit: u64) -> Option<Fault> {
        if dice(seed, certificate_id, 0) < self.invalid {
            return Some(Fault::Error("FailedOperation.CertificateInvalid".to_owned()));
        }
        if commit > COMMITS_AT_RISK {
            return None;
        }
        let mut left = dice(seed, certificate_id, commit);
        let faults = [
            (self.network_error, Fault::Error("FailedOperation.NetworkError".to_owned())),
            (self.backend_error, Fault::Error("InternalError.BackendResponseError".to_owned())),
            (self.throttled, Fault::Error("RequestLimitExceeded".to_owned())),
            (self.lost_before, Fault::CutBefore),
            (self.lost_after, Fault::CutAfter),
            (self.html, Fault::Html),
        ];
        faults.into_iter().find_map(|(probability, fault)| {
            left -= probability;
            (left < 0.0).then_some(fault)
        })
    }
}

/// A number from 0 to 1.
fn dice(seed: u64, certificate_id: &str, throw: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, certificate_id, throw).hash(&mut hasher);
    fastrand::Rng::with_seed(hasher.finish()).f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_has_about_the_proportions_asked_for() {
        let mixture = Mixture { network_error: 0.2, lost_after: 0.1, ..Mixture::default() };
        let drawn: Vec<_> = (0..10_000).map(|n| mixture.draw(7, &format!("cert-{n}"), 1)).collect();
        let share = |fault: &Fault| drawn.iter().filter(|drawn| drawn.as_ref() == Some(fault)).count();
        assert!((1_800..2_200).contains(&share(&Fault::Error("FailedOperation.NetworkError".into()))));
        assert!((850..1_150).contains(&share(&Fault::CutAfter)));
        assert_eq!(drawn, (0..10_000).map(|n| mixture.draw(7, &format!("cert-{n}"), 1)).collect::<Vec<_>>());
    }

    #[test]
    fn a_mixture_leaves_the_third_commit_alone_unless_the_certificate_is_invalid() {
        let busy = Mixture { network_error: 1.0, ..Mixture::default() };
        assert!(busy.draw(7, "a", 2).is_some() && busy.draw(7, "a", 3).is_none());
        let invalid = Mixture { invalid: 1.0, ..Mixture::default() };
        assert!(invalid.draw(7, "a", 1_000).is_some());
    }

    #[test]
    fn a_script_is_used_up_and_then_goes_on_as_it_was_told() {
        let mut script = Script::default();
        script.append(vec![1, 2]);
        assert_eq!([script.take(), script.take(), script.take()], [Some(1), Some(2), None]);
        script.forever(3);
        assert_eq!([script.take(), script.take()], [Some(3), Some(3)]);
    }
}
