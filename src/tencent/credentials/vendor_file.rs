//! The vendor's file: INI, with the keys in the section of a profile.

use std::path::{Path, PathBuf};

use super::keypair::assemble;
use super::secret_file::{read, text};
use super::tccli_file;
use super::{Credentials, CredentialsError, Holding, Source};
use crate::escaping::printable;

const SYSTEM_FILE: &str = "/etc/tencentcloud/credentials";
const SECRET_ID: &str = "secret_id";
const SECRET_KEY: &str = "secret_key";
const TOKEN: &str = "token";

/// How else the vendor's tools and people spell the keys, in small letters and without `_` and `-`.
const SPELLINGS: [(&str, &[&str]); 3] = [
    (SECRET_ID, &["secretid", "tencentcloudsecretid", "qcloudsecretid", "tmpsecretid"]),
    (SECRET_KEY, &["secretkey", "tencentcloudsecretkey", "qcloudsecretkey", "tmpsecretkey"]),
    (TOKEN, &["token", "sessiontoken", "securitytoken", "tencentcloudtoken", "tencentcloudsessiontoken"]),
];
/// Of the sections that a file has instead, as many are named, and so much of a name.
const SECTIONS_SHOWN: usize = 5;
const SHOWN: usize = 64;

/// The vendor's places for the file: the user's own, then the system's.
#[must_use]
pub fn vendor_files(home: Option<&str>) -> Vec<PathBuf> {
    let own = home.map(|home| Path::new(home).join(".tencentcloud/credentials"));
    own.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect()
}

pub(super) fn look(path: &Path, profile: &str) -> Result<Holding, CredentialsError> {
    let place = Source::File(path.to_owned());
    let Some(text) = read(path, &place)? else {
        return Ok(Holding::Nothing("it is not there".to_owned()));
    };
    if tccli_file::is_json(&text) {
        return tccli_file::of_json(&text, place);
    }
    let found = of_section(&text, profile, &place)?;
    Ok(Holding::of(found, place, what_it_has_instead(&text, profile)))
}

/// The credentials in a file of the vendor's format: `secret_id`, `secret_key` and perhaps `token` under the
/// profile's section. None if that has none of them. A byte order mark and line ends of either kind are fine.
///
/// # Errors
/// When the text isn't UTF-8, spells a key otherwise, or holds one half without the other or a value that can't be right.
/// No error shows a value.
pub fn parse_credentials(bytes: &[u8], profile: &str, place: &Source) -> Result<Option<Credentials>, CredentialsError> {
    of_section(text(bytes, place)?, profile, place)
}

fn of_section(text: &str, profile: &str, place: &Source) -> Result<Option<Credentials>, CredentialsError> {
    let lines = || entries(text).filter(|entry| entry.section == Some(profile));
    let value = |key| match lines().find(|entry| entry.is(key)) {
        Some(entry) => Ok(Some(entry.value.to_owned())),
        None => match lines().find(|entry| entry.means(key)) {
            Some(entry) => {
                let problem = format!("{}: write {key} = …", entry.name);
                Err(CredentialsError::unusable(place, problem))
            }
            None => Ok(None),
        },
    };
    assemble(value(SECRET_ID)?, value(SECRET_KEY)?, value(TOKEN)?, (SECRET_ID, SECRET_KEY), place)
}

/// Why a file has no keys for a profile.
fn what_it_has_instead(text: &str, profile: &str) -> String {
    let others: Vec<String> =
        sections(text).take(SECTIONS_SHOWN).map(|name| format!("[{}]", printable(name, SHOWN))).collect();
    let is_there = sections(text).any(|name| name == profile);
    let has_keys = entries(text).any(|entry| entry.means(SECRET_ID) || entry.means(SECRET_KEY));
    if !is_there && !others.is_empty() {
        format!("it has no section [{profile}], but {}", others.join(", "))
    } else if !is_there && has_keys {
        format!("its keys stand under no section: write [{profile}] above them, and secret_id = … and secret_key = …")
    } else {
        format!("it has neither secret_id nor secret_key under [{profile}]")
    }
}

/// A line with a name and a value.
struct Entry<'a> {
    section: Option<&'a str>,
    name: &'a str,
    value: &'a str,
    /// Whether `=` stands between the two, rather than `:`.
    has_equals: bool,
}

impl Entry<'_> {
    fn is(&self, key: &str) -> bool {
        self.has_equals && self.name == key
    }

    /// Whether it is this key for whoever wrote it, in whatever spelling.
    fn means(&self, key: &str) -> bool {
        let bare = self.name.strip_prefix("export ").unwrap_or(self.name).trim();
        let letters: String = bare.chars().filter(|letter| !matches!(letter, '_' | '-')).collect();
        let spellings = SPELLINGS.iter().find(|(own, _)| *own == key).map_or(&[][..], |(_, spellings)| spellings);
        spellings.contains(&letters.to_ascii_lowercase().as_str())
    }
}

/// The lines with a name and a value, with the section that each stands in.
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

fn sections(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter_map(section_name)
}

fn section_name(line: &str) -> Option<&str> {
    line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::trim)
}
