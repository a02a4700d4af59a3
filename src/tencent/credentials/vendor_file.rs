//! The vendor's file: INI, with the keys in the section of a profile.

use std::path::{Path, PathBuf};

use super::keypair::assemble;
use super::reading::{read, text};
use super::{Credentials, CredentialsError, Holding, Source};

const SYSTEM_FILE: &str = "/etc/tencentcloud/credentials";

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
    let found = of_section(&text, profile, &place)?;
    Ok(Holding::of(found, place, format!("it has neither secret_id nor secret_key under [{profile}]")))
}

/// The credentials in a file of the vendor's format: `secret_id`, `secret_key` and perhaps `token` under the
/// profile's section. None if that has none of them. A byte order mark and line ends of either kind are fine.
///
/// # Errors
/// When the text isn't UTF-8, or holds one half without the other or a value that can't be right. No error shows a
/// value.
pub fn parse_credentials(bytes: &[u8], profile: &str, place: &Source) -> Result<Option<Credentials>, CredentialsError> {
    of_section(text(bytes, place)?, profile, place)
}

fn of_section(text: &str, profile: &str, place: &Source) -> Result<Option<Credentials>, CredentialsError> {
    let value = |key| ini_value(text, profile, key);
    assemble(value("secret_id"), value("secret_key"), value("token"), ("secret_id", "secret_key"), place)
}

/// The value of a key in a section of an INI file.
fn ini_value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut here = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name.trim() == section;
        } else if here
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}
