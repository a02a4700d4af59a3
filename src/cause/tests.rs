use std::collections::BTreeSet;

use super::*;
use crate::escaping::is_unsafe;

const HOSTILE: &str = "a server's \u{1b}[2J words\nSTOPPING=1 \u{202e}";

/// A cause of each code, with a server's words wherever it takes a text.
fn every_cause() -> Vec<Cause> {
    Cause::catalogue().map(|(code, _)| cause_of(code)).collect()
}

/// Finds the parameters out by what reading them back asks for.
fn cause_of(code: &str) -> Cause {
    let error = json!({ "code": HOSTILE, "message": HOSTILE, "request_id": HOSTILE });
    let by = json!({ "code": "ca_busy", "parameters": { "error": error } });
    let all = json!({
        "error": error, "by": by, "keys": { "file": { "path": HOSTILE } }, "newest": 3, "made": 7, "written_at": 1,
        "silent_s": 1000, "ahead_s": 1000, "ours": 1_551_113_065, "theirs": 1_551_113_667, "reason": HOSTILE, "why": HOSTILE,
        "request_id": HOSTILE, "results": 1, "submissions": 2, "rule": HOSTILE, "found": HOSTILE, "try": 2, "tries": 8,
        "max_tries": 8,
    });
    let found = Cause::from_parts(code, None).or_else(|| Cause::from_parts(code, Some(&all.to_string())));
    found.unwrap_or_else(|| panic!("{code} has a parameter that is not listed here"))
}

#[test]
fn every_code_is_unique_and_in_snake_case() {
    let codes: Vec<&str> = every_cause().iter().map(Cause::code).collect();
    assert_eq!(codes, Cause::catalogue().map(|(code, _)| code).collect::<Vec<_>>());
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
    let is_snake_case = |code: &&str| code.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    assert!(codes.iter().all(is_snake_case), "{codes:?}");
}

#[test]
fn every_cause_is_read_back_from_its_code_and_its_parameters() {
    for cause in every_cause() {
        let parameters = cause.parameters();
        assert_eq!(Cause::from_parts(cause.code(), parameters.as_deref()), Some(cause));
    }
}

#[test]
fn every_cause_has_a_sentence_and_a_remedy_of_one_line_whatever_a_server_wrote() {
    for cause in every_cause() {
        for text in [cause.to_string(), cause.remedy()] {
            assert!(!text.is_empty() && !text.ends_with(['.', ' ']), "{}: {text:?}", cause.code());
            assert!(!text.chars().any(is_unsafe), "{}: {text:?}", cause.code());
        }
    }
}

#[test]
fn the_catalogue_says_what_each_code_means_in_a_sentence_of_its_own() {
    let meanings: BTreeSet<&str> = Cause::catalogue().map(|(_, meaning)| meaning).collect();
    assert_eq!(meanings.len(), Cause::catalogue().count());
    assert!(meanings.iter().all(|meaning| meaning.ends_with('.') && !meaning.contains(['\n', '|'])), "{meanings:?}");
}

#[test]
fn no_two_causes_have_the_same_sentence() {
    let sentences: BTreeSet<String> = every_cause().iter().map(Cause::to_string).collect();
    assert_eq!(sentences.len(), every_cause().len());
}

#[test]
fn what_this_version_does_not_know_is_no_cause() {
    assert_eq!(Cause::from_parts("something_newer", None), None);
    assert_eq!(Cause::from_parts("", Some("{}")), None);
    for parameters in [None, Some(""), Some("{}"), Some("[1]"), Some("not JSON"), Some(r#"{"newest":"3","made":7}"#)] {
        assert_eq!(Cause::from_parts("restored_behind", parameters), None, "{parameters:?}");
    }
    let more = r#"{"newest":3,"made":7,"something":"newer"}"#;
    let known = PauseCause::RestoredBehind { newest: 3, made: 7 };
    assert_eq!(Cause::from_parts("restored_behind", Some(more)), Some(known.into()));
}

#[test]
fn rejected_keys_have_one_remedy_by_their_source() {
    let remedy = |keys: KeySource| {
        let error = ApiError::new("AuthFailure.SecretIdNotFound", "no such key", None);
        PauseCause::CredentialsRejected { error, keys }.remedy()
    };
    let restart = |text: &str| text.contains("restart");
    assert!(restart(&remedy(KeySource::Environment)) && restart(&remedy(KeySource::Systemd)));
    for keys in [KeySource::File { path: "/etc/keys".into() }, KeySource::Role { name: "committer".into() }] {
        let text = remedy(keys);
        assert!(!restart(&text) && text.contains("within seconds"), "{text}");
    }
}

#[test]
fn a_clock_that_is_off_is_described_with_both_times() {
    let skew = |theirs| {
        let error = ApiError::new("AuthFailure.SignatureExpire", "expired", Some("r-1"));
        PauseCause::ClockSkew { error, ours: 1_551_113_065, theirs }.to_string()
    };
    assert_eq!(
        skew(Some(1_551_113_667)),
        "the API takes new signatures for expired: this machine's clock says 2019-02-25T16:44:25Z, and the API's \
         2019-02-25T16:54:27Z, 10 min 2 s more; one of them is wrong: AuthFailure.SignatureExpire: expired (RequestId r-1)"
    );
    assert!(skew(Some(0)).contains(" less; one of them") && skew(None).contains("the API's is not known"));
}

#[test]
fn a_pause_of_readback_says_so_once() {
    let failing = PauseCause::ReadbackFailing { why: "no reply".into(), request_id: None };
    assert_eq!(failing.clone().of_readback(), failing);
    let unreachable = PauseCause::ApiUnreachable { why: "no route".into() };
    let paused = unreachable.clone().of_readback();
    assert_eq!(paused.to_string(), "readback is paused: the API can't be reached: no route");
    assert_eq!((paused.remedy(), paused.clone().of_readback()), (unreachable.remedy(), paused));
}
