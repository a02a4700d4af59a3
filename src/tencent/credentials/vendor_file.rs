//! The vendor's credentials file: INI, with a section for each profile.

use std::path::{Path, PathBuf};

use super::error::CredentialsError;
use super::keypair::Credentials;
use super::secret_file::{read, text};
use super::source::{Lookup, Source};
use super::tccli_file;
use crate::escaping::printable;

const SYSTEM_FILE: &str = "/etc/tencentcloud/credentials";
const SECRET_ID: &str = "secret_id";
const SECRET_KEY: &str = "secret_key";
const TOKEN: &str = "token";

/// A message about a missing section names at most this many others, each truncated to this many characters.
const SECTIONS_SHOWN: usize = 5;
const LONGEST_SECTION: usize = 64;

/// Where the vendor's tools lookup: the user's own file, then the system's.
pub(super) fn paths(home: Option<&Path>) -> Vec<PathBuf> {
    let own = home.map(|home| home.join(".tencentcloud/credentials"));
    own.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect()
}

pub(super) fn lookup(path: &Path, profile: &str) -> Result<Lookup, CredentialsError> {
    let source = Source::File(path.to_owned());
    let Some(text) = read(path)? else {
        return Ok(Lookup::Nothing("there is no such file".to_owned()));
    };
    if tccli_file::is_json(&text) {
        return tccli_file::from_json(&text, source);
    }
    Lookup::lasting(from_section(&text, profile), source, why_nothing(&text, profile))
}

/// The credentials in a file of the vendor's format: `secret_id`, `secret_key` and perhaps `token` in the profile's
/// section; `None` if the section has none of them. A byte order mark and both kinds of line endings are accepted.
///
/// # Errors
/// When the text isn't UTF-8, half of the pair is missing, or a name or value is invalid. No error shows a value.
pub fn parse_credentials(
    bytes: &[u8],
    profile: &str,
    source: &Source,
) -> Result<Option<Credentials>, CredentialsError> {
    from_section(text(bytes, source)?, profile).map_err(|problem| CredentialsError::unusable(source, problem))
}

fn from_section(text: &str, profile: &str) -> Result<Option<Credentials>, String> {
    let in_section = || entries(text).filter(|entry| entry.section == Some(profile));
    let value = |name| match in_section().find(|entry| entry.is(name)) {
        Some(entry) => Ok(Some(entry.value.to_owned())),
        None => match in_section().find(|entry| entry.means(name)) {
            Some(entry) => Err(format!("{}: write {name} = …", entry.name)),
            None => Ok(None),
        },
    };
    Credentials::assemble(value(SECRET_ID)?, value(SECRET_KEY)?, value(TOKEN)?, (SECRET_ID, SECRET_KEY))
}

/// Why a file has no credentials for a profile.
fn why_nothing(text: &str, profile: &str) -> String {
    let sections = || text.lines().map(str::trim).filter_map(section_name);
    let others: Vec<String> =
        sections().take(SECTIONS_SHOWN).map(|name| format!("[{}]", printable(name, LONGEST_SECTION))).collect();
    let exists = sections().any(|name| name == profile);
    if !exists && !others.is_empty() {
        format!("it has no section [{profile}], but {}", others.join(", "))
    } else if !exists && entries(text).any(|entry| entry.means(SECRET_ID) || entry.means(SECRET_KEY)) {
        format!("its values are in no section: write [{profile}] above them, and secret_id = … and secret_key = …")
    } else {
        format!("it has neither secret_id nor secret_key in [{profile}]")
    }
}

/// A line with a name and a value.
struct Entry<'a> {
    section: Option<&'a str>,
    name: &'a str,
    value: &'a str,
    /// Whether `=` separates the two, rather than `:`.
    has_equals: bool,
}

impl Entry<'_> {
    fn is(&self, name: &str) -> bool {
        self.has_equals && self.name == name
    }

    /// Whether this seems to be a misspelling of the name, such as `secretId`, `export TENCENTCLOUD_SECRET_ID` or
    /// `SessionToken`. If such a line were ignored, the credentials of another account might be used.
    fn means(&self, name: &str) -> bool {
        let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        letters(self.name).ends_with(&letters(name))
    }
}

/// The lines with a name and a value, each with its section.
fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut section = None;
    text.lines().map(str::trim).filter_map(move |line| {
        if let Some(name) = section_name(line) {
            section = Some(name);
            return None;
        }
        let (at, sign) = line.char_indices().find(|(_, letter)| matches!(letter, '=' | ':'))?;
        let (name, value) = (line[..at].trim(), line[at + 1..].trim());
        Some(Entry { section, name, value, has_equals: sign == '=' })
    })
}

fn section_name(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']').map(str::trim)
}
