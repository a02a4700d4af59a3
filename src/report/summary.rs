//! What all certificates of a report show together. Memory doesn't grow with their number. Pure.

use std::collections::BTreeMap;

use super::outcome::{Outcome, Sent};
use crate::queue::{ReportFilter, Story};
use crate::submission::{OutcomeClass, RequestKind};

/// More different failures are counted together.
const MAX_FAILURES: usize = 200;
/// The commits of so many seconds are counted together.
pub(super) const STEP_SECONDS: i64 = 10;

/// The summary.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// What the report is about.
    pub filter: ReportFilter,
    /// When it was made, in unix seconds.
    pub made_at: i64,
    /// The configured maximum of commits per second.
    pub cap: u32,
    /// How many certificates there are.
    pub certificates: u64,
    /// How many stand where.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Failed certificates by what the server said.
    pub failures: BTreeMap<Failure, u64>,
    /// Failed certificates with more different answers than are listed.
    pub other_failures: u64,
    /// What was sent.
    pub sent: Sent,
    /// Commits that left in each step of ten seconds, by the number of steps since 1970.
    pub per_step: BTreeMap<i64, u64>,
    /// Replies to commits by their latency in milliseconds, in two digits.
    pub latencies: BTreeMap<i64, u64>,
    /// Certificates with an order by the number of commits that were sent for them.
    pub tries: BTreeMap<u64, u64>,
}

/// What the server said, without the ID of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// The error code.
    pub code: String,
    /// The server's words.
    pub words: String,
}

impl Failure {
    /// The error code, in words if there is none: after a readback, or by an operator.
    #[must_use]
    pub fn code_in_words(&self) -> &str {
        if self.code.is_empty() { "no code" } else { &self.code }
    }
}

impl Summary {
    /// An empty one. `made_at` in unix seconds, `cap` in commits per second.
    #[must_use]
    pub fn new(filter: ReportFilter, made_at: i64, cap: u32) -> Self {
        Self { filter, made_at, cap, ..Self::default() }
    }

    /// How many certificates stand there.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome.as_str()).copied().unwrap_or_default()
    }

    /// Counts a certificate.
    pub fn add(&mut self, story: &Story) {
        let (outcome, sent) = (Outcome::of(story), Sent::of(story));
        self.certificates += 1;
        *self.outcomes.entry(outcome.as_str()).or_default() += 1;
        self.sent.commits += sent.commits;
        self.sent.readbacks += sent.readbacks;
        if story.row.order_id.is_some() && sent.commits > 0 {
            *self.tries.entry(sent.commits).or_default() += 1;
        }
        if outcome == Outcome::Failed {
            self.add_failure(story);
        }
        for request in &story.requests {
            // Before it ended, when it left isn't known.
            let has_left = request.outcome.as_deref().is_some_and(|outcome| outcome != OutcomeClass::NotSent.as_str());
            if request.kind.as_str() != RequestKind::Commit.as_str() || !has_left {
                continue;
            }
            *self.per_step.entry(request.sent_at.div_euclid(STEP_SECONDS * 1000)).or_default() += 1;
            if let Some(latency) = request.duration_ms {
                *self.latencies.entry(two_digits(latency)).or_default() += 1;
            }
        }
    }

    fn add_failure(&mut self, story: &Story) {
        let text = |text: &Option<crate::queue::UntrustedText>| text.as_deref().unwrap_or_default().to_owned();
        let words = text(&story.row.error_message).replace(story.row.certificate_id.as_str(), "ID");
        let failure = Failure { code: text(&story.row.error_code), words };
        if self.failures.len() < MAX_FAILURES || self.failures.contains_key(&failure) {
            *self.failures.entry(failure).or_default() += 1;
        } else {
            self.other_failures += 1;
        }
    }

    /// Why certificates failed, the most frequent first.
    #[must_use]
    pub fn frequent_failures(&self) -> Vec<(&Failure, u64)> {
        let mut failures: Vec<_> = self.failures.iter().map(|(failure, count)| (failure, *count)).collect();
        failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        failures
    }

    /// The latency that so many percent of the replies don't exceed, in milliseconds.
    #[must_use]
    pub fn latency(&self, percent: u64) -> Option<i64> {
        let all: u64 = self.latencies.values().sum();
        let wanted = all.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.latencies.iter().find_map(|(latency, count)| {
            seen += count;
            (seen >= wanted).then_some(*latency)
        })
    }
}

/// A number rounded to its first two digits, so that there are few different ones.
fn two_digits(number: i64) -> i64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    number / unit * unit
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::{commit, story};
    use super::*;
    use crate::queue::ReportRequest;

    #[test]
    fn certificates_are_counted_by_where_they_stand() {
        let mut summary = Summary::new(ReportFilter::default(), 0, 20);
        for story in [
            story("a", "submitted", Some(1)),
            story("b", "submitted", Some(8)),
            story("c", "submitted", Some(2)),
            story("d", "failed", None),
            story("e", "held", None),
            story("f", "in_doubt", None),
            story("g", "canceled", None),
            story("h", "something_newer", None),
        ] {
            summary.add(&story);
        }
        let counts = Outcome::ALL.map(|outcome| summary.of(outcome));
        assert_eq!((counts, summary.certificates), ([1, 0, 1, 1, 0, 2, 1, 1, 1], 8));
    }

    #[test]
    fn failures_with_the_same_words_but_for_the_id_are_one_group() {
        let mut summary = Summary::default();
        for id in ["cert-1", "cert-2"] {
            let mut failed = story(id, "failed", None);
            failed.row.error_message = Some(crate::queue::UntrustedText::of(&format!("{id} does not exist")));
            summary.add(&failed);
        }
        let failures: Vec<_> =
            summary.failures.iter().map(|(failure, count)| (failure.words.as_str(), *count)).collect();
        assert_eq!(failures, [("ID does not exist", 2)]);
    }

    #[test]
    fn the_most_frequent_failures_come_first_and_one_without_a_code_says_so() {
        let mut summary = Summary::default();
        for (id, code) in [("a", Some("A.B")), ("b", None), ("c", None)] {
            let mut failed = story(id, "failed", None);
            failed.row.error_code = code.map(crate::queue::UntrustedText::of);
            summary.add(&failed);
        }
        let failures: Vec<_> = summary.frequent_failures();
        let codes: Vec<_> = failures.iter().map(|(failure, count)| (failure.code_in_words(), *count)).collect();
        assert_eq!(codes, [("no code", 2), ("A.B", 1)]);
    }

    #[test]
    fn commits_are_counted_by_time_and_latency_once_they_left() {
        let mut summary = Summary::default();
        let mut ordered = story("a", "submitted", Some(8));
        ordered.requests = vec![
            commit(1, 0, "not_sent", None),
            commit(2, 9_999, "in_doubt", Some(1_234)),
            commit(3, 10_000, "submitted", Some(87)),
            ReportRequest { outcome: None, ..commit(4, 10_000, "", None) },
        ];
        summary.add(&ordered);
        assert_eq!(summary.per_step, BTreeMap::from([(0, 1), (1, 1)]));
        assert_eq!(summary.latencies, BTreeMap::from([(87, 1), (1_200, 1)]));
        assert_eq!([summary.latency(50), summary.latency(99)], [Some(87), Some(1_200)]);
        assert_eq!(summary.sent, Sent { commits: 3, readbacks: 0 });
        assert_eq!(Summary::default().latency(50), None);
    }
}
