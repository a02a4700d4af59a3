//! The wire format: the bodies of requests, and what replies mean. Pure.
//!
//! Only its structure and its error code decide what a reply means: message texts may change.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::errors::{classify_code, is_known};
use crate::cause::ApiError;
use crate::escaping::printable;
use crate::submission::{CertificateId, Outcome, OutcomeClass, RequestKind, VerifyType};

/// The API's version, `X-TC-Version`.
pub const VERSION: &str = "2019-12-05";

/// The content type of every request, as it is signed.
pub const CONTENT_TYPE: &str = "application/json";

const HTTP_OK: u16 = 200;
const MAX_CODE: usize = 128;
const MAX_MESSAGE: usize = 400;
const MAX_ID: usize = 128;

/// An action of the API.
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
        // Strings always serialize.
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

/// The envelope of every reply.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    response: Option<Response>,
}

/// The fields of a reply. Each is parsed separately, since a field of a wrong type invalidates a success, but not a
/// refusal.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    error: Option<Value>,
    #[serde(default)]
    order_id: Value,
    /// `None` if the field is absent.
    #[serde(default, deserialize_with = "present")]
    status: Option<Value>,
    #[serde(default)]
    request_id: Value,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What a reply means.
///
/// A commit succeeded only if its reply is complete and well-formed, has an order and a status, and has no error. After
/// any other reply that isn't an error, it is unknown whether the order was placed. The server's texts are truncated
/// and escaped.
#[must_use]
pub fn outcome(kind: RequestKind, http_status: u16, body: &[u8]) -> Outcome {
    let is_page = body.trim_ascii_start().starts_with(b"<");
    let unknown = |unusable: String| match (http_status, is_page) {
        (HTTP_OK, false) => unusable,
        (_, true) => format!("{unusable}. It is an HTML page: a proxy or a gateway answered in the API's place"),
        (_, false) => format!("{unusable}: a proxy or a gateway answered in its place"),
    };
    reply(kind, http_status, body).unwrap_or_else(|unusable| Outcome::unknown(kind, unknown(unusable)))
}

/// What a reply means, or why it is unusable.
fn reply(kind: RequestKind, http_status: u16, body: &[u8]) -> Result<Outcome, String> {
    if http_status != HTTP_OK {
        return Err(format!("the reply was HTTP {http_status}, but the API always sends 200"));
    }
    let text = std::str::from_utf8(body).map_err(|_| "the reply was not UTF-8")?;
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            "the reply did not have the API's structure"
        } else {
            "the reply was not JSON, or was cut off"
        }
    })?;
    let response = envelope.response.ok_or("the reply had no Response")?;
    let request_id = request_id(&response.request_id);
    if let Some(error) = &response.error {
        return refused(kind, error, &response.order_id, request_id);
    }
    let order_id = order_id(&response.order_id)?;
    let status = response.status.as_ref().map(status).transpose()?;
    match kind {
        RequestKind::Commit => {
            let order_id = order_id.ok_or("the reply had no OrderId")?;
            let status = status.flatten().ok_or("the reply had no Status")?;
            Ok(Outcome::submitted(order_id, status, request_id))
        }
        RequestKind::Readback => Ok(Outcome::shown(order_id, status.ok_or("the reply had no Status")?, request_id)),
    }
}

fn refused(kind: RequestKind, error: &Value, order: &Value, request_id: Option<String>) -> Result<Outcome, String> {
    let code = error.get("Code").and_then(Value::as_str).filter(|code| !code.is_empty());
    let code = code.ok_or("the reply had an Error without a Code")?;
    let message = error.get("Message").and_then(Value::as_str).unwrap_or_default();
    let mut message = printable(message, MAX_MESSAGE);
    if !is_known(code) {
        message.push_str(" (an error code that certcommit doesn't know)");
    }
    let code = printable(code, MAX_CODE);
    let class = match kind {
        RequestKind::Commit => classify_code(&code),
        RequestKind::Readback => classify_code(&code).of_refused_readback(),
    };
    let error = ApiError::new(&code, &message, request_id.as_deref());
    // Either the refusal or the order is wrong.
    let detail = if order_id(order) != Ok(None) {
        format!("the server replied with both {code} and an OrderId")
    } else if class == OutcomeClass::unknown(kind) {
        format!("the server replied with {code}")
    } else {
        return Ok(Outcome::refused(class, error));
    };
    Ok(Outcome { error: Some(error), request_id, ..Outcome::unknown(kind, detail) })
}

fn order_id(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if printable(text, MAX_ID) == *text => Ok(Some(text.clone())),
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("the reply's OrderId was not a short string".to_owned())
        }
    }
}

fn status(value: &Value) -> Result<Option<i64>, String> {
    match (value.is_null(), value.as_i64()) {
        (true, _) => Ok(None),
        (false, Some(status)) => Ok(Some(status)),
        (false, None) => Err("the reply's Status was not an integer".to_owned()),
    }
}

fn request_id(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (!text.is_empty()).then(|| printable(text, MAX_ID))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit(body: &str) -> Outcome {
        outcome(RequestKind::Commit, 200, body.as_bytes())
    }

    fn error_body(code: &str) -> String {
        format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"m"}},"RequestId":"r"}}}}"#)
    }

    #[test]
    fn an_error_with_an_order_is_in_doubt() {
        let reply = |code: &str, order: &str| {
            let error = format!(r#"{{"Code":"{code}","Message":"m"}}"#);
            format!(r#"{{"Response":{{"Error":{error},"OrderId":{order},"RequestId":"r"}}}}"#)
        };
        for code in ["FailedOperation.NetworkError", "RequestLimitExceeded", "FailedOperation.CertificateNotFound"] {
            for order in [r#""SO1""#, "17"] {
                let outcome = commit(&reply(code, order));
                assert_eq!(outcome.class, OutcomeClass::InDoubt, "{code} {order}");
                assert_eq!(outcome.error.as_ref().map(|error| error.code.as_str()), Some(code));
                let read = super::outcome(RequestKind::Readback, 200, reply(code, order).as_bytes());
                assert_eq!(read.class, OutcomeClass::Retry, "{code} {order}");
            }
            for order in ["null", r#""""#] {
                assert_ne!(commit(&reply(code, order)).class, OutcomeClass::InDoubt, "{code} {order}");
            }
        }
    }

    #[test]
    fn each_action_has_its_own_name_for_the_certificate_id() {
        let id: CertificateId = "abcb1234".parse().unwrap();
        assert_eq!(Action::Commit.body(&id, None), r#"{"CertificateId":"abcb1234"}"#);
        let dns = Some(VerifyType::Dns);
        assert_eq!(Action::Commit.body(&id, dns), r#"{"CertificateId":"abcb1234","VerifyType":"DNS"}"#);
        assert_eq!(Action::OrderSubmit.body(&id, dns), r#"{"CertId":"abcb1234","VerifyType":"DNS"}"#);
        assert_eq!(Action::Describe.body(&id, dns), r#"{"CertificateId":"abcb1234"}"#);
    }

    #[test]
    fn the_documented_success_is_submitted() {
        let body = r#"{"Response":{"OrderId":"SO8zRv29","Status":8,"RequestId":"9b397ac6"}}"#;
        assert_eq!(commit(body), Outcome::submitted("SO8zRv29".into(), 8, Some("9b397ac6".into())));
    }

    #[test]
    fn a_commit_with_an_unknown_status_is_submitted() {
        let outcome = commit(r#"{"Response":{"OrderId":"SO1","Status":4711,"RequestId":"r"}}"#);
        assert_eq!(outcome.class, OutcomeClass::Submitted);
    }

    #[test]
    fn every_reply_that_the_api_does_not_send_leaves_a_commit_in_doubt() {
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
            let outcome = outcome(RequestKind::Commit, 200, body);
            assert_eq!(outcome.class, OutcomeClass::InDoubt, "{}", String::from_utf8_lossy(body));
        }
        let good = br#"{"Response":{"OrderId":"SO1","Status":8,"RequestId":"r"}}"#;
        for http_status in [201, 204, 301, 302, 400, 403, 404, 429, 500, 502, 503, 504] {
            assert_eq!(outcome(RequestKind::Commit, http_status, good).class, OutcomeClass::InDoubt, "{http_status}");
        }
    }

    #[test]
    fn a_refused_commit_gets_its_class_from_the_code() {
        let expected = [
            ("FailedOperation.NetworkError", OutcomeClass::Retry),
            ("InternalError.BackendResponseError", OutcomeClass::BackendError),
            ("RequestLimitExceeded", OutcomeClass::Throttled),
            ("AuthFailure.SecretIdNotFound", OutcomeClass::Account),
            ("FailedOperation.AuthError", OutcomeClass::Denied),
            ("FailedOperation.CertificateNotFound", OutcomeClass::Failed),
            ("FailedOperation.InvalidCertificateStatusCode", OutcomeClass::StatusRefused),
            ("InternalError", OutcomeClass::InDoubt),
        ];
        for (code, class) in expected {
            let outcome = commit(&error_body(code));
            assert_eq!(outcome.class, class, "{code}");
            assert_eq!((outcome.error.unwrap().code.as_str(), outcome.request_id.as_deref()), (code, Some("r")));
        }
    }

    #[test]
    fn a_refused_readback_gets_its_class_from_the_code() {
        let expected = [
            ("RequestLimitExceeded.UinLimitExceeded", OutcomeClass::Throttled),
            ("AuthFailure.SignatureFailure", OutcomeClass::Account),
            ("UnauthorizedOperation", OutcomeClass::Denied),
            ("FailedOperation.CertificateNotFound", OutcomeClass::Failed),
            ("FailedOperation.NetworkError", OutcomeClass::Retry),
            ("InternalError", OutcomeClass::Retry),
        ];
        for (code, class) in expected {
            assert_eq!(outcome(RequestKind::Readback, 200, error_body(code).as_bytes()).class, class, "{code}");
        }
        assert_eq!(outcome(RequestKind::Readback, 502, b"").class, OutcomeClass::Retry);
    }

    #[test]
    fn a_readback_may_have_nulls_but_not_wrong_types() {
        let read = |body: &str| outcome(RequestKind::Readback, 200, body.as_bytes());
        let seen = |body: &str| {
            let outcome = read(body);
            assert_eq!((outcome.error, outcome.detail), (None, None), "{body}");
            (outcome.order_id, outcome.status)
        };
        assert_eq!(seen(r#"{"Response":{"OrderId":null,"Status":13,"RequestId":"r"}}"#), (None, Some(13)));
        assert_eq!(seen(r#"{"Response":{"OrderId":"","Status":null}}"#), (None, None));
        assert_eq!(seen(r#"{"Response":{"OrderId":"SO1","Status":8}}"#), (Some("SO1".into()), Some(8)));
        for body in
            [r#"{"Response":{"Status":"13"}}"#, r#"{"Response":{"OrderId":1,"Status":13}}"#, r#"{"Response":{}}"#]
        {
            assert_eq!(read(body).class, OutcomeClass::Retry, "{body}");
        }
    }

    #[test]
    fn an_unknown_code_is_marked_as_unknown() {
        let outcome = commit(&error_body("FailedOperation.SomethingNew"));
        assert_eq!(outcome.class, OutcomeClass::Failed);
        assert!(outcome.error.unwrap().message.as_str().contains("doesn't know"));
    }

    #[test]
    fn server_texts_are_truncated_and_escaped() {
        let body = r#"{"Response":{"Error":{"Code":"FailedOperation.InvalidParam","Message":"\u001b[31mred\n\u202eback"},"RequestId":"r\u0000"}}"#;
        let outcome = commit(body);
        assert_eq!(outcome.error.unwrap().message.as_str(), r"\u{1b}[31mred\n\u{202e}back");
        assert_eq!(outcome.request_id.as_deref(), Some(r"r\u{0}"));
        let long = format!(
            r#"{{"Response":{{"Error":{{"Code":"{0}","Message":"{0}"}},"RequestId":"{0}"}}}}"#,
            "x".repeat(100_000)
        );
        let outcome = commit(&long);
        let error = outcome.error.unwrap();
        assert!(
            error.code.as_str().chars().count() <= MAX_CODE + 1
                && error.message.as_str().chars().count() < 2 * MAX_MESSAGE
        );
        assert!(outcome.request_id.as_ref().is_some_and(|id| id.chars().count() <= MAX_ID + 1));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_or_place_an_order(body in proptest::collection::vec(any::<u8>(), 0..200), status in any::<u16>()) {
            prop_assert_ne!(outcome(RequestKind::Commit, status, &body).class, OutcomeClass::Submitted);
            let _outcome = outcome(RequestKind::Readback, status, &body);
        }

        #[test]
        fn a_truncated_reply_is_never_a_success(cut in 0usize..66) {
            let whole = r#"{"Response":{"OrderId":"SO8zRv29","Status":8,"RequestId":"9b397ac6"}}"#;
            prop_assert_eq!(commit(&whole[..cut]).class, OutcomeClass::InDoubt);
        }
    }
}
