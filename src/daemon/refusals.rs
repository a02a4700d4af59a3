//! What the queue's own rules refuse to write, or a trigger of somebody's own: it is kept, tried again with each
//! heartbeat, and once there is too much of it, nothing more is sent. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::logging::LogEvent;
use crate::queue::{Record, RejectedWrite};

/// How a reason begins; what to do about it is told by this.
pub(super) const REFUSED: &str = "the queue's own rules refuse";

/// More refusals than this stop the sending, however different their sentences are.
const MOST: usize = 100;

/// What is refused at present.
#[derive(Debug)]
pub(super) struct Refusals {
    /// Refusals with the same sentence that stop the sending.
    after: usize,
    /// Results: what was sent, and only what is in hand says so.
    results: Vec<(Record, String)>,
    /// Requests of earlier runs that can't be settled, by their numbers.
    unsettled: BTreeMap<i64, String>,
    /// Submissions that can't be claimed, by their ids.
    claims: BTreeMap<i64, RejectedWrite>,
    /// While nothing may be sent: the sentence.
    stopped: Option<String>,
    /// What is refused, in one sentence, as of the last turn.
    why: Option<String>,
    /// The claims that are tried again in this turn.
    retried: Option<BTreeMap<i64, RejectedWrite>>,
    logged: BTreeSet<(Option<i64>, Option<i64>)>,
}

impl Refusals {
    pub(super) fn new(after: u32) -> Self {
        Self {
            after: usize::try_from(after).unwrap_or(MOST).clamp(1, MOST),
            results: Vec::new(),
            unsettled: BTreeMap::new(),
            claims: BTreeMap::new(),
            stopped: None,
            why: None,
            retried: None,
            logged: BTreeSet::new(),
        }
    }

    /// Takes what is to be tried again: the results, to be written, and the claims, which are not passed over any more.
    pub(super) fn retry(&mut self) -> Vec<Record> {
        self.retried = Some(std::mem::take(&mut self.claims));
        self.take_results()
    }

    /// Takes the results, to write them.
    pub(super) fn take_results(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.results).into_iter().map(|(record, _)| record).collect()
    }

    /// What recovery couldn't settle; all of it.
    pub(super) fn set_unsettled(&mut self, refused: &[RejectedWrite]) {
        let number = |refused: &RejectedWrite| refused.request.unwrap_or_default();
        self.unsettled = refused.iter().map(|one| (number(one), one.sentence.clone())).collect();
        self.why = self.describe();
    }

    /// A turn ended in which these results and these claims were refused. Whether that stops the sending, or lets it go
    /// on again, if it does either.
    pub(super) fn turn_ended(&mut self, results: Vec<(Record, String)>, claims: &[RejectedWrite]) -> Option<bool> {
        self.results.extend(results);
        self.claims.extend(claims.iter().filter_map(|one| Some((one.submission?, one.clone()))));
        let retried = self.retried.take().filter(|_| self.stopped.is_some() && !claims.is_empty());
        self.claims.extend(retried.unwrap_or_default());
        let stopped = self.too_many();
        let changed = stopped.is_some() != self.stopped.is_some();
        self.stopped = stopped;
        self.why = self.describe();
        changed.then_some(self.stopped.is_some())
    }

    /// A write for which a whole turn was rolled back, with its record if it has one.
    pub(super) fn add(&mut self, write: &RejectedWrite, record: Option<Record>) {
        match (record, write.submission) {
            (Some(record), _) => self.results.push((record, write.sentence.clone())),
            (None, Some(submission)) => drop(self.claims.insert(submission, write.clone())),
            (None, None) => {}
        }
        self.why = self.describe();
    }

    /// A turn ended that wrote nothing: nothing is known of what was to be tried again.
    pub(super) fn turn_failed(&mut self) {
        if let Some(before) = self.retried.take() {
            self.claims = before;
        }
    }

    /// The submissions that are passed over when others are claimed.
    pub(super) fn passed_over(&self) -> Vec<i64> {
        self.claims.keys().copied().collect()
    }

    /// The requests whose results are in hand.
    pub(super) fn held(&self) -> impl Iterator<Item = i64> {
        self.results.iter().map(|(record, _)| record.request)
    }

    /// The results in hand.
    pub(super) fn results(&self) -> impl Iterator<Item = &Record> {
        self.results.iter().map(|(record, _)| record)
    }

    /// How many submissions can't be claimed.
    pub(super) fn unclaimable(&self) -> usize {
        self.claims.len()
    }

    /// Whether there is anything that recovery has to try again.
    pub(super) fn has_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// Whether nothing more may be sent: it would be refused too, or its result would.
    pub(super) fn stop_sending(&self) -> bool {
        self.stopped.is_some()
    }

    /// What is refused, in one sentence; none if nothing is.
    pub(super) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    fn describe(&self) -> Option<String> {
        let results = self.results.iter().map(|(_, sentence)| sentence).chain(self.unsettled.values());
        let sentence =
            self.stopped.as_ref().or_else(|| results.chain(self.claims.values().map(|one| &one.sentence)).next())?;
        let counts = [
            (self.results.len() + self.unsettled.len(), "results of requests"),
            (self.claims.len(), "submissions that are due"),
        ];
        let counts: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        Some(format!("{REFUSED} {}: {sentence}", counts.join(" and ")))
    }

    /// Logs what is refused for the first time, one line for each.
    pub(super) fn log(&mut self, refused: &[RejectedWrite]) {
        for one in refused {
            if self.logged.insert((one.submission, one.request)) {
                log(one);
            }
        }
    }

    /// The sentence that so many share that the sending stops.
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

fn log(refused: &RejectedWrite) {
    let RejectedWrite { submission, request, sentence, .. } = refused;
    let what = match request {
        Some(_) => "the result of its request. It is kept",
        None => "to let it be sent. It stays as it is",
    };
    tracing::error!(
        event = LogEvent::WriteRefused.as_str(),
        certificate_id = refused.certificate_id,
        submission,
        request,
        "{refused}: {REFUSED} {what}, and is tried again every 10 s: {sentence}. Was a trigger added, or the schema \
         altered? certcommit check",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::queue::Finished;
    use crate::submission::State;

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

    fn result(request: i64, sentence: &str) -> (Record, String) {
        let finished = Finished::without_reply(UnixMillis(0), 0, "submitted");
        let certificate_id = "abcb1234".parse().unwrap();
        let record =
            Record { request, submission: request, certificate_id, from: State::InFlight, finished, change: None };
        (record, sentence.to_owned())
    }

    #[test]
    fn a_few_refusals_stop_nothing_and_are_told() {
        let mut refusals = Refusals::new(5);
        assert_eq!((refusals.why(), refusals.stop_sending()), (None, false));
        assert_eq!(refusals.turn_ended(vec![result(7, "no")], &claims(1..5, "never")), None);
        assert!(!refusals.stop_sending());
        let why = "the queue's own rules refuse 1 results of requests and 4 submissions that are due: no";
        assert_eq!(refusals.why(), Some(why));
        assert_eq!(refusals.passed_over(), [1, 2, 3, 4]);
        assert_eq!(refusals.held().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn as_many_with_the_same_sentence_as_may_be_stop_the_sending_and_others_do_not() {
        let mut refusals = Refusals::new(5);
        let different: Vec<RejectedWrite> = (1..50).map(|id| refused(id, &format!("never {id}"))).collect();
        assert_eq!(refusals.turn_ended(Vec::new(), &different), None);
        assert_eq!(refusals.turn_ended(Vec::new(), &claims(50..55, "never")), Some(true));
        let mut refusals = Refusals::new(5);
        assert_eq!(refusals.turn_ended((1..6).map(|request| result(request, "no")).collect(), &[]), Some(true));
        assert!(refusals.why().unwrap().ends_with(": no"));
        let mut refusals = Refusals::new(5);
        let different: Vec<RejectedWrite> = (0..100).map(|id| refused(id, &format!("never {id}"))).collect();
        assert_eq!(refusals.turn_ended(Vec::new(), &different), Some(true), "however different, there is an end");
    }

    #[test]
    fn malformed_submissions_stop_the_sending_only_once_there_are_too_many() {
        let malformed = |ids: std::ops::Range<i64>| -> Vec<RejectedWrite> {
            ids.map(|id| RejectedWrite { is_malformed: true, ..refused(id, "wrong") }).collect()
        };
        let mut refusals = Refusals::new(5);
        assert_eq!(refusals.turn_ended(Vec::new(), &malformed(0..99)), None);
        assert_eq!(refusals.turn_ended(Vec::new(), &malformed(99..100)), Some(true));
    }

    #[test]
    fn the_sending_goes_on_once_a_retry_is_not_refused() {
        let mut refusals = Refusals::new(2);
        refusals.turn_ended(vec![result(7, "no"), result(8, "no")], &claims(1..3, "never"));
        assert_eq!(refusals.retry().len(), 2);
        assert!(refusals.passed_over().is_empty() && refusals.stop_sending());
        assert_eq!(refusals.turn_ended(vec![result(7, "no")], &claims(2..3, "never")), None, "one was refused again");
        assert_eq!(refusals.passed_over(), [1, 2]);
        refusals.retry();
        assert_eq!(refusals.turn_ended(Vec::new(), &[]), Some(false));
        assert_eq!((refusals.why(), refusals.unclaimable()), (None, 0));
    }

    #[test]
    fn a_turn_that_failed_forgets_none_of_what_is_passed_over() {
        let mut refusals = Refusals::new(5);
        refusals.turn_ended(Vec::new(), &claims(1..3, "never"));
        refusals.retry();
        refusals.turn_failed();
        assert_eq!(refusals.passed_over(), [1, 2]);
    }

    #[test]
    fn what_recovery_could_not_settle_is_told_until_it_can() {
        let mut refusals = Refusals::new(5);
        refusals.set_unsettled(&[RejectedWrite { request: Some(9), ..refused(1, "no") }]);
        assert!(refusals.has_unsettled() && refusals.why().unwrap().ends_with("refuse 1 results of requests: no"));
        refusals.set_unsettled(&[]);
        assert!(!refusals.has_unsettled() && refusals.why().is_none());
    }
}
