//! What an operator does about a pause: for each reason that the daemon gives, what mends it.

use super::keys::{EXPIRED, NO_KEYS};
use super::refusals::REFUSED;

/// What to do while the source of the credentials can't be asked.
const ASK_FOR_KEYS: &str = "look why the source of the credentials doesn't answer: certcommit check. It asks again by itself, or at once with: \
     certcommit resume";

/// How the reason begins for which nothing is read back, while commits go out.
pub(super) const READING_IS_PAUSED: &str = "reading back is paused: ";

/// How a reason begins, and what to do about it.
const ADVICE: [(&str, &str); 11] = [
    (NO_KEYS, ASK_FOR_KEYS),
    (EXPIRED, ASK_FOR_KEYS),
    (
        "the account or its credentials are refused",
        "mend the credentials or the account: certcommit check --online. New keys are picked up by the next probe, or \
         at once with: certcommit resume",
    ),
    ("this machine's clock is", "set the clock: timedatectl, chronyc makestep; then: certcommit resume"),
    ("signatures are refused as expired", "set the clock: timedatectl, chronyc makestep; then: certcommit resume"),
    (
        "the API can't be reached",
        "look at the network, name resolution and proxies: certcommit check --online. It goes on by itself, or at once \
         with: certcommit resume",
    ),
    (
        "several submissions in succession got",
        "nothing: the other side is busy, and it goes on by itself when that is over",
    ),
    (
        "several submissions in succession were denied",
        "grant these keys ssl:CommitCertificateInformation, or give the account what the answer says that it lacks, then: \
         certcommit resume; and for what failed until then: certcommit retry --error-code CODE",
    ),
    (
        "the API refuses every request for its rate",
        "find out who else uses up the limit of the account, or lower rate.per_second; it goes on by itself",
    ),
    (
        "the outcomes of several submissions in succession are not known",
        "look at the network and at the API's own status; what is in doubt is read back, and it goes on by itself",
    ),
    (
        REFUSED,
        "find the trigger that says so, and correct what it checks: certcommit check names what others added to the \
         schema. What is refused is kept, tried again every 10 s, and goes on by itself",
    ),
];

/// The same for reasons for which nothing is read back, where it is another: reading has a permission of its own.
const ADVICE_ON_READING: [(&str, &str); 2] = [
    (
        "several submissions in succession were denied",
        "grant these keys ssl:DescribeCertificate, then: certcommit resume; what is in doubt waits, the rest goes on",
    ),
    (
        "several reads in succession failed",
        "look at the network and at the API's own status; what has to be read waits, the rest goes on, and reading goes on by \
         itself, or at once with: certcommit resume",
    ),
];

/// What to do about a pause, by the reason that the row `daemon` gives for it.
#[must_use]
pub fn advice(why: &str) -> &'static str {
    let (on_reading, why) = match why.strip_prefix(READING_IS_PAUSED) {
        Some(why) => (ADVICE_ON_READING.as_slice(), why),
        None => (&[][..], why),
    };
    let known = on_reading.iter().chain(&ADVICE).find(|(beginning, _)| why.starts_with(beginning));
    known.map_or("mend that; it tries by itself whether it is over, or at once with: certcommit resume", |(_, todo)| {
        todo
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::ending::{commit_ending, read_ending};
    use super::super::gate::Ending;
    use super::*;
    use crate::clock::UnixMillis;
    use crate::submission::{CommitOutcome, ReadOutcome, Refusal};
    use crate::tencent::ClockSkew;

    /// What the daemon says when it pauses, in every way that it can.
    fn reasons() -> Vec<String> {
        let refusal = |code: &str| Refusal { code: code.to_owned(), message: "no".to_owned(), request_id: None };
        let skew = ClockSkew::from_date("Mon, 25 Feb 2019 16:44:25 GMT", UnixMillis(0));
        let expired = || CommitOutcome::Account(refusal("AuthFailure.SignatureExpire"));
        let lost = || "the connection was cut".to_owned();
        let commits = [
            commit_ending(&CommitOutcome::Account(refusal("AuthFailure")), None),
            commit_ending(&expired(), None),
            commit_ending(&expired(), skew),
            commit_ending(&CommitOutcome::NotSent(lost()), None),
            commit_ending(&CommitOutcome::Retry(refusal("FailedOperation.NetworkError")), None),
            commit_ending(&CommitOutcome::Denied(refusal("FailedOperation.AuthError")), None),
            commit_ending(&CommitOutcome::Throttled(refusal("RequestLimitExceeded")), None),
            commit_ending(&CommitOutcome::InDoubt { why: lost(), refusal: None }, None),
        ];
        let reads = [
            read_ending(&ReadOutcome::Account(refusal("AuthFailure")), None),
            read_ending(&ReadOutcome::NotSent(lost()), None),
            read_ending(&ReadOutcome::Throttled(refusal("RequestLimitExceeded")), None),
            read_ending(&ReadOutcome::Denied(refusal("UnauthorizedOperation")), None),
            read_ending(&ReadOutcome::Retry { why: lost(), refusal: None }, None),
        ];
        let commits = commits.into_iter().map(reason);
        // As the row `daemon` has it.
        let reads = reads.into_iter().map(|ending| format!("{READING_IS_PAUSED}{}", reason(ending)));
        let keyless = [NO_KEYS, EXPIRED].map(|beginning| format!("{beginning}: no answer"));
        let refused = format!("{REFUSED} 2 results of requests: no");
        commits.chain(reads).chain(keyless).chain([refused]).collect()
    }

    fn reason(ending: Ending) -> String {
        match ending {
            Ending::Fault(_, why) | Ending::Throttled(why) => why,
            Ending::Answered | Ending::Unknown => panic!("that is no reason to pause: {ending:?}"),
        }
    }

    #[test]
    fn every_reason_to_pause_has_its_advice_and_no_advice_is_for_a_reason_that_never_comes() {
        let advised: BTreeSet<&str> = reasons().iter().map(|why| advice(why)).collect();
        assert_eq!(advised, ADVICE.iter().chain(&ADVICE_ON_READING).map(|(_, todo)| *todo).collect());
        assert!(reasons().iter().all(|why| advice(why) != advice("something new")));
        assert!(advice("something new").contains("certcommit resume"));
    }

    #[test]
    fn only_a_denial_is_mended_by_a_permission_and_reading_has_its_own() {
        let grants =
            |why: &str| advice(why).split("grant these keys ").nth(1).map(|rest| rest.split(',').next().unwrap());
        let granted: Vec<_> = reasons().iter().filter_map(|why| grants(why)).collect();
        assert_eq!(granted, ["ssl:CommitCertificateInformation", "ssl:DescribeCertificate"]);
    }
}
