//! Credentials, checked: both halves are present, and every character is one that a key can have.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use crate::clock::{Now, UnixMillis};

/// Longer lifetimes are capped to this. The vendor's temporary credentials last for hours.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A key pair, and a token if it is temporary. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Public: every request carries it.
    pub secret_id: String,
    /// Never leaves the process.
    pub secret_key: SecretString,
    /// The token of a temporary key pair.
    pub token: Option<SecretString>,
}

impl Credentials {
    /// Whether these are the same credentials.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.secret_id == other.secret_id
            && self.secret_key.expose_secret() == other.secret_key.expose_secret()
            && self.exposed_token() == other.exposed_token()
    }

    fn exposed_token(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.expose_secret())
    }

    /// Credentials from the values found, or `None` if both halves are missing. Whitespace around a value is dropped, and
    /// an empty value counts as missing.
    ///
    /// # Errors
    /// What is wrong: half of the pair is missing, or a value is invalid. `names` are the provider's names of the two
    /// halves. No error shows a value.
    pub(super) fn assemble(
        secret_id: Option<String>,
        secret_key: Option<String>,
        token: Option<String>,
        names: (&str, &str),
    ) -> Result<Option<Self>, String> {
        match (non_blank(secret_id), non_blank(secret_key)) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(format!("{} is missing", names.0)),
            (Some(_), None) => Err(format!("{} is missing", names.1)),
            (Some(secret_id), Some(secret_key)) => {
                let token = non_blank(token);
                check(names.0, &secret_id)?;
                check(names.1, &secret_key)?;
                check("the token", token.as_deref().unwrap_or_default())?;
                Ok(Some(Self { secret_id, secret_key: secret_key.into(), token: token.map(Into::into) }))
            }
        }
    }
}

/// When temporary credentials expire, by the monotonic clock; `None` if they already have.
pub(super) fn good_until(expires: UnixMillis, now: Now) -> Option<Instant> {
    let left = u64::try_from(expires.0.saturating_sub(now.unix.0)).ok().filter(|left| *left > 0)?;
    Some(now.instant + Duration::from_millis(left).min(LONGEST_LIFE))
}

/// The value without whitespace around it, unless nothing is left.
pub(super) fn non_blank(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Checks a value. The error doesn't show it.
fn check(name: &str, value: &str) -> Result<(), String> {
    let quoted = |quote| value.starts_with(quote) || value.ends_with(quote);
    if quoted('"') || quoted('\'') {
        return Err(format!("{name} is in quotes; remove them"));
    }
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(format!("{name} has characters that a key can't have"))
    }
}
