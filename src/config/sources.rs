//! The three layers of a configuration: defaults, file, environment, each over the one before. A key that
//! doesn't exist is refused here, whichever layer it comes from.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Config, File, FileFormat, Map, Source, Value, ValueKind};

use super::error::ConfigError;
use super::keys::{self, KEYS};
use crate::escaping::printable;

/// A parser's reason that is longer than this many characters repeats the text.
const LONGEST_REASON: usize = 300;

/// The position of a number is looked for in so many lines: no configuration has more.
const MOST_LINES: usize = 1000;

/// A setting as it was written.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// The value.
    pub(super) value: ValueKind,
    /// Where it stood, in words; none for a default.
    pub(super) place: Option<String>,
}

/// The values of one layer, by their full keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// The built-in values.
pub(super) fn defaults() -> Result<Layer, ConfigError> {
    let text: String = KEYS.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    from_toml(&text, None).map_err(|fault| match fault {
        Fault::Syntax(reason) => ConfigError::Internal(reason),
        Fault::Config(error) => error,
    })
}

/// The values of a file.
pub(super) fn file(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let place = format!("in {}", path.display());
    from_toml(text, Some(&place)).map_err(|fault| match fault {
        Fault::Syntax(reason) => ConfigError::Syntax { path: path.to_owned(), reason },
        Fault::Config(error) => error,
    })
}

/// The values of the variables that start with the prefix, in whichever case: a name that is nearly right
/// is an error too, not a setting that silently doesn't apply.
pub(super) fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<Layer, ConfigError> {
    let prefix = super::VARIABLE_PREFIX;
    let ours = |name: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let variables: BTreeMap<String, String> = variables.into_iter().filter(|(name, _)| ours(name)).collect();
    let mut values = Map::new();
    for (name, text) in variables {
        let place = format!("in the environment variable {}", keys::shown(&name));
        let Some((key, default)) = KEYS.iter().find(|(key, _)| keys::variable(key) == name) else {
            let key = name[prefix.len()..].replace("__", ".").to_ascii_lowercase();
            let named = KEYS.iter().find(|(known, _)| *known == key);
            let hint = named.map_or_else(|| keys::hint(&key), |_| format!("write it as {}", keys::variable(&key)));
            return Err(ConfigError::UnknownKey { key: keys::shown(&key), place, hint });
        };
        // A variable is always text; what it means depends on the key.
        let is_number = !default.starts_with('"');
        let value = match text.parse::<i64>() {
            Ok(number) if is_number => ValueKind::I64(number),
            _ => ValueKind::String(text),
        };
        values.insert((*key).to_owned(), Value::new(Some(&place), value));
    }
    Ok(Layer(values))
}

/// Lays each layer over the one before.
pub(super) fn merge(layers: impl IntoIterator<Item = Layer>) -> Result<BTreeMap<String, Given>, ConfigError> {
    let internal = |error: config::ConfigError| ConfigError::Internal(error.to_string());
    let builder = layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(layer));
    let sections = builder.build().and_then(|merged| merged.collect()).map_err(internal)?;
    let mut given = BTreeMap::new();
    for (section, values) in sections {
        for (name, value) in values.into_table().map_err(internal)? {
            let place = value.origin().map(str::to_owned);
            given.insert(format!("{section}.{name}"), Given { value: value.kind, place });
        }
    }
    Ok(given)
}

enum Fault {
    Syntax(String),
    Config(ConfigError),
}

fn from_toml(text: &str, place: Option<&String>) -> Result<Layer, Fault> {
    let parsed = parse(text).map_err(|reason| Fault::Syntax(with_position(reason, text)))?;
    let in_place = || place.cloned().unwrap_or_default();
    let unknown = |key: &str| {
        Fault::Config(ConfigError::UnknownKey { key: keys::shown(key), place: in_place(), hint: keys::hint(key) })
    };
    let mut values = Map::new();
    // Sorted, so that of several mistakes it is always the same one that is named.
    for (section, value) in parsed.into_iter().collect::<BTreeMap<_, _>>() {
        let ValueKind::Table(table) = value.kind else { return Err(unknown(&section)) };
        if table.is_empty() && keys::keys_of(&section).is_empty() {
            return Err(unknown(&section));
        }
        for (name, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
            let key = format!("{section}.{name}");
            let Some((key, _)) = KEYS.iter().find(|(known, _)| *known == key) else { return Err(unknown(&key)) };
            // Merged with other layers, a table would lose its place.
            if let ValueKind::Table(_) = value.kind {
                let (value, wanted) = ("a table".to_owned(), "a single value".to_owned());
                return Err(Fault::Config(ConfigError::Invalid { key, value, place: in_place(), wanted }));
            }
            values.insert((*key).to_owned(), Value::new(place, value.kind));
        }
    }
    Ok(Layer(values))
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    File::from_str(text, FileFormat::Toml).collect().map_err(|error| without_excerpt(&error))
}

/// Where and why the text isn't TOML, without the excerpt that the parser puts between the two.
fn without_excerpt(error: &config::ConfigError) -> String {
    let text = error.to_string();
    let excerpt = |line: &str| {
        let margin = line.split_once('|').map(|(margin, _)| margin.trim());
        margin.is_some_and(|margin| margin.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !excerpt(line)).collect();
    printable(&lines.join(": "), LONGEST_REASON)
}

/// The reason with its position. Of a number that is out of range the parser doesn't say where it stands: in the first
/// line up to which the text can't be read for that reason.
fn with_position(reason: String, text: &str) -> String {
    if reason.contains(" at line ") {
        return reason;
    }
    let ends = text.match_indices('\n').map(|(at, _)| at).chain([text.len()]).take(MOST_LINES);
    let line = ends.enumerate().find(|(_, end)| parse(&text[..*end]).is_err_and(|other| other == reason));
    line.map_or_else(|| reason.clone(), |(index, _)| format!("{reason} at line {}", index + 1))
}
