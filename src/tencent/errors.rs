//! The one error table: what each error code of the API means for a request.
//!
//! Source: the error codes on the pages of `CommitCertificateInformation` and `CertificateOrderSubmit`, the common
//! error codes of API 3.0, and the list in the published SDK, which covers all actions of the product. `docs/ERRORS.md`
//! has the same table; a test keeps the two in sync.

use crate::submission::OutcomeClass as Class;

/// Any other subcode of `FailedOperation`, unknown or from another action. Codes of this family mean that the API
/// refused without acting.
const UNKNOWN_REFUSAL: &str = "FailedOperation.*";

/// The table. `Code` matches that code, `Code*` also its subcodes, `Code.*` only its subcodes. The first match counts.
pub const ERROR_TABLE: &[(&str, Class)] = &[
    ("FailedOperation.NetworkError", Class::Retry),
    ("InternalError.BackendResponseError", Class::BackendError),
    ("RequestLimitExceeded*", Class::Throttled),
    ("LimitExceeded.RateLimitExceeded", Class::Throttled),
    // About the certificate's status, which may be the result of an order that was placed.
    ("FailedOperation.InvalidCertificateStatusCode", Class::StatusRefused),
    ("FailedOperation.CertificateStatusNotAllowResubmit", Class::StatusRefused),
    ("FailedOperation.CertificateNotFoundOrAudited", Class::StatusRefused),
    ("InvalidParameter.CertificateStatusNotAllowResubmit", Class::StatusRefused),
    // A permission, a role or a quota: of this certificate's project, domain or package, or of the whole account.
    ("FailedOperation.AuthError", Class::Denied),
    ("FailedOperation.NoProjectPermission", Class::Denied),
    ("FailedOperation.CAMAuthorizedFail", Class::Denied),
    ("FailedOperation.RoleNotFoundAuthorization", Class::Denied),
    ("FailedOperation.CertificateWhiteFuncError", Class::Denied),
    ("FailedOperation.PackageCountLimit", Class::Denied),
    ("FailedOperation.PackageExpired", Class::Denied),
    ("FailedOperation.ExceedsFreeLimit", Class::Denied),
    ("AuthFailure.UnauthorizedOperation", Class::Denied),
    ("UnauthorizedOperation*", Class::Denied),
    // Keys, account or client: the API executes none of their requests.
    ("AuthFailure*", Class::Account),
    ("FailedOperation.NoRealNameAuth", Class::Account),
    ("IpNotInWhitelist", Class::Account),
    ("IpInBlacklist", Class::Account),
    ("ActionOffline", Class::Account),
    ("NoSuchVersion", Class::Account),
    ("NoSuchProduct", Class::Account),
    ("InvalidAction", Class::Account),
    ("UnsupportedRegion", Class::Account),
    // From the API's backend, or about an order or certificate that may exist: none rules out that an order was placed.
    ("FailedOperation.SystemError", Class::InDoubt),
    ("FailedOperation.CannotGetOrder", Class::InDoubt),
    ("FailedOperation.TradeError", Class::InDoubt),
    ("FailedOperation.CertificateOrderSubmitProcessing", Class::InDoubt),
    ("FailedOperation.CertificateCaError", Class::InDoubt),
    ("FailedOperation.CertificateExists", Class::InDoubt),
    ("FailedOperation.CancelAuditCertificateFailed", Class::InDoubt),
    ("FailedOperation.CancelOrderFailed", Class::InDoubt),
    ("FailedOperation.OrderAlreadyReplaced", Class::InDoubt),
    ("FailedOperation.OrderReplaceFailed", Class::InDoubt),
    // What was submitted for the certificate is invalid; the API doesn't pass it on to the CA.
    ("FailedOperation.CertificateInvalid", Class::Failed),
    ("FailedOperation.CertificateNotFound", Class::Failed),
    ("FailedOperation.CertificateNotAvailable", Class::Failed),
    ("FailedOperation.CertificateTypeInfoNotFound", Class::Failed),
    ("FailedOperation.InvalidParam", Class::Failed),
    ("FailedOperation.CertificateInfoSubmitStatusInvalid", Class::Failed),
    ("FailedOperation.CertificateInfoSubmitContactEmailEmpty", Class::Failed),
    ("FailedOperation.CertificateInfoSubmitDomainInvalid", Class::Failed),
    ("FailedOperation.CertificatePreVerifyEmailInvalid", Class::Failed),
    ("FailedOperation.CertificateOrderSubmitRootCAInvalid", Class::Failed),
    ("FailedOperation.CertificateSubmitHostingCertError", Class::Failed),
    ("FailedOperation.CertificateCsrParseFailed", Class::Failed),
    ("FailedOperation.GenCSRFail", Class::Failed),
    ("FailedOperation.InvalidCertificateSource", Class::Failed),
    ("FailedOperation.IllegalManagerStatus", Class::Failed),
    ("FailedOperation.MainDomainCertificateCountLimit", Class::Failed),
    ("FailedOperation.PackageNotFound", Class::Failed),
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
    // Unspecific failures.
    ("FailedOperation", Class::InDoubt),
    ("InternalError*", Class::InDoubt),
    ("ServiceUnavailable*", Class::InDoubt),
    ("ResourceUnavailable*", Class::InDoubt),
    ("ResourceInUse*", Class::InDoubt),
    ("ResourceInsufficient*", Class::InDoubt),
    ("ResponseSizeLimitExceeded", Class::InDoubt),
    ("DryRunOperation", Class::InDoubt),
];

/// The class of an error code. A code of an unknown family is in doubt: it may mean anything.
#[must_use]
pub fn classify_code(code: &str) -> Class {
    find(code).map_or(Class::InDoubt, |(_, class)| *class)
}

/// The label of a code in metrics: its row of the table, or `other` if the table doesn't list it. So the number of
/// labels is bounded.
#[must_use]
pub fn code_label(code: &str) -> &'static str {
    match find(code) {
        Some((pattern, _)) if *pattern != UNKNOWN_REFUSAL => pattern.trim_end_matches('*'),
        Some(_) | None => "other",
    }
}

/// Whether the table lists the code. The class of any other code is a guess from its family.
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
#[path = "errors_tests.rs"]
mod tests;
