//! What the gateway checks before it lets a request through.
//!
//! All names are written out here rather than taken from the client: a simulator that shares the client's mistakes finds none.
//! The signature is the exception, since tests compare it with published answers.

use axum::http::HeaderMap;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::submission::VerifyType;
use crate::tencent::{CanonicalRequest, Scope, authorization};

pub(super) const COMMIT: &str = "CommitCertificateInformation";
pub(super) const ORDER_SUBMIT: &str = "CertificateOrderSubmit";
pub(super) const DESCRIBE: &str = "DescribeCertificate";
pub(super) const LIST: &str = "DescribeCertificates";
/// The most certificates in one list.
const MOST_IN_A_LIST: usize = 1000;
const VERSION: &str = "2019-12-05";
const SERVICE: &str = "ssl";
/// How far the client's clock may be off, in seconds.
const MAX_CLOCK_SKEW: u64 = 300;

/// The credentials of an account.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) secret_id: String,
    pub(super) secret_key: String,
    pub(super) temporary: Vec<Temporary>,
}

/// Temporary credentials of an account.
#[derive(Debug, Clone)]
pub(super) struct Temporary {
    pub(super) secret_id: String,
    pub(super) secret_key: String,
    pub(super) token: String,
    /// When they expire, in unix seconds.
    pub(super) expires: i64,
    /// Whether they have signed a request that was accepted.
    pub(super) used: bool,
}

impl Account {
    /// The key that belongs to an ID. Temporary credentials need their token, and must not have expired.
    fn key_of(&self, secret_id: &str, token: Option<&str>, unix_seconds: i64) -> Result<&str, &'static str> {
        if secret_id == self.secret_id {
            return Ok(&self.secret_key);
        }
        let temporary = self.temporary.iter().find(|keys| keys.secret_id == secret_id);
        let keys = temporary.ok_or("AuthFailure.SecretIdNotFound")?;
        let good = token == Some(&keys.token) && unix_seconds < keys.expires;
        if good { Ok(&keys.secret_key) } else { Err("AuthFailure.TokenFailure") }
    }

    /// Records that a request signed with this ID was accepted.
    pub(super) fn mark_used(&mut self, secret_id: &str) {
        self.temporary.iter_mut().filter(|keys| keys.secret_id == secret_id).for_each(|keys| keys.used = true);
    }
}

/// A request, parsed as far as possible.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    headers: &'a HeaderMap,
    body: &'a [u8],
    parameters: Option<Map<String, Value>>,
}

/// The operation that a valid request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// A commit with the older action.
    Commit,
    /// A commit with the newer action.
    OrderSubmit,
    /// A read.
    Describe,
    /// A read of many certificates, without their orders.
    List,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        Self { headers, body, parameters: serde_json::from_slice(body).ok() }
    }

    pub(super) fn action(&self) -> &'a str {
        self.header("x-tc-action").unwrap_or_default()
    }

    /// The secret ID that it claims to be signed with.
    pub(super) fn secret_id(&self) -> Option<&'a str> {
        credential_and_signed_headers(self.header("authorization")?).map(|(secret_id, _)| secret_id)
    }

    pub(super) fn certificate_id(&self) -> Option<&str> {
        self.text("CertificateId").or_else(|| self.text("CertId"))
    }

    /// The certificates that it lists; at most `Limit` of them, which is 20 by default.
    pub(super) fn listed(&self) -> Vec<&str> {
        let parameter = |name: &str| self.parameters.as_ref().and_then(|parameters| parameters.get(name));
        let limit =
            parameter("Limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(20);
        let ids = parameter("CertIds").and_then(Value::as_array).into_iter().flatten();
        ids.filter_map(Value::as_str).take(limit).collect()
    }

    pub(super) fn verify_type(&self) -> Option<&str> {
        self.text("VerifyType")
    }

    /// Checks version, action, account, signature and parameters.
    ///
    /// # Errors
    /// The error code of the refusal.
    pub(super) fn check(&self, account: &Account, unix_seconds: i64) -> Result<Operation, &'static str> {
        if self.header("x-tc-version").ok_or("MissingParameter")? != VERSION {
            return Err("NoSuchVersion");
        }
        let operation = match self.action() {
            COMMIT => Operation::Commit,
            ORDER_SUBMIT => Operation::OrderSubmit,
            DESCRIBE => Operation::Describe,
            LIST => Operation::List,
            "" => return Err("MissingParameter"),
            _ => return Err("InvalidAction"),
        };
        self.check_signature(account, unix_seconds)?;
        self.check_parameters(operation)?;
        Ok(operation)
    }

    fn check_signature(&self, account: &Account, unix_seconds: i64) -> Result<(), &'static str> {
        let claimed = self.header("authorization").ok_or("AuthFailure.InvalidAuthorization")?;
        let (secret_id, names) = credential_and_signed_headers(claimed).ok_or("AuthFailure.InvalidAuthorization")?;
        let timestamp = self.header("x-tc-timestamp").ok_or("MissingParameter")?;
        let timestamp: i64 = timestamp.parse().map_err(|_| "InvalidParameter")?;
        if timestamp.abs_diff(unix_seconds) > MAX_CLOCK_SKEW {
            return Err("AuthFailure.SignatureExpire");
        }
        let key = account.key_of(secret_id, self.header("x-tc-token"), unix_seconds)?;
        let signed: Vec<(&str, &str)> =
            names.split(';').map(|name| (name, self.header(name).unwrap_or_default())).collect();
        let covers = |header: &str| signed.iter().any(|(name, _)| *name == header);
        if !covers("content-type") || !covers("host") {
            return Err("AuthFailure.InvalidAuthorization");
        }
        let key = SecretString::from(key.to_owned());
        let scope = Scope { service: SERVICE, timestamp };
        let expected = authorization(secret_id, &key, &scope, &CanonicalRequest { headers: &signed, body: self.body });
        if claimed == expected { Ok(()) } else { Err("AuthFailure.SignatureFailure") }
    }

    fn check_parameters(&self, operation: Operation) -> Result<(), &'static str> {
        let parameters = self.parameters.as_ref().ok_or("InvalidParameter")?;
        let (id_name, others): (&str, &[&str]) = match operation {
            Operation::Commit => ("CertificateId", &["VerifyType"]),
            Operation::OrderSubmit => ("CertId", &["VerifyType", "DeleteDnsAutoRecord"]),
            Operation::Describe => ("CertificateId", &[]),
            Operation::List => return check_list(parameters),
        };
        if parameters.keys().any(|name| name != id_name && !others.contains(&name.as_str())) {
            return Err("UnknownParameter");
        }
        let id = parameters.get(id_name).ok_or("MissingParameter")?;
        if id.as_str().is_none_or(str::is_empty) {
            return Err("InvalidParameter");
        }
        match parameters.get("VerifyType").map(Value::as_str) {
            None => Ok(()),
            Some(Some(name)) if name.parse::<VerifyType>().is_ok() => Ok(()),
            Some(_) => Err("FailedOperation.InvalidParam"),
        }
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn text(&self, parameter: &str) -> Option<&str> {
        self.parameters.as_ref()?.get(parameter)?.as_str()
    }
}

fn check_list(parameters: &Map<String, Value>) -> Result<(), &'static str> {
    if parameters.keys().any(|name| !["CertIds", "Limit", "Offset"].contains(&name.as_str())) {
        return Err("UnknownParameter");
    }
    let ids = parameters.get("CertIds").and_then(Value::as_array).ok_or("InvalidParameter")?;
    let limit = parameters.get("Limit").map_or(Some(0), Value::as_u64);
    let fits =
        ids.len() <= MOST_IN_A_LIST && ids.iter().all(Value::is_string) && limit.is_some_and(|limit| limit <= 1000);
    if fits { Ok(()) } else { Err("InvalidParameterValue") }
}

/// From `TC3-HMAC-SHA256 Credential=ID/date/service/tc3_request, SignedHeaders=…, Signature=…`: the ID and the headers.
fn credential_and_signed_headers(authorization: &str) -> Option<(&str, &str)> {
    let (credential, rest) =
        authorization.strip_prefix("TC3-HMAC-SHA256 Credential=")?.split_once(", SignedHeaders=")?;
    let (names, _) = rest.split_once(", Signature=")?;
    let (secret_id, _) = credential.split_once('/')?;
    Some((secret_id, names))
}
