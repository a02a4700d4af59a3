//! `DescribeCertificates`: the statuses of many certificates with one request. It shows no orders, so it decides nothing about
//! a submission. Pure. Source: the action's page of Tencent Cloud's SSL API, version 2019-12-05.

use serde::Deserialize;
use serde_json::{Value, json};

use super::wire;
use crate::escaping::printable;
use crate::submission::{CertificateId, Outcome, RequestKind};

/// The action's name, `X-TC-Action`.
pub(super) const ACTION: &str = "DescribeCertificates";
/// The most certificates in one request. The API takes a thousand, but its reply would have several megabytes.
pub const MOST_AT_ONCE: usize = 100;

const MAX_MESSAGE: usize = 400;

/// What the API says about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenStatus {
    /// The certificate.
    pub certificate_id: CertificateId,
    /// Its status.
    pub status: i64,
    /// The API's words about it, such as why it was refused; truncated and escaped.
    pub message: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    response: Response,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    certificates: Option<Vec<Entry>>,
    #[serde(default)]
    request_id: Value,
}

/// The fields of a certificate that matter. Each is parsed separately: one that can't be used hides no other.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default)]
    certificate_id: Value,
    #[serde(default)]
    status: Value,
    #[serde(default)]
    status_msg: Value,
}

/// The body of a request for these certificates.
#[must_use]
pub(super) fn body(ids: &[CertificateId]) -> String {
    let ids: Vec<&str> = ids.iter().map(CertificateId::as_str).collect();
    json!({ "CertIds": ids, "Limit": ids.len() }).to_string()
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) request_id: Option<String>,
    /// What the API says about the certificates that it knows; or what the reply means instead, as that of a readback.
    pub(super) statuses: Result<Vec<SeenStatus>, Outcome>,
}

/// What a reply says.
pub(super) fn parse(http_status: u16, body: &[u8]) -> Reply {
    let envelope: Option<Envelope> = serde_json::from_slice(body).ok().filter(|_| http_status == 200);
    if let Some(Response { certificates: Some(certificates), request_id }) = envelope.map(|envelope| envelope.response)
    {
        let request_id = request_id.as_str().filter(|id| !id.is_empty()).map(str::to_owned);
        return Reply { request_id, statuses: Ok(certificates.iter().filter_map(seen).collect()) };
    }
    let outcome = wire::outcome(RequestKind::Readback, http_status, body);
    let says_nothing = outcome.error.is_none() && outcome.detail.is_none();
    let request_id = outcome.request_id.clone();
    Reply { request_id, statuses: Err(if says_nothing { unusable("the reply had no Certificates") } else { outcome }) }
}

fn unusable(why: &str) -> Outcome {
    Outcome::unknown(RequestKind::Readback, why.to_owned())
}

fn seen(entry: &Entry) -> Option<SeenStatus> {
    let certificate_id = entry.certificate_id.as_str()?.parse().ok()?;
    let message = entry.status_msg.as_str().filter(|text| !text.is_empty());
    let message = message.map(|text| printable(text, MAX_MESSAGE));
    Some(SeenStatus { certificate_id, status: entry.status.as_i64()?, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::OutcomeClass;

    fn id(text: &str) -> CertificateId {
        text.parse().unwrap()
    }

    #[test]
    fn the_body_names_the_certificates_and_asks_for_all_of_them() {
        assert_eq!(body(&[id("a1"), id("a2")]), r#"{"CertIds":["a1","a2"],"Limit":2}"#);
    }

    #[test]
    fn each_certificate_that_the_reply_describes_is_seen() {
        let reply = r#"{"Response":{"TotalCount":4,"Certificates":[
            {"CertificateId":"a1","Status":1,"StatusName":"approved","StatusMsg":null},
            {"CertificateId":"a2","Status":2,"StatusMsg":"the domain\u001b[31m is wrong"},
            {"CertificateId":"a b","Status":1},
            {"CertificateId":"a3","Status":"1"}],"RequestId":"r"}}"#;
        let Reply { request_id, statuses } = parse(200, reply.as_bytes());
        assert_eq!(request_id.as_deref(), Some("r"));
        let seen = statuses.unwrap();
        let expected = [(id("a1"), 1, None), (id("a2"), 2, Some(r"the domain\u{1b}[31m is wrong".to_owned()))];
        let found: Vec<_> = seen.into_iter().map(|seen| (seen.certificate_id, seen.status, seen.message)).collect();
        assert_eq!(found, expected);
        assert_eq!(parse(200, br#"{"Response":{"Certificates":[],"RequestId":"r"}}"#).statuses, Ok(Vec::new()));
    }

    #[test]
    fn any_other_reply_means_what_it_means_for_a_readback() {
        for (status, body, class) in [
            (
                200,
                r#"{"Response":{"Error":{"Code":"RequestLimitExceeded","Message":"m"},"RequestId":"r"}}"#,
                OutcomeClass::Throttled,
            ),
            (
                200,
                r#"{"Response":{"Error":{"Code":"UnauthorizedOperation","Message":"m"},"RequestId":"r"}}"#,
                OutcomeClass::Denied,
            ),
            (200, r#"{"Response":{"RequestId":"r"}}"#, OutcomeClass::Retry),
            (200, r#"{"Response":{"Status":1,"OrderId":"SO1","RequestId":"r"}}"#, OutcomeClass::Retry),
            (200, "{", OutcomeClass::Retry),
            (502, "<html>", OutcomeClass::Retry),
        ] {
            assert_eq!(parse(status, body.as_bytes()).statuses.unwrap_err().class, class, "{body}");
        }
    }
}
