//! The wire format: what a request says, and what a reply means. Pure.
//!
//! A reply is judged by its structure and its error code alone: message texts may change.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::errors::{Class, classify_code, is_known};
use crate::escaping::printable;
use crate::submission::{CertificateId, CommitOutcome, ReadOutcome, Reading, Receipt, Refusal, VerifyType};

/// The API's version, `X-TC-Version`.
pub const VERSION: &str = "2019-12-05";

/// The content type of every request, as it is signed.
pub const CONTENT_TYPE: &str = "application/json";

const HTTP_OK: u16 = 200;
const MAX_CODE: usize = 128;
const MAX_MESSAGE: usize = 400;
const MAX_ID: usize = 128;

/// What is asked of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `CommitCertificateInformation`.
    Commit,
    /// `CertificateOrderSubmit`, the newer action for the same job.
    OrderSubmit,
    /// `DescribeCertificate`. (Never `DescribeCertificateDetail`: that one returns the private key.)
    Describe,
}

impl Action {
    /// The action's name, `X-TC-Action`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "CommitCertificateInformation",
            Self::OrderSubmit => "CertificateOrderSubmit",
            Self::Describe => "DescribeCertificate",
        }
    }

    /// The request's body.
    #[must_use]
    pub fn body(self, certificate_id: &CertificateId, verify_type: Option<VerifyType>) -> String {
        let certificate_id = certificate_id.as_str();
        let verify_type = verify_type.map(VerifyType::as_str);
        let body = match self {
            Self::Commit => Body { certificate_id: Some(certificate_id), cert_id: None, verify_type },
            Self::OrderSubmit => Body { certificate_id: None, cert_id: Some(certificate_id), verify_type },
            Self::Describe => Body { certificate_id: Some(certificate_id), cert_id: None, verify_type: None },
        };
        // Plain texts always serialise.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// The body of a request; each action has its own name for the certificate's ID.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify_type: Option<&'a str>,
}

/// What every reply is wrapped in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    response: Option<Response>,
}

/// What a reply may hold. The fields are judged one by one, since one of a wrong type says something else about a
/// commit than about a refusal.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    error: Option<Value>,
    #[serde(default)]
    order_id: Value,
    /// The outer option tells whether the field is there at all.
    #[serde(default, deserialize_with = "present")]
    status: Option<Value>,
    #[serde(default)]
    request_id: Value,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What the reply to a commit means.
///
/// Only a whole, well-formed reply with an order and a status, and without an error, is a success. Of a reply of any
/// other kind nobody can say whether the order was placed. Texts of the server come out capped and escaped.
#[must_use]
pub fn commit_outcome(http_status: u16, body: &[u8]) -> CommitOutcome {
    match reply(http_status, body) {
        Reply::Success(response) => match receipt(&response) {
            Ok(receipt) => CommitOutcome::Submitted(receipt),
            Err(why) => CommitOutcome::InDoubt { why, refusal: None },
        },
        Reply::Refused(refusal) => match classify_code(&refusal.code) {
            Class::Retry => CommitOutcome::Retry(refusal),
            Class::BackendError => CommitOutcome::BackendError(refusal),
            Class::Throttled => CommitOutcome::Throttled(refusal),
            Class::Account => CommitOutcome::Account(refusal),
            Class::Denied => CommitOutcome::Denied(refusal),
            Class::Failed => CommitOutcome::Failed(refusal),
            Class::StatusRefused => CommitOutcome::StatusRefused(refusal),
            Class::InDoubt => {
                CommitOutcome::InDoubt { why: format!("the server answered {}", refusal.code), refusal: Some(refusal) }
            }
        },
        Reply::Contradiction(refusal) => {
            CommitOutcome::InDoubt { why: contradiction(&refusal), refusal: Some(refusal) }
        }
        Reply::Unusable(why) => CommitOutcome::InDoubt { why, refusal: None },
    }
}

/// What the reply to a read means.
///
/// Texts of the server come out capped and escaped.
#[must_use]
pub fn read_outcome(http_status: u16, body: &[u8]) -> ReadOutcome {
    match reply(http_status, body) {
        Reply::Success(response) => match reading(&response) {
            Ok(reading) => ReadOutcome::Seen(reading),
            Err(why) => ReadOutcome::Retry { why, refusal: None },
        },
        Reply::Refused(refusal) => match classify_code(&refusal.code) {
            Class::Throttled => ReadOutcome::Throttled(refusal),
            Class::Account => ReadOutcome::Account(refusal),
            Class::Denied => ReadOutcome::Denied(refusal),
            Class::Failed => ReadOutcome::Failed(refusal),
            Class::Retry | Class::BackendError | Class::StatusRefused | Class::InDoubt => {
                ReadOutcome::Retry { why: format!("the server answered {}", refusal.code), refusal: Some(refusal) }
            }
        },
        Reply::Contradiction(refusal) => ReadOutcome::Retry { why: contradiction(&refusal), refusal: Some(refusal) },
        Reply::Unusable(why) => ReadOutcome::Retry { why, refusal: None },
    }
}

fn contradiction(refusal: &Refusal) -> String {
    format!("the server answered {} and an OrderId at once", refusal.code)
}

enum Reply {
    Success(Response),
    Refused(Refusal),
    /// A refusal that names an order all the same: one of the two is wrong.
    Contradiction(Refusal),
    Unusable(String),
}

fn reply(http_status: u16, body: &[u8]) -> Reply {
    if http_status != HTTP_OK {
        return Reply::Unusable(format!("the answer was HTTP {http_status}, which is not the API's"));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Reply::Unusable("the answer was not UTF-8".to_owned());
    };
    let envelope = match serde_json::from_str::<Envelope>(text) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => return Reply::Unusable("the answer was not of the API's shape".to_owned()),
        Err(_) => return Reply::Unusable("the answer was not JSON, or not all of it".to_owned()),
    };
    match envelope.response {
        None => Reply::Unusable("the answer had no Response".to_owned()),
        Some(Response { error: Some(error), order_id: order, request_id, .. }) => {
            match (refusal(&error, &request_id), order_id(&order)) {
                (refused, Ok(None)) => refused,
                (Reply::Refused(refusal), _) => Reply::Contradiction(refusal),
                (other, _) => other,
            }
        }
        Some(response) => Reply::Success(response),
    }
}

fn refusal(error: &Value, id: &Value) -> Reply {
    let Some(code) = error.get("Code").and_then(Value::as_str).filter(|code| !code.is_empty()) else {
        return Reply::Unusable("the answer had an Error without a Code".to_owned());
    };
    let message = error.get("Message").and_then(Value::as_str).unwrap_or_default();
    let mut message = printable(message, MAX_MESSAGE);
    if !is_known(code) {
        message.push_str(" (an error code that certcommit doesn't know)");
    }
    Reply::Refused(Refusal { code: printable(code, MAX_CODE), message, request_id: request_id(id) })
}

fn receipt(response: &Response) -> Result<Receipt, String> {
    let order_id = order_id(&response.order_id)?.ok_or("the answer had no OrderId")?;
    let status = response.status.as_ref().map_or(Ok(None), status)?.ok_or("the answer had no Status")?;
    Ok(Receipt { order_id, status, request_id: request_id(&response.request_id) })
}

fn reading(response: &Response) -> Result<Reading, String> {
    let status = status(response.status.as_ref().ok_or("the answer had no Status")?)?;
    Ok(Reading { order_id: order_id(&response.order_id)?, status, request_id: request_id(&response.request_id) })
}

fn order_id(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if printable(text, MAX_ID) == *text => Ok(Some(text.clone())),
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("the answer's OrderId was not a short text".to_owned())
        }
    }
}

fn status(value: &Value) -> Result<Option<i64>, String> {
    match (value.is_null(), value.as_i64()) {
        (true, _) => Ok(None),
        (false, Some(status)) => Ok(Some(status)),
        (false, None) => Err("the answer's Status was not a whole number".to_owned()),
    }
}

fn request_id(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (!text.is_empty()).then(|| printable(text, MAX_ID))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::{CommitClass, ReadClass};
    use proptest::prelude::*;

    fn commit(body: &str) -> CommitOutcome {
        commit_outcome(200, body.as_bytes())
    }

    fn error_body(code: &str) -> String {
        format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"m"}},"RequestId":"r"}}}}"#)
    }

    #[test]
    fn an_error_beside_an_order_is_a_contradiction_and_so_in_doubt() {
        let answer = |code: &str, order: &str| {
            let error = format!(r#"{{"Code":"{code}","Message":"m"}}"#);
            format!(r#"{{"Response":{{"Error":{error},"OrderId":{order},"RequestId":"r"}}}}"#)
        };
        for code in ["FailedOperation.NetworkError", "RequestLimitExceeded", "FailedOperation.CertificateNotFound"] {
            for order in [r#""SO1""#, "17"] {
                let outcome = commit(&answer(code, order));
                assert_eq!(outcome.class(), CommitClass::InDoubt, "{code} {order}");
                assert_eq!(outcome.refusal().map(|refusal| refusal.code.as_str()), Some(code));
                let read = read_outcome(200, answer(code, order).as_bytes());
                assert_eq!(read.class(), ReadClass::Retry, "{code} {order}");
            }
            for order in ["null", r#""""#] {
                assert_ne!(commit(&answer(code, order)).class(), CommitClass::InDoubt, "{code} {order}");
            }
        }
    }

    #[test]
    fn a_body_names_the_certificate_as_the_action_wants_it() {
        let id: CertificateId = "abcb1234".parse().unwrap();
        assert_eq!(Action::Commit.body(&id, None), r#"{"CertificateId":"abcb1234"}"#);
        let dns = Some(VerifyType::Dns);
        assert_eq!(Action::Commit.body(&id, dns), r#"{"CertificateId":"abcb1234","VerifyType":"DNS"}"#);
        assert_eq!(Action::OrderSubmit.body(&id, dns), r#"{"CertId":"abcb1234","VerifyType":"DNS"}"#);
        assert_eq!(Action::Describe.body(&id, dns), r#"{"CertificateId":"abcb1234"}"#);
    }

    #[test]
    fn the_documented_success_is_a_receipt() {
        let body = r#"{"Response":{"OrderId":"SO8zRv29","Status":8,"RequestId":"9b397ac6"}}"#;
        let receipt = Receipt { order_id: "SO8zRv29".into(), status: 8, request_id: Some("9b397ac6".into()) };
        assert_eq!(commit(body), CommitOutcome::Submitted(receipt));
    }

    #[test]
    fn an_unknown_status_is_stored_and_fails_nothing() {
        let outcome = commit(r#"{"Response":{"OrderId":"SO1","Status":4711,"RequestId":"r"}}"#);
        assert_eq!(outcome.class(), CommitClass::Submitted);
    }

    #[test]
    fn every_reply_that_is_not_the_apis_leaves_a_commit_in_doubt() {
        let bodies: [&[u8]; 16] = [
            b"",
            b"{",
            b"[]",
            b"null",
            b"<html>502</html>",
            b"\xff\xfe",
            br#"{"Response":null}"#,
            br#"{"Response":[]}"#,
            br#"{"Response":{}}"#,
            br#"{"Response":{"Status":8,"RequestId":"r"}}"#,
            br#"{"Response":{"OrderId":"SO1","RequestId":"r"}}"#,
            br#"{"Response":{"OrderId":"","Status":8}}"#,
            br#"{"Response":{"OrderId":7,"Status":8}}"#,
            br#"{"Response":{"OrderId":"SO1","Status":"8"}}"#,
            br#"{"Response":{"OrderId":"SO1","Status":8.5}}"#,
            br#"{"Response":{"Error":{"Message":"m"},"RequestId":"r"}}"#,
        ];
        for body in bodies {
            let outcome = commit_outcome(200, body);
            assert_eq!(outcome.class(), CommitClass::InDoubt, "{}", String::from_utf8_lossy(body));
        }
        let good = br#"{"Response":{"OrderId":"SO1","Status":8,"RequestId":"r"}}"#;
        for http_status in [201, 204, 301, 302, 400, 403, 404, 429, 500, 502, 503, 504] {
            assert_eq!(commit_outcome(http_status, good).class(), CommitClass::InDoubt, "{http_status}");
        }
    }

    #[test]
    fn a_refused_commit_gets_its_class_from_the_code() {
        let expected = [
            ("FailedOperation.NetworkError", CommitClass::Retry),
            ("InternalError.BackendResponseError", CommitClass::BackendError),
            ("RequestLimitExceeded", CommitClass::Throttled),
            ("AuthFailure.SecretIdNotFound", CommitClass::Account),
            ("FailedOperation.AuthError", CommitClass::Denied),
            ("FailedOperation.CertificateNotFound", CommitClass::Failed),
            ("FailedOperation.InvalidCertificateStatusCode", CommitClass::StatusRefused),
            ("InternalError", CommitClass::InDoubt),
        ];
        for (code, class) in expected {
            let outcome = commit(&error_body(code));
            assert_eq!(outcome.class(), class, "{code}");
            let refusal = outcome.refusal().unwrap();
            assert_eq!((refusal.code.as_str(), refusal.request_id.as_deref()), (code, Some("r")));
        }
    }

    #[test]
    fn a_refused_read_gets_its_class_from_the_code() {
        let expected = [
            ("RequestLimitExceeded.UinLimitExceeded", ReadClass::Throttled),
            ("AuthFailure.SignatureFailure", ReadClass::Account),
            ("UnauthorizedOperation", ReadClass::Denied),
            ("FailedOperation.CertificateNotFound", ReadClass::Failed),
            ("FailedOperation.NetworkError", ReadClass::Retry),
            ("InternalError", ReadClass::Retry),
        ];
        for (code, class) in expected {
            assert_eq!(read_outcome(200, error_body(code).as_bytes()).class(), class, "{code}");
        }
        assert_eq!(read_outcome(502, b"").class(), ReadClass::Retry);
    }

    #[test]
    fn a_reading_may_have_nulls_but_not_wrong_types() {
        let read = |body: &str| read_outcome(200, body.as_bytes());
        let seen = |body: &str| match read(body) {
            ReadOutcome::Seen(reading) => (reading.order_id, reading.status),
            other @ (ReadOutcome::Retry { .. }
            | ReadOutcome::Throttled(_)
            | ReadOutcome::Account(_)
            | ReadOutcome::Denied(_)
            | ReadOutcome::Failed(_)
            | ReadOutcome::NotSent(_)) => panic!("{other:?}"),
        };
        assert_eq!(seen(r#"{"Response":{"OrderId":null,"Status":13,"RequestId":"r"}}"#), (None, Some(13)));
        assert_eq!(seen(r#"{"Response":{"OrderId":"","Status":null}}"#), (None, None));
        assert_eq!(seen(r#"{"Response":{"OrderId":"SO1","Status":8}}"#), (Some("SO1".into()), Some(8)));
        for body in
            [r#"{"Response":{"Status":"13"}}"#, r#"{"Response":{"OrderId":1,"Status":13}}"#, r#"{"Response":{}}"#]
        {
            assert_eq!(read(body).class(), ReadClass::Retry, "{body}");
        }
    }

    #[test]
    fn an_unknown_code_is_marked_as_unknown() {
        let outcome = commit(&error_body("FailedOperation.SomethingNew"));
        assert_eq!(outcome.class(), CommitClass::Failed);
        assert!(outcome.refusal().unwrap().message.contains("doesn't know"));
    }

    #[test]
    fn server_texts_are_capped_and_escaped() {
        let body = r#"{"Response":{"Error":{"Code":"FailedOperation.InvalidParam","Message":"\u001b[31mred\n\u202eback"},"RequestId":"r\u0000"}}"#;
        let outcome = commit(body);
        let refusal = outcome.refusal().unwrap();
        assert_eq!(refusal.message, r"\u{1b}[31mred\n\u{202e}back");
        assert_eq!(refusal.request_id.as_deref(), Some(r"r\u{0}"));
        let long = format!(
            r#"{{"Response":{{"Error":{{"Code":"{0}","Message":"{0}"}},"RequestId":"{0}"}}}}"#,
            "x".repeat(100_000)
        );
        let outcome = commit(&long);
        let refusal = outcome.refusal().unwrap();
        assert!(refusal.code.chars().count() <= MAX_CODE + 1 && refusal.message.chars().count() < 2 * MAX_MESSAGE);
        assert!(refusal.request_id.as_ref().is_some_and(|id| id.chars().count() <= MAX_ID + 1));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_or_place_an_order(body in proptest::collection::vec(any::<u8>(), 0..200), status in any::<u16>()) {
            prop_assert_ne!(commit_outcome(status, &body).class(), CommitClass::Submitted);
            let _outcome = read_outcome(status, &body);
        }

        #[test]
        fn a_cut_reply_is_never_taken_for_an_answer(cut in 0usize..66) {
            let whole = r#"{"Response":{"OrderId":"SO8zRv29","Status":8,"RequestId":"9b397ac6"}}"#;
            prop_assert_eq!(commit(&whole[..cut]).class(), CommitClass::InDoubt);
        }
    }
}
