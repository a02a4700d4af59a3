//! What names a submission: the certificate's ID, and how its domain is to be validated.

use std::fmt;
use std::str::FromStr;

use crate::named_enum::named_enum;

/// The longest certificate ID, in bytes.
const MAX_ID_BYTES: usize = 64;

/// The ID of a certificate at Tencent Cloud, such as `abcb1234`: 1 to 64 bytes of `A-Z a-z 0-9 _ -`.
///
/// The alphabet is narrow on purpose: an ID appears unescaped in logs, terminals and requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId(String);

/// A text that can't be a certificate ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid certificate ID {0:?}: expected 1–64 characters of A-Z a-z 0-9 _ -")]
pub struct InvalidCertificateId(String);

impl CertificateId {
    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CertificateId {
    type Err = InvalidCertificateId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=MAX_ID_BYTES).contains(&text.len());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if fits && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidCertificateId(text.chars().take(MAX_ID_BYTES).collect()))
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

named_enum! {
    /// How the applicant proves control of the domain: `VerifyType` in the request.
    pub enum VerifyType {
        /// A DNS record that Tencent Cloud adds by itself.
        DnsAuto = "DNS_AUTO",
        /// A DNS record that the applicant adds.
        Dns = "DNS",
        /// A file on the web server.
        File = "FILE",
        /// A DNS record, by proxy.
        DnsProxy = "DNS_PROXY",
        /// A file, by proxy.
        FileProxy = "FILE_PROXY",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_1_to_64_plain_characters() {
        for good in ["a", "abcb1234", "A_b-9", &"x".repeat(64)] {
            let id: CertificateId = good.parse().unwrap();
            assert_eq!((id.as_str(), id.to_string().as_str()), (good, good));
        }
        for bad in ["", " ", "a b", "a\n", "a\0b", "ä", "😀", "a'; --", &"x".repeat(65)] {
            assert!(bad.parse::<CertificateId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refused_id_is_named_escaped_and_shortened() {
        let error = "\u{1b}[31m".parse::<CertificateId>().unwrap_err().to_string();
        assert!(error.starts_with(r#"invalid certificate ID "\u{1b}[31m":"#), "{error}");
        let long = "é".repeat(10_000).parse::<CertificateId>().unwrap_err().to_string();
        assert!(long.chars().count() < 200, "{long}");
    }

    #[test]
    fn the_verify_types_are_those_of_the_api() {
        assert_eq!(VerifyType::NAMES, ["DNS_AUTO", "DNS", "FILE", "DNS_PROXY", "FILE_PROXY"]);
        assert!("dns".parse::<VerifyType>().is_err());
    }
}
