//! The values of all sources, by their full keys: the environment's override the file's, which override the defaults.
//! Each has its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use config::{Config, Environment, Map, Source as _, Value, ValueKind};

use super::error::ConfigError;
use super::keys;
use super::settings::{KEYS, Settings};
use super::url;
use crate::escaping::printable;

/// Longer values are truncated in errors.
const LONGEST_VALUE: usize = 100;
/// So are longer reasons of the parser.
const LONGEST_REASON: usize = 300;

/// The origin of a value is its place, in words; a default has none.
pub(super) struct Values(BTreeMap<String, Value>);

impl Values {
    /// The defaults, overridden by a file's text, overridden by the variables of an environment.
    pub(super) fn collect(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let defaults: String = KEYS.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let environment = Some(environment.into_iter().collect());
        let variables = Environment::with_prefix("CERTCOMMIT").separator("__").source(environment);
        let variables = variables.collect().map_err(internal)?;
        let mut values = Self(by_key(from_toml(path, &defaults)?));
        values.override_by(from_toml(path, text)?, |_| format!("in {}", path.display()))?;
        values.override_by(variables, |key| format!("in the environment variable {}", keys::variable(key)))?;
        Ok(values)
    }

    fn override_by(&mut self, source: Map<String, Value>, place: impl Fn(&str) -> String) -> Result<(), ConfigError> {
        for (key, value) in by_key(source) {
            let place = place(&key);
            if !self.0.contains_key(&key) {
                return Err(ConfigError::UnknownKey { key: keys::shown(&key), place, hint: keys::hint(&key) });
            }
            self.0.insert(key, Value::new(Some(&place), value.kind));
        }
        Ok(())
    }

    /// Whether the file or the environment sets a key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| value.origin().is_some())
    }

    /// The values as settings.
    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        let mut builder = Config::builder();
        for (key, value) in &self.0 {
            builder = builder.set_override(key, value.clone()).map_err(internal)?;
        }
        builder.build().and_then(Config::try_deserialize).map_err(|error| {
            // The message of an error about a value says only what is expected.
            if let config::ConfigError::At { error, key: Some(key), .. } = error {
                self.invalid(&key, error.to_string())
            } else {
                internal(error)
            }
        })
    }

    /// Refuses a duration that is longer than another.
    pub(super) fn check_order(&self, shorter: (&str, Duration), longer: (&str, Duration)) -> Result<(), ConfigError> {
        if shorter.1 <= longer.1 {
            return Ok(());
        }
        Err(self.invalid(shorter.0, format!("at most `{}`, which is {}", longer.0, self.written(longer.0))))
    }

    fn invalid(&self, key: &str, expected: String) -> ConfigError {
        ConfigError::Invalid { key: key.to_owned(), written: self.written(key), expected }
    }

    /// A key's value and its place, as an error shows them.
    fn written(&self, key: &str) -> String {
        let Some(value) = self.0.get(key) else { return Default::default() };
        let is_text = matches!(value.kind, ValueKind::String(_));
        let shown = match value.clone().into_string() {
            Ok(text) if is_text => {
                let is_url = matches!(key, "api.endpoint" | "api.proxy");
                let text = if is_url { url::redacted(&text) } else { text };
                format!("\"{}\"", printable(&text, LONGEST_VALUE))
            }
            Ok(number) => number,
            Err(_) => "a table or a list".to_owned(),
        };
        format!("{shown} {}", value.origin().unwrap_or("by default"))
    }
}

/// The values of the keys in each section, by their full keys.
fn by_key(sections: Map<String, Value>) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (name, value) in sections {
        if let ValueKind::Table(section) = value.kind {
            values.extend(section.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
        } else {
            values.insert(name, value);
        }
    }
    values
}

/// Reads TOML. The parser's own error messages quote the text, which may hold a secret.
fn from_toml(path: &Path, text: &str) -> Result<Map<String, Value>, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let reason = format!("{} at line {}", error.message(), 1 + before.matches('\n').count());
        ConfigError::Syntax { path: path.to_owned(), reason: printable(&reason, LONGEST_REASON) }
    })
}

fn internal(error: config::ConfigError) -> ConfigError {
    ConfigError::Internal(error.to_string())
}
