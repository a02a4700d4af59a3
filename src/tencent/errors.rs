//! The one error table: what each error code of the API means for a request.
//!
//! Source: the error codes on the pages of `CommitCertificateInformation` and `CertificateOrderSubmit`, and
//! the common error codes of API 3.0. The README shows the same table; a test holds the two together.

/// What an error code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The CA is busy; nothing was placed: try again.
    Retry,
    /// The backend's response was in error; it may have acted: read once, then try again.
    BackendError,
    /// Over a rate limit; not executed: slow down.
    Throttled,
    /// The account, the credentials or the client are at fault; not executed: pause and probe.
    Account,
    /// No permission for this certificate; not executed. Of several rows in succession: the account's fault.
    Denied,
    /// Refused for good; nothing was placed.
    Failed,
    /// The certificate's status doesn't allow it, or the commit is a repeat: read back.
    StatusRefused,
    /// It may have been executed: read back.
    InDoubt,
}

impl Class {
    /// The class in words, as the README's table has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::BackendError => "retry after one read",
            Self::Throttled => "throttled",
            Self::Account => "account",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::StatusRefused => "read back",
            Self::InDoubt => "in doubt",
        }
    }
}

/// A subcode of `FailedOperation` that isn't known: the family refuses without acting.
const UNKNOWN_REFUSAL: &str = "FailedOperation.*";

/// The table. A code stands for itself; `Code*` for itself and its subcodes, `Code.*` for its subcodes alone. The
/// first line that matches counts.
pub const ERROR_TABLE: &[(&str, Class)] = &[
    ("FailedOperation.NetworkError", Class::Retry),
    ("InternalError.BackendResponseError", Class::BackendError),
    ("RequestLimitExceeded*", Class::Throttled),
    ("LimitExceeded.RateLimitExceeded", Class::Throttled),
    ("FailedOperation.InvalidCertificateStatusCode", Class::StatusRefused),
    ("FailedOperation.AuthError", Class::Denied),
    ("FailedOperation.NoProjectPermission", Class::Denied),
    ("FailedOperation.CAMAuthorizedFail", Class::Denied),
    ("AuthFailure.UnauthorizedOperation", Class::Denied),
    ("UnauthorizedOperation*", Class::Denied),
    ("AuthFailure*", Class::Account),
    ("FailedOperation.NoRealNameAuth", Class::Account),
    ("IpNotInWhitelist", Class::Account),
    ("IpInBlacklist", Class::Account),
    ("ActionOffline", Class::Account),
    ("NoSuchVersion", Class::Account),
    ("NoSuchProduct", Class::Account),
    ("InvalidAction", Class::Account),
    ("UnsupportedRegion", Class::Account),
    ("FailedOperation.SystemError", Class::InDoubt),
    ("FailedOperation.CannotGetOrder", Class::InDoubt),
    ("FailedOperation.TradeError", Class::InDoubt),
    ("FailedOperation.CertificateOrderSubmitProcessing", Class::InDoubt),
    ("FailedOperation.CertificateInvalid", Class::Failed),
    ("FailedOperation.CertificateNotFound", Class::Failed),
    ("FailedOperation.InvalidParam", Class::Failed),
    ("FailedOperation.CertificateInfoSubmitStatusInvalid", Class::Failed),
    ("FailedOperation.CertificatePreVerifyEmailInvalid", Class::Failed),
    (UNKNOWN_REFUSAL, Class::Failed),
    ("InvalidParameter*", Class::Failed),
    ("InvalidParameterValue*", Class::Failed),
    ("MissingParameter*", Class::Failed),
    ("UnknownParameter*", Class::Failed),
    ("InvalidRequest*", Class::Failed),
    ("RequestSizeLimitExceeded", Class::Failed),
    ("UnsupportedOperation*", Class::Failed),
    ("UnsupportedProtocol", Class::Failed),
    ("LimitExceeded*", Class::Failed),
    ("ResourceNotFound*", Class::Failed),
    ("FailedOperation", Class::InDoubt),
    ("InternalError*", Class::InDoubt),
    ("ServiceUnavailable*", Class::InDoubt),
    ("ResourceUnavailable*", Class::InDoubt),
    ("ResourceInUse*", Class::InDoubt),
    ("ResourceInsufficient*", Class::InDoubt),
    ("ResponseSizeLimitExceeded", Class::InDoubt),
    ("DryRunOperation", Class::InDoubt),
];

/// The class of an error code. A code of a family that the table doesn't know is in doubt: it may mean
/// anything.
#[must_use]
pub fn classify_code(code: &str) -> Class {
    find(code).map_or(Class::InDoubt, |(_, class)| *class)
}

/// The name under which a metric counts a code: its line of the table, or `other` for those that the table doesn't
/// know; so their number is bounded.
#[must_use]
pub fn code_label(code: &str) -> &'static str {
    match find(code) {
        Some((pattern, _)) if *pattern != UNKNOWN_REFUSAL => pattern.trim_end_matches('*'),
        Some(_) | None => "other",
    }
}

/// Whether the table knows the code, rather than taking it for a refusal or a doubt by its family alone.
#[must_use]
pub(super) fn is_known(code: &str) -> bool {
    find(code).is_some_and(|(pattern, _)| *pattern != UNKNOWN_REFUSAL)
}

fn find(code: &str) -> Option<&'static (&'static str, Class)> {
    ERROR_TABLE.iter().find(|(pattern, _)| matches_pattern(pattern, code))
}

fn matches_pattern(pattern: &str, code: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(family) => code
            .strip_prefix(family)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || family.ends_with('.')),
        None => pattern == code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_counts_a_code_by_its_line_of_the_table_and_unknown_ones_as_other() {
        let labels = [
            ("FailedOperation.NetworkError", "FailedOperation.NetworkError"),
            ("RequestLimitExceeded.UinLimitExceeded", "RequestLimitExceeded"),
            ("AuthFailure.SignatureExpire", "AuthFailure"),
            ("FailedOperation.NeverHeardOf", "other"),
            ("NeverHeardOf.AtAll", "other"),
            ("", "other"),
        ];
        for (code, label) in labels {
            assert_eq!(code_label(code), label, "{code}");
        }
    }

    #[test]
    fn every_documented_code_has_the_class_of_the_contract() {
        let contract = [
            (Class::Retry, "FailedOperation.NetworkError"),
            (Class::BackendError, "InternalError.BackendResponseError"),
            (Class::StatusRefused, "FailedOperation.InvalidCertificateStatusCode"),
            (
                Class::Throttled,
                "RequestLimitExceeded RequestLimitExceeded.GlobalRegionUinLimitExceeded RequestLimitExceeded.IPLimitExceeded \
                 RequestLimitExceeded.UinLimitExceeded LimitExceeded.RateLimitExceeded",
            ),
            (
                Class::Account,
                "AuthFailure.InvalidAuthorization AuthFailure.InvalidSecretId AuthFailure.MFAFailure \
                 AuthFailure.SecretIdNotFound AuthFailure.SignatureExpire AuthFailure.SignatureFailure \
                 AuthFailure.TokenFailure FailedOperation.NoRealNameAuth IpInBlacklist IpNotInWhitelist ActionOffline \
                 NoSuchVersion NoSuchProduct InvalidAction UnsupportedRegion",
            ),
            (
                Class::Denied,
                "FailedOperation.AuthError FailedOperation.NoProjectPermission FailedOperation.CAMAuthorizedFail \
                 AuthFailure.UnauthorizedOperation UnauthorizedOperation UnauthorizedOperation.CamNoAuth",
            ),
            (
                Class::Failed,
                "FailedOperation.CertificateInvalid FailedOperation.CertificateNotFound FailedOperation.InvalidParam \
                 FailedOperation.CertificateInfoSubmitStatusInvalid FailedOperation.CertificatePreVerifyEmailInvalid \
                 FailedOperation.SomethingNew InvalidParameter InvalidParameterValue InvalidParameter.Foo \
                 MissingParameter UnknownParameter InvalidRequest RequestSizeLimitExceeded UnsupportedOperation \
                 UnsupportedProtocol LimitExceeded LimitExceeded.Other ResourceNotFound",
            ),
            (
                Class::InDoubt,
                "InternalError InternalError.BackendResponseEmpty InternalError.Other FailedOperation \
                 FailedOperation.SystemError FailedOperation.CannotGetOrder FailedOperation.TradeError \
                 FailedOperation.CertificateOrderSubmitProcessing ServiceUnavailable ResourceUnavailable ResourceInUse \
                 ResourceInsufficient ResponseSizeLimitExceeded DryRunOperation Something.New AuthFailureX",
            ),
        ];
        for (class, codes) in contract {
            for code in codes.split_whitespace() {
                assert_eq!(classify_code(code), class, "{code}");
            }
        }
    }

    #[test]
    fn every_line_of_the_table_can_be_reached() {
        for (index, (pattern, _)) in ERROR_TABLE.iter().enumerate() {
            let code = match pattern.strip_suffix('*') {
                Some(family) if family.ends_with('.') => format!("{family}New"),
                Some(family) => family.to_owned(),
                None => (*pattern).to_owned(),
            };
            let first = ERROR_TABLE.iter().position(|(earlier, _)| matches_pattern(earlier, &code));
            assert_eq!(first, Some(index), "{pattern} is hidden by a line above it");
        }
    }

    #[test]
    fn only_a_code_that_the_table_names_is_known() {
        assert!(is_known("FailedOperation.NetworkError") && is_known("InternalError.Other"));
        assert!(!is_known("FailedOperation.SomethingNew") && !is_known("Something.New"));
    }

    #[test]
    fn each_class_has_words_of_its_own() {
        let words: std::collections::BTreeSet<&str> = ERROR_TABLE.iter().map(|(_, class)| class.as_str()).collect();
        let expected =
            ["account", "denied", "failed", "in doubt", "read back", "retry", "retry after one read", "throttled"];
        assert_eq!(words.into_iter().collect::<Vec<_>>(), expected);
    }
}
