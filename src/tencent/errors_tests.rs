use super::*;

/// The codes in the published SDK (`tencentcloud-sdk-python-ssl` 3.1.145) that a commit may get, by class.
/// `tests/soak/error-codes` compares them with the newest SDK.
const SDK: &[(Class, &str)] = &[
    (Class::Retry, "FailedOperation.NetworkError"),
    (Class::BackendError, "InternalError.BackendResponseError"),
    (Class::Throttled, "LimitExceeded.RateLimitExceeded"),
    (
        Class::StatusRefused,
        "FailedOperation.CertificateNotFoundOrAudited FailedOperation.CertificateStatusNotAllowResubmit \
         FailedOperation.InvalidCertificateStatusCode InvalidParameter.CertificateStatusNotAllowResubmit",
    ),
    (
        Class::Denied,
        "AuthFailure.UnauthorizedOperation FailedOperation.AuthError FailedOperation.CAMAuthorizedFail \
         FailedOperation.CertificateWhiteFuncError FailedOperation.ExceedsFreeLimit \
         FailedOperation.NoProjectPermission FailedOperation.PackageCountLimit FailedOperation.PackageExpired \
         FailedOperation.RoleNotFoundAuthorization UnauthorizedOperation",
    ),
    (Class::Account, "AuthFailure FailedOperation.NoRealNameAuth"),
    (
        Class::InDoubt,
        "FailedOperation FailedOperation.CancelAuditCertificateFailed FailedOperation.CancelOrderFailed \
         FailedOperation.CannotGetOrder FailedOperation.CertificateCaError FailedOperation.CertificateExists \
         FailedOperation.CertificateOrderSubmitProcessing FailedOperation.OrderAlreadyReplaced \
         FailedOperation.OrderReplaceFailed FailedOperation.SystemError FailedOperation.TradeError InternalError \
         InternalError.BackendResponseEmpty",
    ),
    (
        Class::Failed,
        "FailedOperation.CertificateCsrParseFailed FailedOperation.CertificateInfoSubmitContactEmailEmpty \
         FailedOperation.CertificateInfoSubmitDomainInvalid FailedOperation.CertificateInfoSubmitStatusInvalid \
         FailedOperation.CertificateInvalid FailedOperation.CertificateNotAvailable \
         FailedOperation.CertificateNotFound FailedOperation.CertificateOrderSubmitRootCAInvalid \
         FailedOperation.CertificatePreVerifyEmailInvalid FailedOperation.CertificateSubmitHostingCertError \
         FailedOperation.CertificateTypeInfoNotFound FailedOperation.GenCSRFail FailedOperation.IllegalManagerStatus \
         FailedOperation.InvalidCertificateSource FailedOperation.InvalidParam \
         FailedOperation.MainDomainCertificateCountLimit FailedOperation.PackageNotFound InvalidParameter \
         InvalidParameter.CertificateIdNumberLimit InvalidParameter.CertificatesNumberExceeded \
         InvalidParameter.ContainsInvalidCertificateId InvalidParameter.DomainCountInvalid \
         InvalidParameter.DomainInvalid InvalidParameter.MissMatchPrivateKey InvalidParameter.PackageIdsInvalid \
         InvalidParameter.PeriodInvalid InvalidParameter.ProductPidInvalid InvalidParameter.RegionNotEmpty \
         InvalidParameter.RenewAlgorithmInvalid InvalidParameter.RenewCsrInvalid \
         InvalidParameter.RenewGenCsrMethodInvalid InvalidParameter.WithDetailReason InvalidParameterValue \
         InvalidParameterValue.CertificateDomainMaxLengthInvalid InvalidParameterValue.CertificateEmailParseInvalid \
         InvalidParameterValue.IntermediateCertNotSame MissingParameter ResourceNotFound.Manager UnknownParameter",
    ),
];

/// The rest of that list: subcodes of `FailedOperation` of the actions that delete, revoke, download, deploy, upload
/// and verify. If a commit got one, the class of its family would apply.
const SDK_OTHER_ACTIONS: &str = "BoundResources CannotBeDeletedIssued CannotBeDeletedWithinHour CertificateCancelFailedMulti \
     CertificateChainError CertificateDeployDetailRollbackStatusInvalid CertificateDeployHasPendingRecord \
     CertificateDeployInstanceEmpty CertificateDeployInstanceFormatError CertificateDeployNotExist \
     CertificateDeployRetryStatusInvalid CertificateDeployRollbackStatusInvalid \
     CertificateDownloadServiceTypeNotSupport CertificateEncryptInvalid CertificateHostDeployCanNotAllow \
     CertificateHostResourceInnerInterrupt CertificateHostResourceInstanceHugeLimit \
     CertificateHostResourceTypeInvalid CertificateMatchError CertificateMismatch CertificateNotAllowDownload \
     CertificateNotDeployInstance CertificateNotFoundOrCantCancel CertificateParseError \
     CertificateStatusNotAllowDownload CertificateStatusNotAllowVerify CertificateSyncTaskCertificateIdCountInvalid \
     CertificateSyncTaskIdInvalid ConfirmLetterTooLarge ConfirmLetterTooSmall DeleteFailedTimeNotUp \
     DeleteResourceFailed FileTooLarge FileTooSmall InvalidConfirmLetterFormat InvalidConfirmLetterFormatWosign \
     InvalidFileType ManagerCanNotDeleteCa ManagerCanNotDeleteCert RenewNotIssued RevokeFailed RevokeResourceFailed \
     UploadConfirmCertificateNotSupport UploadConfirmCertificateNotSupportDV";

/// The number of codes in the SDK.
const SDK_COUNT: usize = 115;

#[test]
fn every_code_of_the_published_sdk_has_its_class() {
    let own: Vec<(Class, String)> =
        SDK.iter().flat_map(|(class, codes)| codes.split_whitespace().map(|code| (*class, code.to_owned()))).collect();
    let other: Vec<String> =
        SDK_OTHER_ACTIONS.split_whitespace().map(|code| format!("FailedOperation.{code}")).collect();
    for (class, code) in &own {
        assert_eq!(classify_code(code), *class, "{code}");
        assert!(is_known(code), "{code}");
    }
    for code in &other {
        assert!(classify_code(code) == Class::Failed && !is_known(code), "{code}");
    }
    let all: std::collections::BTreeSet<&String> = own.iter().map(|(_, code)| code).chain(&other).collect();
    assert_eq!(all.len(), SDK_COUNT);
}

#[test]
fn a_metric_labels_a_code_by_its_row_of_the_table_and_unknown_ones_as_other() {
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
