//! The wire format at its edges: names, limits, and what is said of an answer that is no use.

use super::wire::{Action, outcome};
use crate::submission::{Outcome, OutcomeClass, RequestKind};

/// Why a commit is in doubt after this answer.
fn doubt(body: &[u8]) -> String {
    let outcome = outcome(RequestKind::Commit, 200, body);
    assert_eq!((outcome.class, &outcome.error), (OutcomeClass::InDoubt, &None));
    outcome.why().as_str().to_owned()
}

fn reading(body: &str) -> Outcome {
    let outcome = outcome(RequestKind::Readback, 200, body.as_bytes());
    assert_eq!((&outcome.error, &outcome.detail), (&None, &None));
    outcome
}

#[test]
fn an_action_has_the_name_of_the_documentation() {
    let names = [Action::Commit, Action::OrderSubmit, Action::Describe].map(Action::name);
    assert_eq!(names, ["CommitCertificateInformation", "CertificateOrderSubmit", "DescribeCertificate"]);
}

#[test]
fn an_answer_that_is_no_use_says_what_was_wrong_with_it() {
    let answers: [(&[u8], &str); 8] = [
        (b"\xff", "the answer was not UTF-8"),
        (b"{\"Response\":{", "the answer was not JSON, or not all of it"),
        (b"<html>", "the answer was not JSON, or not all of it"),
        (b"[7]", "the answer was not of the API's shape"),
        (br#"{"Response":null}"#, "the answer had no Response"),
        (br#"{"Response":{"Error":{"Code":""}}}"#, "the answer had an Error without a Code"),
        (br#"{"Response":{"OrderId":"SO1","Status":null}}"#, "the answer had no Status"),
        (br#"{"Response":{"OrderId":"SO1","Status":true}}"#, "the answer's Status was not a whole number"),
    ];
    for (body, why) in answers {
        assert_eq!(doubt(body), why, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn an_order_id_is_kept_whole_or_not_at_all() {
    let body = |id: &str| format!(r#"{{"Response":{{"OrderId":"{id}","Status":8}}}}"#);
    let longest = "S".repeat(128);
    assert_eq!(reading(&body(&longest)).order_id.as_deref(), Some(longest.as_str()));
    for bad in [format!("{longest}S"), r"SO\u0007".to_owned(), r"SO\u202e1".to_owned()] {
        assert_eq!(doubt(body(&bad).as_bytes()), "the answer's OrderId was not a short text");
    }
}

#[test]
fn a_request_id_is_kept_unless_it_is_empty() {
    let body = |id: &str| format!(r#"{{"Response":{{"Status":13,"RequestId":{id}}}}}"#);
    assert_eq!(reading(&body(r#""r-1""#)).request_id.as_deref(), Some("r-1"));
    for none in [r#""""#, "7", "null"] {
        assert_eq!(reading(&body(none)).request_id, None, "{none}");
    }
}

#[test]
fn a_known_code_is_not_marked_as_unknown() {
    let body = r#"{"Response":{"Error":{"Code":"FailedOperation.InvalidParam","Message":"words"},"RequestId":"r"}}"#;
    let outcome = outcome(RequestKind::Commit, 200, body.as_bytes());
    assert_eq!(outcome.class, OutcomeClass::Failed);
    assert_eq!(outcome.error.unwrap().message.as_str(), "words");
}
