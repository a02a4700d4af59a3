//! From values as written to typed ones: every refusal names the key, the value, and what would be right.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use config::ValueKind;
use jiff::SignedDuration;

use super::error::ConfigError;
use super::keys;
use super::sources::Given;

/// The longest duration of any setting. Nothing here is sensibly longer, and times that are added up stay
/// within what clocks and the database can express.
const LONGEST: Duration = Duration::from_secs(720 * 3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A value that is shown in an error is cut after this many characters.
const LONGEST_SHOWN: usize = 100;

/// The durations that a key may have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Span {
    /// More than nothing.
    Positive,
    /// At least this.
    AtLeast(Duration),
    /// Nothing, up to this.
    UpTo(Duration),
}

impl Span {
    fn contains(self, duration: Duration) -> bool {
        match self {
            Self::Positive => !duration.is_zero() && duration <= LONGEST,
            Self::AtLeast(least) => (least..=LONGEST).contains(&duration),
            Self::UpTo(most) => duration <= most,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Positive => write!(f, "more than 0s and at most {}", friendly(LONGEST)),
            Self::AtLeast(least) => write!(f, "from {} to {}", friendly(*least), friendly(LONGEST)),
            Self::UpTo(most) => write!(f, "from 0s to {}", friendly(*most)),
        }
    }
}

/// All values, by their full keys.
#[derive(Debug)]
pub(super) struct Values(pub(super) BTreeMap<String, Given>);

impl Values {
    /// Whether somebody set the key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|given| given.place.is_some())
    }

    /// A whole number.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        let number = if let ValueKind::I64(number) = self.value(key)? { u32::try_from(*number).ok() } else { None };
        let fits = number.filter(|number| range.contains(number));
        fits.ok_or_else(|| self.invalid(key, &format!("a whole number from {} to {}", range.start(), range.end())))
    }

    /// A duration.
    pub(super) fn duration(&self, key: &'static str, span: Span) -> Result<Duration, ConfigError> {
        let duration = text(self.value(key)?).and_then(|text| text.parse::<SignedDuration>().ok());
        let fits =
            duration.and_then(|duration| Duration::try_from(duration).ok()).filter(|duration| span.contains(*duration));
        fits.ok_or_else(|| self.invalid(key, &format!("a duration such as \"30s\", \"5m\" or \"25ms\", {span}")))
    }

    /// So many days, as `"90d"`; none for `"off"`.
    pub(super) fn days_or_off(
        &self,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<Duration>, ConfigError> {
        let text = text(self.value(key)?).map(str::trim);
        if text == Some("off") {
            return Ok(None);
        }
        let days = text.and_then(|text| text.strip_suffix('d')?.trim_end().parse::<u32>().ok());
        let fits = days.filter(|days| range.contains(days)).map(|days| DAY * days);
        let wanted = || format!("\"off\", or days such as \"90d\", from {}d to {}d", range.start(), range.end());
        fits.map(Some).ok_or_else(|| self.invalid(key, &wanted()))
    }

    /// One of several names.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Result<T, ConfigError> {
        let chosen = text(self.value(key)?).and_then(|text| all.iter().copied().find(|choice| name(*choice) == text));
        let names: Vec<&str> = all.iter().copied().map(name).collect();
        chosen.ok_or_else(|| self.invalid(key, &format!("one of {}", keys::listed(&names))))
    }

    /// A text, which may be empty.
    pub(super) fn text(&self, key: &'static str) -> Result<String, ConfigError> {
        let text = text(self.value(key)?).filter(|text| !text.contains('\0'));
        text.map(str::to_owned).ok_or_else(|| self.invalid(key, "a text"))
    }

    /// A text that isn't empty.
    pub(super) fn some_text(&self, key: &'static str, wanted: &str) -> Result<String, ConfigError> {
        match self.text(key) {
            Ok(text) if !text.is_empty() => Ok(text),
            _ => Err(self.invalid(key, wanted)),
        }
    }

    /// Refuses a duration that is longer than another.
    pub(super) fn ordered(
        &self,
        shorter: (&'static str, Duration),
        longer: (&'static str, Duration),
    ) -> Result<(), ConfigError> {
        if shorter.1 <= longer.1 {
            return Ok(());
        }
        let (value, place) = self.shown(longer.0);
        Err(self.invalid(shorter.0, &format!("at most `{}`, which is {value} {place}", longer.0)))
    }

    /// The refusal of a value.
    pub(super) fn invalid(&self, key: &'static str, wanted: &str) -> ConfigError {
        let (value, place) = self.shown(key);
        ConfigError::Invalid { key, value, place, wanted: wanted.to_owned() }
    }

    fn value(&self, key: &'static str) -> Result<&ValueKind, ConfigError> {
        let given = self.0.get(key).ok_or_else(|| ConfigError::Internal(format!("`{key}` has no default")))?;
        Ok(&given.value)
    }

    fn shown(&self, key: &str) -> (String, String) {
        let given = self.0.get(key);
        let place = given.and_then(|given| given.place.clone()).unwrap_or_else(|| "by default".to_owned());
        (given.map(|given| shown(key, &given.value)).unwrap_or_default(), place)
    }
}

fn text(value: &ValueKind) -> Option<&str> {
    if let ValueKind::String(text) = value { Some(text) } else { None }
}

/// A value as an error shows it.
fn shown(key: &str, value: &ValueKind) -> String {
    if let ValueKind::Array(_) = value {
        return "a list".to_owned();
    }
    let Some(text) = text(value) else { return value.to_string() };
    let text = match key {
        "api.endpoint" => super::endpoint::redacted(text),
        "api.proxy" => super::proxy::redacted(text),
        _ => text.to_owned(),
    };
    let shortened: String = text.chars().take(LONGEST_SHOWN).collect();
    let more = if shortened.len() < text.len() { "…" } else { "" };
    format!("{shortened:?}{more}")
}

/// Days, or none, as people write them.
pub(super) fn days(kept: Option<Duration>) -> String {
    kept.map_or_else(|| "off".to_owned(), |kept| format!("{}d", kept.as_secs() / DAY.as_secs()))
}

/// A duration as people write it.
pub(super) fn friendly(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |duration| format!("{duration:#}"))
}
