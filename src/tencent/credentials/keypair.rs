//! From values as found to credentials: both halves, and nothing in them that no key has.

use std::time::Duration;

use tokio::time::Instant;

use super::{Credentials, CredentialsError, Source};
use crate::clock::{Now, UnixMillis};

/// Keys that claim to be good for longer are taken to be good for this long. The vendor's live for hours.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Credentials from what was found for the ID, the key and the token. Blanks around a value are no part of it, and a
/// blank value is none. Without either half there are none.
///
/// # Errors
/// When one half is missing, or a value can't be right. `names` are what people call the halves there. No error shows a
/// value.
pub(super) fn assemble(
    secret_id: Option<String>,
    secret_key: Option<String>,
    token: Option<String>,
    names: (&str, &str),
    place: &Source,
) -> Result<Option<Credentials>, CredentialsError> {
    let check = |name: &str, value: &str| match flaw(value) {
        Some(flaw) => Err(CredentialsError::unusable(place, format!("{name} {flaw}"))),
        None => Ok(()),
    };
    match (given(secret_id), given(secret_key)) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(CredentialsError::unusable(place, format!("{} is missing", names.1))),
        (None, Some(_)) => Err(CredentialsError::unusable(place, format!("{} is missing", names.0))),
        (Some(secret_id), Some(secret_key)) => {
            let token = given(token);
            check(names.0, &secret_id)?;
            check(names.1, &secret_key)?;
            token.as_deref().map_or(Ok(()), |token| check("the token", token))?;
            Ok(Some(Credentials { secret_id, secret_key: secret_key.into(), token: token.map(Into::into) }))
        }
    }
}

/// Until when temporary keys are good, by the monotonic clock; none if they no longer are.
pub(super) fn good_until(expires: UnixMillis, now: Now) -> Option<Instant> {
    let left = u64::try_from(expires.0.saturating_sub(now.unix.0)).ok().filter(|left| *left > 0)?;
    Some(now.instant + Duration::from_millis(left).min(LONGEST_LIFE))
}

/// The value without blanks around it, if anything is left.
pub(super) fn given(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Why a value can't be right, without the value.
pub(super) fn flaw(value: &str) -> Option<&'static str> {
    let quoted = |quote| value.starts_with(quote) || value.ends_with(quote);
    if quoted('"') || quoted('\'') {
        return Some("stands in quotes; write it without");
    }
    (!value.bytes().all(|byte| byte.is_ascii_graphic())).then_some("has characters that no key has")
}
