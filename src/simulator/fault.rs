//! Faults: scripted for one certificate, or mixed in at random.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How a commit goes wrong. If the order is placed first, but the certificate's status doesn't allow one, the reply has the
/// refusal instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not at all: the order is placed, and the reply says so.
    Behave,
    /// No order; the reply has this error code.
    Error(String),
    /// The order is placed, but the reply has this error code.
    ErrorAfter(String),
    /// No order; the connection is cut.
    CutBefore,
    /// The order is placed; the connection is cut.
    CutAfter,
    /// No order, and no reply.
    HangBefore,
    /// The order is placed; no reply.
    HangAfter,
    /// The connection is cut; the order is placed this long after the arrival.
    LateAfter(Duration),
    /// The order is placed; the reply comes this much later.
    Delay(Duration),
    /// The order is placed; the connection is cut in the middle of the reply.
    HalfBody,
    /// The order is placed; the reply is an HTML page with HTTP 502.
    Html,
    /// The order is placed; the reply is `{"Response":null}`.
    NullResponse,
    /// The order is placed; the reply isn't UTF-8.
    NotUtf8,
    /// The order is placed; the reply's `Status` is a string.
    WrongTypeStatus,
    /// The order is placed; the reply has no `OrderId`.
    NoOrderId,
    /// The order is placed; the reply is over 1 MiB long.
    HugeBody,
    /// The order is placed; the certificate and the reply have this status.
    Status(i64),
    /// No order; HTTP 307 to this address.
    Redirect(String),
    /// No order; HTTP 200 with these bytes.
    Raw(Vec<u8>),
}

/// When the order is placed despite a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    None,
    /// Before the reply.
    First,
    /// This long after the arrival.
    After(Duration),
}

impl Fault {
    pub(super) fn order(&self) -> Order {
        if let Self::LateAfter(wait) = self {
            return Order::After(*wait);
        }
        let none =
            matches!(self, Self::Error(_) | Self::CutBefore | Self::HangBefore | Self::Redirect(_) | Self::Raw(_));
        if none { Order::None } else { Order::First }
    }

    /// How much later than usual the reply comes.
    pub(super) fn delay(&self) -> Duration {
        if let Self::Delay(wait) = self { *wait } else { Duration::ZERO }
    }

    /// Whether the client gets the service's own reply.
    pub(super) fn is_intact(&self) -> bool {
        matches!(self, Self::Behave | Self::Delay(_) | Self::Status(_))
    }

    /// The `answer` of an arrival.
    pub(super) fn name(&self) -> String {
        if let Self::Error(code) | Self::ErrorAfter(code) = self {
            return code.clone();
        }
        if self.is_intact() { "ok".to_owned() } else { variant(self) }
    }
}

/// The name of a value's variant.
fn variant(value: &impl fmt::Debug) -> String {
    format!("{value:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// How a read goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFault {
    /// Not at all: the reply shows the certificate as it is.
    Behave,
    /// The reply has this error code.
    Error(String),
    /// The connection is cut.
    Cut,
    /// No reply.
    Hang,
    /// The reply is an HTML page with HTTP 502.
    Html,
    /// The reply is HTTP 200 with these bytes.
    Raw(Vec<u8>),
    /// The reply shows this instead of the certificate.
    Shows {
        /// `OrderId`, null if none.
        order_id: Option<String>,
        /// `Status`, null if none.
        status: Option<i64>,
    },
}

impl ReadFault {
    /// The `answer` of an arrival.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Behave | Self::Shows { .. } => "ok".to_owned(),
            Self::Error(code) => code.clone(),
            Self::Cut | Self::Hang | Self::Html | Self::Raw(_) => variant(self),
        }
    }
}

/// The faults of the next requests for one certificate.
#[derive(Debug, Clone)]
pub(super) struct Script<F> {
    next: VecDeque<F>,
    permanent: Option<F>,
}

impl<F> Default for Script<F> {
    fn default() -> Self {
        Self { next: VecDeque::new(), permanent: None }
    }
}

impl<F: Clone> Script<F> {
    pub(super) fn append(&mut self, faults: Vec<F>) {
        self.next.extend(faults);
    }

    pub(super) fn forever(&mut self, fault: F) {
        self.permanent = Some(fault);
    }

    pub(super) fn take(&mut self) -> Option<F> {
        self.next.pop_front().or_else(|| self.permanent.clone())
    }
}

/// Random faults hit only the first commits of a certificate, so that each succeeds in the end.
const COMMITS_AT_RISK: u64 = 2;

/// Random faults for commits of certificates without a script, as probabilities from 0 to 1. All but `invalid` hit at most the
/// first two commits of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mixture {
    /// `FailedOperation.CertificateInvalid` for every commit of a certificate.
    pub invalid: f64,
    /// `FailedOperation.NetworkError`.
    pub network_error: f64,
    /// `InternalError.BackendResponseError`; no order.
    pub backend_error: f64,
    /// `RequestLimitExceeded`, although the rate is within the limit.
    pub throttled: f64,
    /// [`Fault::CutBefore`].
    pub lost_before: f64,
    /// [`Fault::CutAfter`].
    pub lost_after: f64,
    /// [`Fault::Html`].
    pub html: f64,
}

impl Mixture {
    /// The fault of a certificate's commit, counted from 1. It depends only on the arguments, not on the order of arrivals.
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
pub(super) fn dice(seed: u64, certificate_id: &str, throw: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, certificate_id, throw).hash(&mut hasher);
    fastrand::Rng::with_seed(hasher.finish()).f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_has_about_its_proportions() {
        let mixture = Mixture { network_error: 0.2, lost_after: 0.1, ..Mixture::default() };
        let drawn: Vec<_> = (0..10_000).map(|n| mixture.draw(7, &format!("cert-{n}"), 1)).collect();
        let share = |fault: &Fault| drawn.iter().filter(|drawn| drawn.as_ref() == Some(fault)).count();
        assert!((1_800..2_200).contains(&share(&Fault::Error("FailedOperation.NetworkError".into()))));
        assert!((850..1_150).contains(&share(&Fault::CutAfter)));
        assert_eq!(drawn, (0..10_000).map(|n| mixture.draw(7, &format!("cert-{n}"), 1)).collect::<Vec<_>>());
    }

    #[test]
    fn a_mixture_leaves_the_third_commit_alone_unless_the_certificate_is_invalid() {
        let failing = Mixture { network_error: 1.0, ..Mixture::default() };
        assert!(failing.draw(7, "a", 2).is_some() && failing.draw(7, "a", 3).is_none());
        let invalid = Mixture { invalid: 1.0, ..Mixture::default() };
        assert!(invalid.draw(7, "a", 1_000).is_some());
    }

    #[test]
    fn a_script_is_used_up_before_its_permanent_fault() {
        let mut script = Script::default();
        script.append(vec![1, 2]);
        assert_eq!([script.take(), script.take(), script.take()], [Some(1), Some(2), None]);
        script.forever(3);
        assert_eq!([script.take(), script.take()], [Some(3), Some(3)]);
    }
}
