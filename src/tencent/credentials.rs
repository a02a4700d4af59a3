//! Where the credentials come from: the environment and the vendor's file.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use secrecy::SecretString;

const SECRET_ID: &str = "TENCENTCLOUD_SECRET_ID";
const SECRET_KEY: &str = "TENCENTCLOUD_SECRET_KEY";
/// The command-line tool's name for a temporary token, and the Node SDK's.
const TOKENS: [&str; 2] = ["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SESSION_TOKEN"];
const SYSTEM_FILE: &str = "/etc/tencentcloud/credentials";
const OTHERS_MAY: u32 = 0o007;
/// The longest file that is read: one with some profiles has a few hundred bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A key pair, and a token if it is temporary. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Public: it goes over the wire in every request.
    pub secret_id: String,
    /// Never leaves the process.
    pub secret_key: SecretString,
    /// Goes along with temporary keys.
    pub token: Option<SecretString>,
}

/// Where credentials were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The environment.
    Environment,
    /// A file in the vendor's format.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => write!(f, "the environment ({SECRET_ID}, {SECRET_KEY})"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

/// Why there are no credentials. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// None of the places has any.
    #[error(
        "credentials.source: no credentials were found; looked at {looked_at}. Set {SECRET_ID} and {SECRET_KEY}, or write them to one of the files as secret_id and secret_key under [{profile}]"
    )]
    NotFound {
        /// Every place that was looked at.
        looked_at: String,
        /// The section that was looked for.
        profile: String,
    },
    /// One half without the other, or one that can't be right.
    #[error("the credentials in {place}: {problem}")]
    Unusable {
        /// Where they are.
        place: Source,
        /// What is wrong.
        problem: String,
    },
    /// Other users may read the file.
    #[error("{0} can be read by every user of this machine; run: chmod o-rwx {0}")]
    Exposed(PathBuf),
    /// The file can't be read.
    #[error("{path} can't be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Where to look.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// Whether the environment counts.
    pub environment: bool,
    /// The files to try, in order.
    pub files: Vec<PathBuf>,
    /// The section of the file.
    pub profile: &'a str,
}

/// The vendor's places for the file: the user's own, then the system's.
#[must_use]
pub fn vendor_files(home: Option<&str>) -> Vec<PathBuf> {
    let own = home.map(|home| Path::new(home).join(".tencentcloud/credentials"));
    own.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect()
}

/// Finds the credentials: the first place that has any decides.
///
/// # Errors
/// When no place has any, or the first that has holds unusable ones.
pub fn find_credentials(
    search: &Search<'_>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Credentials, Source), CredentialsError> {
    if search.environment
        && let Some(credentials) = from_environment(&variable)?
    {
        return Ok((credentials, Source::Environment));
    }
    for path in &search.files {
        if let Some(credentials) = from_file(path, search.profile)? {
            return Ok((credentials, Source::File(path.clone())));
        }
    }
    let environment = search.environment.then(|| format!("the environment ({SECRET_ID})"));
    let files = search.files.iter().map(|path| path.display().to_string());
    let places: Vec<String> = environment.into_iter().chain(files).collect();
    Err(CredentialsError::NotFound { looked_at: places.join(", "), profile: search.profile.to_owned() })
}

fn from_environment(variable: &impl Fn(&str) -> Option<String>) -> Result<Option<Credentials>, CredentialsError> {
    let token = TOKENS.iter().find_map(|name| variable(name));
    credentials(variable(SECRET_ID), variable(SECRET_KEY), token, (SECRET_ID, SECRET_KEY), &Source::Environment)
}

fn from_file(path: &Path, profile: &str) -> Result<Option<Credentials>, CredentialsError> {
    let place = Source::File(path.to_owned());
    match read(path)? {
        Some(bytes) => parse_credentials(&bytes, profile, &place),
        None => Ok(None),
    }
}

/// The file's bytes; none if there is no file. Reads nothing that others may read, and nothing that may not end: a
/// pipe, a device.
fn read(path: &Path) -> Result<Option<Vec<u8>>, CredentialsError> {
    let unreadable = |error| CredentialsError::Unreadable { path: path.to_owned(), error };
    let unusable = |problem: &str| CredentialsError::unusable(&Source::File(path.to_owned()), problem);
    // A pipe that nobody writes to would be waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(|error| unreadable(io::Error::other(error)))?;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    // Of what is open, not of what stands at the path by now.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unusable("it is not a plain file"));
    }
    if metadata.permissions().mode() & OTHERS_MAY != 0 {
        return Err(CredentialsError::Exposed(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_FILE_BYTES) {
        return Ok(Some(bytes));
    }
    Err(unusable("it is longer than 64 KiB; is it the right file?"))
}

/// The credentials in a file of the vendor's format: `secret_id`, `secret_key` and perhaps `token` under the
/// profile's section. None if that has none of them. A byte order mark and line ends of either kind are fine.
///
/// # Errors
/// When the text isn't UTF-8, or holds one half without the other or a value that can't be right. No error shows a
/// value.
pub fn parse_credentials(bytes: &[u8], profile: &str, place: &Source) -> Result<Option<Credentials>, CredentialsError> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| CredentialsError::unusable(place, "the file is not UTF-8 text"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = |key| ini_value(text, profile, key);
    credentials(value("secret_id"), value("secret_key"), value("token"), ("secret_id", "secret_key"), place)
}

impl CredentialsError {
    fn unusable(place: &Source, problem: impl Into<String>) -> Self {
        Self::Unusable { place: place.clone(), problem: problem.into() }
    }
}

fn credentials(
    secret_id: Option<String>,
    secret_key: Option<String>,
    token: Option<String>,
    names: (&str, &str),
    place: &Source,
) -> Result<Option<Credentials>, CredentialsError> {
    let given = |value: Option<String>| value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
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

/// Why a value can't be right, without the value.
fn flaw(value: &str) -> Option<&'static str> {
    let quoted = |quote| value.starts_with(quote) || value.ends_with(quote);
    if quoted('"') || quoted('\'') {
        return Some("stands in quotes; write it without");
    }
    (!value.bytes().all(|byte| byte.is_ascii_graphic())).then_some("has characters that no key has")
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    const CANARY: &str = "canaryKey0123456789";

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn search(files: Vec<PathBuf>) -> Search<'static> {
        Search { environment: true, files, profile: "default" }
    }

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn the_environment_comes_before_the_file() {
        let (_directory, path) = file("[default]\nsecret_id = fromFile\nsecret_key = k\n", 0o600);
        let variable = |name: &str| match name {
            SECRET_ID => Some("fromEnv".to_owned()),
            SECRET_KEY => Some("k".to_owned()),
            "TENCENTCLOUD_SESSION_TOKEN" => Some("t".to_owned()),
            _ => None,
        };
        let (credentials, source) = find_credentials(&search(vec![path.clone()]), variable).unwrap();
        assert_eq!((credentials.secret_id.as_str(), source), ("fromEnv", Source::Environment));
        assert_eq!(credentials.token.unwrap().expose_secret(), "t");
        let (credentials, source) = find_credentials(&search(vec![path.clone()]), nothing).unwrap();
        assert_eq!((credentials.secret_id.as_str(), source), ("fromFile", Source::File(path)));
    }

    #[test]
    fn the_profile_chooses_the_section() {
        let text = "# c\n[other]\nsecret_id=o\nsecret_key=o\n[default]\nsecret_id = d\nsecret_key = d\n";
        let (_directory, path) = file(text, 0o640);
        let search = Search { environment: false, files: vec![path], profile: "other" };
        assert_eq!(find_credentials(&search, nothing).unwrap().0.secret_id, "o");
    }

    #[test]
    fn nothing_anywhere_says_where_it_looked() {
        let error =
            find_credentials(&search(vec!["/nonexistent/credentials".into()]), nothing).unwrap_err().to_string();
        assert!(error.contains("TENCENTCLOUD_SECRET_ID") && error.contains("/nonexistent/credentials"), "{error}");
    }

    #[test]
    fn a_half_is_refused_by_name() {
        let variable = |name: &str| (name == SECRET_KEY).then(|| CANARY.to_owned());
        let error = find_credentials(&search(vec![]), variable).unwrap_err().to_string();
        assert!(error.contains("TENCENTCLOUD_SECRET_ID is missing") && !error.contains(CANARY), "{error}");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (_directory, path) = file("[default]\nsecret_id = i\nsecret_key = k\n", 0o644);
        assert!(matches!(find_credentials(&search(vec![path]), nothing), Err(CredentialsError::Exposed(_))));
    }

    fn parsed(bytes: &[u8]) -> Result<Option<Credentials>, String> {
        parse_credentials(bytes, "default", &Source::File("f".into())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_may_come_from_another_system() {
        let file = b"\xef\xbb\xbf[default]\r\nsecret_id = i\r\nsecret_key = k\r\ntoken=t\r\n";
        let credentials = parsed(file).unwrap().unwrap();
        assert_eq!((credentials.secret_id.as_str(), credentials.secret_key.expose_secret()), ("i", "k"));
        assert_eq!(credentials.token.unwrap().expose_secret(), "t");
    }

    #[test]
    fn what_no_key_can_be_is_refused_with_what_is_wrong() {
        let cases: [(&[u8], &str); 6] = [
            (b"[default]\nsecret_id = \"i\"\nsecret_key = k", "secret_id stands in quotes; write it without"),
            (b"[default]\nsecret_id = i\nsecret_key = 'k'", "secret_key stands in quotes; write it without"),
            (b"[default]\nsecret_id = i\nsecret_key = k # mine", "secret_key has characters that no key has"),
            (b"[default]\nsecret_id = i\nsecret_key = k\0", "secret_key has characters that no key has"),
            (b"[default]\nsecret_id = i\nsecret_key = k\ntoken = t t", "the token has characters that no key has"),
            (b"[default]\nsecret_id = i\nsecret_key = \xff", "the file is not UTF-8 text"),
        ];
        for (file, problem) in cases {
            assert_eq!(parsed(file).unwrap_err(), format!("the credentials in the file f: {problem}"));
        }
        assert!(parsed(b"").unwrap().is_none() && parsed(b"secret_id = i\nsecret_key = k").unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_too_long_or_none_at_all_is_not_read() {
        let (directory, path) = file(&"#\n".repeat(40_000), 0o600);
        let refused = |path: PathBuf| find_credentials(&search(vec![path]), nothing).unwrap_err().to_string();
        assert!(refused(path).ends_with("it is longer than 64 KiB; is it the right file?"));
        assert!(refused(directory.path().to_owned()).ends_with("it is not a plain file"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials {
            secret_id: "id".into(),
            secret_key: CANARY.to_owned().into(),
            token: Some(CANARY.to_owned().into()),
        };
        assert!(!format!("{credentials:?}").contains(CANARY));
    }

    proptest! {
        #[test]
        fn no_file_makes_the_parser_panic_or_lets_its_text_out(text in ".{0,200}") {
            let text = format!("[default]\nsecret_id = {CANARY} {text}\nsecret_key = {CANARY}\u{7f}");
            let error = parse_credentials(text.as_bytes(), "default", &Source::File("f".into())).unwrap_err();
            prop_assert!(!error.to_string().contains(CANARY));
        }
    }
}
