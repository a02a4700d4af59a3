//! Reads the values of keys. The message of an error says only what is expected; the caller adds the rest.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::de::{Deserialize as _, Deserializer, Error as _};

use super::endpoint;
use super::names::Days;
use super::proxy::{self, ProxySetting};
use super::show::Show as _;
use crate::named_enum::UnknownName;

/// In milliseconds.
pub(super) const SECOND: u64 = 1000;
/// In milliseconds. No setting is sensibly longer, and sums stay within what clocks and the database can express.
pub(super) const LONGEST: u64 = 720 * 3600 * SECOND;

/// The longest name of a role.
const LONGEST_ROLE: usize = 128;

/// Reads a text, or a number as if it were one.
fn read<'de, T, E: Display, D: Deserializer<'de>>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer).map_err(|_| D::Error::custom("a single value"))?;
    if text.contains('\0') {
        return Err(D::Error::custom("a text without NUL"));
    }
    parse(&text).map_err(D::Error::custom)
}

/// A whole number.
pub(super) fn whole<'de, const MIN: u32, const MAX: u32, T: TryFrom<u32>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let parse = |text: &str| text.parse().ok().filter(|number| (MIN..=MAX).contains(number))?.try_into().ok();
    read(deserializer, |text| parse(text).ok_or_else(|| format!("a whole number from {MIN} to {MAX}")))
}

/// A duration with a unit.
pub(super) fn duration<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    read(deserializer, |text| bounded::<MIN, MAX>(text).ok_or_else(expected_duration::<MIN, MAX>))
}

/// A duration with a unit; `None` for `off`.
pub(super) fn optional_duration<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    read(deserializer, |text| match text {
        "off" => Ok(None),
        text => bounded::<MIN, MAX>(text)
            .map(Some)
            .ok_or_else(|| format!("\"off\", or {}", expected_duration::<MIN, MAX>())),
    })
}

fn bounded<const MIN: u64, const MAX: u64>(text: &str) -> Option<Duration> {
    let duration = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
    (Duration::from_millis(MIN)..=Duration::from_millis(MAX)).contains(&duration).then_some(duration)
}

fn expected_duration<const MIN: u64, const MAX: u64>() -> String {
    let [min, max] = [MIN, MAX].map(|limit| Duration::from_millis(limit).shown());
    format!("a duration such as \"30s\", \"5m\" or \"25ms\", from {min} to {max}")
}

/// Days, as in `90d`; `None` for `off`.
pub(super) fn days<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Days>, D::Error> {
    let days = |text: &str| text.strip_suffix('d')?.parse().ok().filter(|days| (MIN..=MAX).contains(days)).map(Days);
    let expected = || format!("\"off\", or days such as \"90d\", from {MIN}d to {MAX}d");
    read(deserializer, |text| match text {
        "off" => Ok(None),
        text => days(text).map(Some).ok_or_else(expected),
    })
}

/// One of an enum's names.
pub(super) fn choice<'de, T: FromStr<Err = UnknownName>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let expected = |unknown: UnknownName| format!("one of {}", unknown.expected().join(", "));
    read(deserializer, |text| text.parse().map_err(expected))
}

/// A text that isn't empty.
pub(super) fn text<'de, T: From<String>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    read(deserializer, |text| non_empty(text).map(T::from).ok_or("a text that isn't empty"))
}

/// The path of a file, or nothing.
pub(super) fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    read(deserializer, |text| Ok::<_, &str>(non_empty(text).map(PathBuf::from)))
}

/// The name of a role, or nothing.
pub(super) fn optional_role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let is_possible = |text: &str| text.is_empty() || is_role_name(text);
    let expected = "the name of a role, of letters, digits and _ - . + = , @";
    read(deserializer, |text| is_possible(text).then(|| non_empty(text)).ok_or(expected))
}

/// Whether a role can have this name. It becomes part of a URL's path.
#[must_use]
pub fn is_role_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.+=,@".contains(&byte);
    (1..=LONGEST_ROLE).contains(&text.len()) && text.bytes().all(fits) && !text.bytes().all(|byte| byte == b'.')
}

/// The URL of the API.
pub(super) fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read(deserializer, endpoint::parse)
}

/// The proxy to the API.
pub(super) fn proxy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ProxySetting, D::Error> {
    read(deserializer, |text| ProxySetting::parse(text).ok_or(proxy::EXPECTED))
}

/// An address and port, or nothing.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    read(deserializer, |text| match text {
        "" => Ok(None),
        text => address_to_listen(text).map(Some).map_err(|expected| format!("{expected}, or \"\" for none")),
    })
}

/// Reads an address and port. A port alone listens on loopback, which other machines can't reach.
///
/// # Errors
/// What is expected.
pub fn address_to_listen(text: &str) -> Result<SocketAddr, &'static str> {
    let on_loopback = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, text.parse().ok()?)));
    let expected = "an address and port such as \"127.0.0.1:9437\", or a port alone for loopback";
    on_loopback().or_else(|| text.parse().ok()).ok_or(expected)
}

fn non_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
