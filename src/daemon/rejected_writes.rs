//! Writes that the queue's own rules, or a trigger that an operator added, reject. They are kept and tried again with each
//! heartbeat; too many of them stop the sending. Pure but for the log.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::batch_schedule::HEARTBEAT_EVERY;
use super::pause_log::log_paused;
use crate::cause::{Incident, PauseCause, Quote};
use crate::clock::Now;
use crate::logging::LogEvent;
use crate::queue::{Completed, Counts, RejectedWrite};
use crate::submission::{RequestKind, State};

/// This many rejected writes stop the sending, however different their sentences are.
const MOST: usize = 100;

/// The writes that are rejected at present.
#[derive(Debug)]
pub(super) struct RejectedWrites {
    /// This many with the same sentence stop the sending.
    after: usize,
    /// Results of requests that were sent. Only this copy of them exists.
    results: Vec<(Completed, String)>,
    /// Requests of earlier runs that can't be settled, by their numbers.
    unsettled: BTreeMap<i64, String>,
    /// Submissions that can't be claimed, by their ids.
    claims: BTreeMap<i64, RejectedWrite>,
    /// The rule's sentence, while nothing may be sent.
    stopped: Option<String>,
    /// The claims that the present batch tries again.
    retried: Option<BTreeMap<i64, RejectedWrite>>,
    logged: BTreeSet<(Option<i64>, Option<i64>)>,
    /// Since when any write is rejected.
    since: Option<Instant>,
}

impl RejectedWrites {
    pub(super) fn new(after: u32) -> Self {
        Self {
            after: usize::try_from(after).unwrap_or(MOST).clamp(1, MOST),
            results: Vec::new(),
            unsettled: BTreeMap::new(),
            claims: BTreeMap::new(),
            stopped: None,
            retried: None,
            logged: BTreeSet::new(),
            since: None,
        }
    }

    /// Returns the results to try again, and no longer passes over the claims.
    pub(super) fn retry(&mut self) -> Vec<Completed> {
        self.retried = Some(std::mem::take(&mut self.claims));
        self.take_results()
    }

    /// Takes the results out, to write them.
    pub(super) fn take_results(&mut self) -> Vec<Completed> {
        std::mem::take(&mut self.results).into_iter().map(|(result, _)| result).collect()
    }

    /// All that recovery couldn't settle.
    pub(super) fn set_unsettled(&mut self, rejected: &[RejectedWrite]) {
        self.log(rejected);
        let number = |rejected: &RejectedWrite| rejected.request.unwrap_or_default();
        self.unsettled = rejected.iter().map(|one| (number(one), one.sentence.clone())).collect();
    }

    /// A batch ended in which these results and claims were rejected. Returns whether that has just stopped the sending.
    pub(super) fn batch_ended(
        &mut self,
        results: Vec<(Completed, RejectedWrite)>,
        claims: &[RejectedWrite],
        now: Instant,
    ) -> bool {
        for (result, rejected) in results {
            self.add(&rejected, Some(result));
        }
        self.log(claims);
        self.claims.extend(claims.iter().filter_map(|one| Some((one.submission?, one.clone()))));
        let retried = self.retried.take().filter(|_| self.stopped.is_some() && !claims.is_empty());
        self.claims.extend(retried.unwrap_or_default());
        self.since = self.cause().map(|_| self.since.unwrap_or(now));
        let stopped = self.too_many();
        let before = std::mem::replace(&mut self.stopped, stopped).map(|rule| self.cause_of(&rule));
        let after = self.stopped.as_ref().map(|rule| self.cause_of(rule));
        match (&before, after) {
            (None, Some(cause)) => log_paused(&cause.into(), Some(HEARTBEAT_EVERY)),
            (Some(cause), None) => {
                let (event, cause) = (LogEvent::Resumed.as_str(), cause.code());
                tracing::info!(event, cause, "resumed: nothing is refused any more");
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        before.is_none() && self.stopped.is_some()
    }

    /// Adds a rejected write, with its result if it has one.
    pub(super) fn add(&mut self, rejected: &RejectedWrite, result: Option<Completed>) {
        self.log(std::slice::from_ref(rejected));
        match (result, rejected.submission) {
            (Some(result), _) => self.results.push((result, rejected.sentence.clone())),
            (None, Some(submission)) => drop(self.claims.insert(submission, rejected.clone())),
            (None, None) => {}
        }
    }

    /// A batch failed: what it was to try again stays rejected.
    pub(super) fn batch_failed(&mut self) {
        if let Some(before) = self.retried.take() {
            self.claims = before;
        }
    }

    /// The submissions that batches don't claim.
    pub(super) fn passed_over(&self) -> Vec<i64> {
        self.claims.keys().copied().collect()
    }

    /// The requests whose results are rejected.
    pub(super) fn held(&self) -> impl Iterator<Item = i64> {
        self.results.iter().map(|(result, _)| result.claim.request)
    }

    /// Whether nothing else is open, while no request is in flight: each open row has a rejected result, or can't be claimed.
    /// The counts alone don't prove that, since any program can write them. `is_due`: whether a row of the queue comes due.
    pub(super) fn is_all_of(&self, counts: &Counts, is_due: bool) -> bool {
        let is_readback = |(result, _): &&(Completed, String)| result.claim.kind == RequestKind::Readback;
        let refused = self.results.iter().filter(is_readback).count() + self.claims.len();
        let others = counts.open() - counts.of(State::InFlight);
        (!self.claims.is_empty() || !is_due) && i64::try_from(refused).is_ok_and(|refused| others <= refused)
    }

    /// How many submissions can't be claimed.
    pub(super) fn unclaimable(&self) -> usize {
        self.claims.len()
    }

    /// Whether recovery has something to try again.
    pub(super) fn has_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// Whether nothing more may be sent.
    pub(super) fn stops_sending(&self) -> bool {
        self.stopped.is_some()
    }

    /// The cause to show; none if nothing is rejected.
    pub(super) fn cause(&self) -> Option<PauseCause> {
        let results = self.results.iter().map(|(_, sentence)| sentence).chain(self.unsettled.values());
        let rule = results.chain(self.claims.values().map(|one| &one.sentence)).next();
        Some(self.cause_of(self.stopped.as_ref().or(rule)?))
    }

    /// The cause, and since when; none if nothing is rejected.
    pub(super) fn incident(&self, now: Now) -> Option<Incident> {
        Some(Incident::new(self.cause()?, self.since.map(|since| now.at(since))))
    }

    fn cause_of(&self, rule: &str) -> PauseCause {
        let rule = Quote::new(rule);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (results, submissions) = (count(self.results.len() + self.unsettled.len()), count(self.claims.len()));
        PauseCause::WritesRejected { results, submissions, rule }
    }

    /// Logs each write when it is rejected for the first time.
    fn log(&mut self, rejected: &[RejectedWrite]) {
        for one in rejected {
            if self.logged.insert((one.submission, one.request)) {
                log(one);
            }
        }
    }

    /// The sentence of the rule that stops the sending, if one does.
    fn too_many(&self) -> Option<String> {
        if self.claims.len() >= MOST {
            return self.claims.values().next().map(|one| one.sentence.clone());
        }
        let claims = self.claims.values().filter(|one| !one.is_malformed).map(|one| &one.sentence);
        let mut counts = BTreeMap::<&String, usize>::new();
        let mut all = 0;
        for sentence in claims.chain(self.results.iter().map(|(_, sentence)| sentence)) {
            let count = counts.entry(sentence).or_default();
            (*count, all) = (*count + 1, all + 1);
            if *count >= self.after || all >= MOST {
                return Some(sentence.clone());
            }
        }
        None
    }
}

fn log(rejected: &RejectedWrite) {
    let RejectedWrite { submission, request, sentence, .. } = rejected;
    let what = match request {
        Some(_) => "the result of its request. certcommit keeps it",
        None => "to let it be sent. It stays as it is",
    };
    tracing::error!(
        event = LogEvent::WriteRefused.as_str(),
        certificate_id = rejected.certificate_id,
        submission,
        request,
        "{rejected}: a rule or a trigger of the database refuses {what}, and tries again every 10 s: {sentence}. certcommit check \
         names triggers that others added, with the command that drops each",
    );
}

/// Logs how many results the rules rejected until the end of the run, if any.
pub(super) fn log_never_written(results: usize) {
    if results > 0 {
        tracing::error!(
            event = LogEvent::WriteRefused.as_str(),
            "a rule or a trigger of the database rejects {results} results to the end: the log has them, and the next run reads \
             their submissions back",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::queue::Claim;
    use crate::submission::{Evidence, Outcome, Row};

    fn now() -> Instant {
        clock::now().instant
    }

    fn refused(submission: i64, sentence: &str) -> RejectedWrite {
        let sentence = sentence.to_owned();
        RejectedWrite {
            submission: Some(submission),
            certificate_id: None,
            request: None,
            is_malformed: false,
            sentence,
        }
    }

    fn claims(ids: std::ops::Range<i64>, sentence: &str) -> Vec<RejectedWrite> {
        ids.map(|id| refused(id, sentence)).collect()
    }

    fn result(request: i64, sentence: &str) -> (Completed, RejectedWrite) {
        let row = Row { state: State::InFlight, tries: 0, is_probe: false, evidence: Evidence::none() };
        let (kind, certificate_id) = (RequestKind::Commit, "abcb1234".parse().unwrap());
        let claim = Claim { request, kind, submission: request, certificate_id, verify_type: None, row };
        let (outcome, now) = (Outcome::submitted("SO1".into(), 8, None), clock::now());
        let (http_status, duration) = (Some(200), std::time::Duration::ZERO);
        let result = Completed { claim, outcome, http_status, sent: now, finished: now.unix, duration, change: None };
        (result, RejectedWrite { request: Some(request), ..refused(request, sentence) })
    }

    #[test]
    fn a_few_rejected_writes_stop_nothing_and_are_shown() {
        let mut rejected = RejectedWrites::new(5);
        assert_eq!((rejected.cause(), rejected.stops_sending()), (None, false));
        assert!(!rejected.batch_ended(vec![result(7, "no")], &claims(1..5, "never"), now()));
        assert!(!rejected.stops_sending());
        let cause = PauseCause::WritesRejected { results: 1, submissions: 4, rule: "no".into() };
        assert_eq!(rejected.cause(), Some(cause));
        assert_eq!(rejected.passed_over(), [1, 2, 3, 4]);
        assert_eq!(rejected.held().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn five_with_the_same_sentence_stop_the_sending_or_a_hundred_with_any() {
        let mut rejected = RejectedWrites::new(5);
        let different: Vec<RejectedWrite> = (1..50).map(|id| refused(id, &format!("never {id}"))).collect();
        assert!(!rejected.batch_ended(Vec::new(), &different, now()));
        assert!(rejected.batch_ended(Vec::new(), &claims(50..55, "never"), now()));
        let mut rejected = RejectedWrites::new(5);
        assert!(rejected.batch_ended((1..6).map(|request| result(request, "no")).collect(), &[], now()));
        assert_eq!(
            rejected.cause(),
            Some(PauseCause::WritesRejected { results: 5, submissions: 0, rule: "no".into() })
        );
        let mut rejected = RejectedWrites::new(5);
        let different: Vec<RejectedWrite> = (0..100).map(|id| refused(id, &format!("never {id}"))).collect();
        assert!(rejected.batch_ended(Vec::new(), &different, now()), "however different, there is an end");
    }

    #[test]
    fn malformed_submissions_stop_the_sending_only_once_there_are_too_many() {
        let malformed = |ids: std::ops::Range<i64>| -> Vec<RejectedWrite> {
            ids.map(|id| RejectedWrite { is_malformed: true, ..refused(id, "wrong") }).collect()
        };
        let mut rejected = RejectedWrites::new(5);
        assert!(!rejected.batch_ended(Vec::new(), &malformed(0..99), now()));
        assert!(rejected.batch_ended(Vec::new(), &malformed(99..100), now()));
    }

    #[test]
    fn the_sending_goes_on_once_a_retry_is_accepted() {
        let mut rejected = RejectedWrites::new(2);
        rejected.batch_ended(vec![result(7, "no"), result(8, "no")], &claims(1..3, "never"), now());
        assert_eq!(rejected.retry().len(), 2);
        assert!(rejected.passed_over().is_empty() && rejected.stops_sending());
        assert!(!rejected.batch_ended(vec![result(7, "no")], &claims(2..3, "never"), now()), "one was refused again");
        assert_eq!(rejected.passed_over(), [1, 2]);
        rejected.retry();
        assert!(!rejected.batch_ended(Vec::new(), &[], now()) && !rejected.stops_sending());
        assert_eq!((rejected.cause(), rejected.unclaimable()), (None, 0));
    }

    #[test]
    fn a_failed_batch_keeps_passing_over_the_same_submissions() {
        let mut rejected = RejectedWrites::new(5);
        rejected.batch_ended(Vec::new(), &claims(1..3, "never"), now());
        rejected.retry();
        rejected.batch_failed();
        assert_eq!(rejected.passed_over(), [1, 2]);
    }

    #[test]
    fn what_recovery_could_not_settle_is_shown_until_it_is_settled() {
        let mut rejected = RejectedWrites::new(5);
        rejected.set_unsettled(&[RejectedWrite { request: Some(9), ..refused(1, "no") }]);
        let cause = PauseCause::WritesRejected { results: 1, submissions: 0, rule: "no".into() };
        assert!(rejected.has_unsettled() && rejected.cause() == Some(cause));
        rejected.set_unsettled(&[]);
        assert!(!rejected.has_unsettled() && rejected.cause().is_none());
    }
}
