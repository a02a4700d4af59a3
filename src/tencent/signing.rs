//! TC3-HMAC-SHA256, the signature of Tencent Cloud's API 3.0, as pure functions: "Signature v3" in the API's documentation,
//! <https://www.tencentcloud.com/document/product/1078/38637>. Each step has a function of its own, so that a failing known-answer
//! test names the step that broke.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "TC3-HMAC-SHA256";
const TERMINATOR: &str = "tc3_request";

/// When and for which service a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The service, such as `ssl`.
    pub service: &'a str,
    /// Unix seconds. The server accepts a difference of five minutes.
    pub timestamp: i64,
}

/// The signed part of a `POST /`.
#[derive(Debug, Clone, Copy)]
pub struct CanonicalRequest<'a> {
    /// The signed headers with their values: names in lower case, sorted.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body's bytes.
    pub body: &'a [u8],
}

impl Scope<'_> {
    /// The UTC date of the timestamp, such as `2019-02-25`.
    fn date(&self) -> String {
        // The server refuses a signature outside jiff's range, the years -9999 to 9999, anyway.
        let at = jiff::Timestamp::from_second(self.timestamp).unwrap_or_default();
        jiff::tz::Offset::UTC.to_datetime(at).date().to_string()
    }

    /// `date/service/tc3_request`.
    fn credential_scope(&self) -> String {
        format!("{}/{}/{TERMINATOR}", self.date(), self.service)
    }
}

impl CanonicalRequest<'_> {
    fn signed_headers(&self) -> String {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        names.join(";")
    }

    /// The canonical request: method, path, query (empty), headers, their names, the body's hash.
    fn text(&self) -> String {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim().to_lowercase())).collect();
        format!("POST\n/\n\n{headers}\n{}\n{}", self.signed_headers(), hex(&Sha256::digest(self.body)))
    }

    /// The hash of the canonical request.
    fn hash(&self) -> String {
        hex(&Sha256::digest(self.text()))
    }
}

/// What the key signs.
fn string_to_sign(scope: &Scope<'_>, request: &CanonicalRequest<'_>) -> String {
    format!("{ALGORITHM}\n{}\n{}\n{}", scope.timestamp, scope.credential_scope(), request.hash())
}

/// The signature, in lower-case hex.
fn signature(secret_key: &SecretString, scope: &Scope<'_>, request: &CanonicalRequest<'_>) -> String {
    let date_key = hmac(format!("TC3{}", secret_key.expose_secret()).as_bytes(), scope.date().as_bytes());
    let service_key = hmac(&date_key, scope.service.as_bytes());
    let signing_key = hmac(&service_key, TERMINATOR.as_bytes());
    hex(&hmac(&signing_key, string_to_sign(scope, request).as_bytes()))
}

/// The value of the `Authorization` header.
#[must_use]
pub fn authorization(
    secret_id: &str,
    secret_key: &SecretString,
    scope: &Scope<'_>,
    request: &CanonicalRequest<'_>,
) -> String {
    format!(
        "{ALGORITHM} Credential={secret_id}/{}, SignedHeaders={}, Signature={}",
        scope.credential_scope(),
        request.signed_headers(),
        signature(secret_key, scope, request)
    )
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED_BODY: &[u8] =
        br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
    const PUBLISHED_HEADERS: [(&str, &str); 3] = [
        ("content-type", "application/json; charset=utf-8"),
        ("host", "cvm.tencentcloudapi.com"),
        ("x-tc-action", "DescribeInstances"),
    ];
    const CVM: Scope<'_> = Scope { service: "cvm", timestamp: 1_551_113_065 };
    const SSL: Scope<'_> = Scope { service: "ssl", timestamp: 1_551_113_065 };

    fn key(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn the_body_has_the_published_hash() {
        assert_eq!(
            hex(&Sha256::digest(PUBLISHED_BODY)),
            "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
        );
    }

    #[test]
    fn the_canonical_request_has_the_published_hashes() {
        let two = CanonicalRequest { headers: &PUBLISHED_HEADERS[..2], body: PUBLISHED_BODY };
        assert_eq!(two.hash(), "5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031");
        let three = CanonicalRequest { headers: &PUBLISHED_HEADERS, body: PUBLISHED_BODY };
        assert_eq!(three.hash(), "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84");
    }

    #[test]
    fn the_string_to_sign_has_the_documented_lines() {
        let request = CanonicalRequest { headers: &PUBLISHED_HEADERS[..2], body: PUBLISHED_BODY };
        assert_eq!(
            string_to_sign(&CVM, &request),
            "TC3-HMAC-SHA256\n1551113065\n2019-02-25/cvm/tc3_request\n\
             5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031"
        );
    }

    #[test]
    fn the_signature_is_the_published_one() {
        let two = CanonicalRequest { headers: &PUBLISHED_HEADERS[..2], body: PUBLISHED_BODY };
        assert_eq!(
            signature(&key("Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"), &CVM, &two),
            "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
        );
        let three = CanonicalRequest { headers: &PUBLISHED_HEADERS, body: PUBLISHED_BODY };
        assert_eq!(
            signature(&key("Gu5t9xGARNpq86cd98joQYCN3*******"), &CVM, &three),
            "be4f67d323c78ab9acb7395e43c0dbcf822a9cfac32fea2449a7bc7726b770a3"
        );
    }

    #[test]
    fn a_commit_is_signed_as_the_official_sdk_signs_it() {
        let headers = [("content-type", "application/json"), ("host", "ssl.tencentcloudapi.com")];
        let known = [
            (r#"{"CertificateId":"abcb1234"}"#, "167c85e7d22848f6c8a195be0203e19de9433a1393279d6a0b455e498cb03bce"),
            (
                r#"{"CertificateId":"abcb1234","VerifyType":"DNS"}"#,
                "c8bbdac40d1ddeaa66566001399e9aec81a80ea0ee279fba0efcb7d982a4b5c4",
            ),
        ];
        for (body, expected) in known {
            let request = CanonicalRequest { headers: &headers, body: body.as_bytes() };
            assert_eq!(signature(&key("Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"), &SSL, &request), expected);
        }
    }

    #[test]
    fn the_authorization_header_names_credential_headers_and_signature() {
        let request = CanonicalRequest { headers: &PUBLISHED_HEADERS[..2], body: PUBLISHED_BODY };
        assert_eq!(
            authorization("AKIDEXAMPLE", &key("Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"), &CVM, &request),
            "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2019-02-25/cvm/tc3_request, SignedHeaders=content-type;host, \
             Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
        );
    }

    #[test]
    fn the_date_is_in_utc() {
        assert_eq!(Scope { service: "ssl", timestamp: 1_551_139_199 }.date(), "2019-02-25");
        assert_eq!(Scope { service: "ssl", timestamp: 1_551_139_200 }.date(), "2019-02-26");
        assert_eq!(Scope { service: "ssl", timestamp: i64::MAX }.date(), "1970-01-01");
    }
}
