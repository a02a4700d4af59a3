//! Edge cases of the wire format: names, limits, and the reasons for unusable replies.

use super::wire::{Action, outcome};
use crate::submission::{Outcome, OutcomeClass, RequestKind};

/// Why a commit is in doubt after this reply.
fn doubt(body: &[u8]) -> String {
    let outcome = outcome(RequestKind::Commit, 200, body);
    assert_eq!((outcome.class, &outcome.error), (OutcomeClass::InDoubt, &None));
    outcome.why().as_str().to_owned()
}

fn read_back(body: &str) -> Outcome {
    let outcome = outcome(RequestKind::Readback, 200, body.as_bytes());
    assert_eq!((&outcome.error, &outcome.detail), (&None, &None));
    outcome
}

#[test]
fn an_action_has_its_documented_name() {
    let names = [Action::Commit, Action::OrderSubmit, Action::Describe].map(Action::name);
    assert_eq!(names, ["CommitCertificateInformation", "CertificateOrderSubmit", "DescribeCertificate"]);
}

#[test]
fn an_unusable_reply_is_explained() {
    let replies: [(&[u8], &str); 8] = [
        (b"\xff", "the reply was not UTF-8"),
        (b"{\"Response\":{", "the reply was not JSON, or was cut off"),
        (b"{\"Response\"", "the reply was not JSON, or was cut off"),
        (b"[7]", "the reply did not have the API's structure"),
        (br#"{"Response":null}"#, "the reply had no Response"),
        (br#"{"Response":{"Error":{"Code":""}}}"#, "the reply had an Error without a Code"),
        (br#"{"Response":{"OrderId":"SO1","Status":null}}"#, "the reply had no Status"),
        (br#"{"Response":{"OrderId":"SO1","Status":true}}"#, "the reply's Status was not an integer"),
    ];
    for (body, why) in replies {
        assert_eq!(doubt(body), why, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn an_html_page_is_recognized_as_a_proxys() {
    for (http_status, body) in [(502, " <html>Bad gateway</html>"), (200, "<!DOCTYPE html>")] {
        let why = outcome(RequestKind::Commit, http_status, body.as_bytes()).why().to_string();
        assert!(why.ends_with("a proxy or a gateway answered in the API's place"), "{why}");
    }
    assert!(!doubt(b"plain").contains("proxy"));
}

#[test]
fn an_order_id_is_kept_whole_or_not_at_all() {
    let body = |id: &str| format!(r#"{{"Response":{{"OrderId":"{id}","Status":8}}}}"#);
    let longest = "S".repeat(128);
    assert_eq!(read_back(&body(&longest)).order_id.as_deref(), Some(longest.as_str()));
    for bad in [format!("{longest}S"), r"SO\u0007".to_owned(), r"SO\u202e1".to_owned()] {
        assert_eq!(doubt(body(&bad).as_bytes()), "the reply's OrderId was not a short string");
    }
}

#[test]
fn a_request_id_is_kept_unless_it_is_empty() {
    let body = |id: &str| format!(r#"{{"Response":{{"Status":13,"RequestId":{id}}}}}"#);
    assert_eq!(read_back(&body(r#""r-1""#)).request_id.as_deref(), Some("r-1"));
    for none in [r#""""#, "7", "null"] {
        assert_eq!(read_back(&body(none)).request_id, None, "{none}");
    }
}

#[test]
fn a_known_code_is_not_marked_as_unknown() {
    let body = r#"{"Response":{"Error":{"Code":"FailedOperation.InvalidParam","Message":"words"},"RequestId":"r"}}"#;
    let outcome = outcome(RequestKind::Commit, 200, body.as_bytes());
    assert_eq!(outcome.class, OutcomeClass::Failed);
    assert_eq!(outcome.error.unwrap().message.as_str(), "words");
}
