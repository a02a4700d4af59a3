//! What names a submission: the certificate's ID, and how its domain is to be validated.

use std::fmt;
use std::str::FromStr;

/// The longest certificate ID, in bytes.
const MAX_ID_BYTES: usize = 64;

/// The ID of a certificate at Tencent Cloud, such as `abcb1234`: 1 to 64 bytes of `A-Z a-z 0-9 _ -`.
///
/// The alphabet is narrow on purpose: an ID goes into logs, terminals and requests as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId(String);

/// A text that can't be a certificate ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a certificate ID: 1 to 64 characters of A-Z a-z 0-9 _ - are")]
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

/// How the applicant proves control of the domain; `VerifyType` in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyType {
    /// A DNS record that Tencent Cloud adds by itself.
    DnsAuto,
    /// A DNS record that the applicant adds.
    Dns,
    /// A file on the web server.
    File,
    /// A DNS record, by proxy.
    DnsProxy,
    /// A file, by proxy.
    FileProxy,
}

/// A text that names no way of validation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a verify type: DNS_AUTO, DNS, FILE, DNS_PROXY or FILE_PROXY is")]
pub struct InvalidVerifyType(String);

impl VerifyType {
    /// Every way of validation.
    pub const ALL: [Self; 5] = [Self::DnsAuto, Self::Dns, Self::File, Self::DnsProxy, Self::FileProxy];

    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DnsAuto => "DNS_AUTO",
            Self::Dns => "DNS",
            Self::File => "FILE",
            Self::DnsProxy => "DNS_PROXY",
            Self::FileProxy => "FILE_PROXY",
        }
    }
}

impl FromStr for VerifyType {
    type Err = InvalidVerifyType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|verify_type| verify_type.as_str() == text);
        known.ok_or_else(|| InvalidVerifyType(text.chars().take(MAX_ID_BYTES).collect()))
    }
}

impl fmt::Display for VerifyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
        assert!(error.starts_with(r#""\u{1b}[31m" is not"#), "{error}");
        let long = "é".repeat(10_000).parse::<CertificateId>().unwrap_err().to_string();
        assert!(long.chars().count() < 200, "{long}");
    }

    #[test]
    fn a_verify_type_reads_back_as_written() {
        for verify_type in VerifyType::ALL {
            assert_eq!(verify_type.to_string().parse(), Ok(verify_type));
        }
        assert!("dns".parse::<VerifyType>().is_err());
    }
}
