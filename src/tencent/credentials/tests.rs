//! Where credentials are looked for, and how unusable ones are reported.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::chain::{self, Provider};
use super::*;

const CANARY: &str = "canaryKey0123456789";
const PAIR: &str = "[default]\nsecret_id = fromFile\nsecret_key = k\n";

fn nothing(_: &str) -> Option<String> {
    None
}

/// A directory with these files, readable for the owner alone.
fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        write(&directory.path().join(name), contents, 0o400);
    }
    directory
}

fn write(path: &Path, contents: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn file(text: &str, mode: u32) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credentials");
    write(&path, text, mode);
    (directory, path)
}

fn vendor_file(path: &Path) -> Provider {
    Provider::VendorFile(path.to_owned(), "default".to_owned())
}

async fn find(places: &[Provider]) -> Result<Found, CredentialsError> {
    chain::find(places, &nothing).await
}

async fn refused(places: &[Provider]) -> String {
    find(places).await.unwrap_err().to_string()
}

/// The credentials that an environment with these values has.
async fn from_environment(id: &str, key: &str, token: Option<&str>) -> Result<Credentials, CredentialsError> {
    let (id, key, token) = (id.to_owned(), key.to_owned(), token.map(str::to_owned));
    let variable = move |name: &str| match name {
        "TENCENTCLOUD_SECRET_ID" => Some(id.clone()),
        "TENCENTCLOUD_SECRET_KEY" => Some(key.clone()),
        "TENCENTCLOUD_TOKEN" => token.clone(),
        _ => None,
    };
    chain::find(&[Provider::Environment], &variable).await.map(|found| found.credentials)
}

async fn from_file(text: &str, mode: u32) -> Result<Credentials, CredentialsError> {
    let (_directory, path) = file(text, mode);
    find(&[vendor_file(&path)]).await.map(|found| found.credentials)
}

async fn from_systemd(files: &[(&str, &[u8])]) -> Result<Credentials, String> {
    let directory = directory(files);
    let found = find(&[Provider::Systemd(Ok(directory.path().to_owned()))]).await;
    let place = directory.path().display().to_string();
    found.map(|found| found.credentials).map_err(|error| error.to_string().replace(&place, "DIRECTORY"))
}

fn parts(credentials: &Credentials) -> (&str, &str, Option<&str>) {
    let token = credentials.token.as_ref().map(|token| token.expose_secret());
    (&credentials.secret_id, credentials.secret_key.expose_secret(), token)
}

#[tokio::test]
async fn the_first_place_with_credentials_decides_and_those_before_it_are_listed_with_their_reasons() {
    let systemd = directory(&[("secret_id", b"fromSystemd"), ("secret_key", b"k")]);
    let (_directory, path) = file(PAIR, 0o600);
    let missing = path.with_file_name("missing");
    let places = [
        Provider::Systemd(Ok(systemd.path().to_owned())),
        Provider::Environment,
        vendor_file(&missing),
        vendor_file(&path),
    ];
    let variable = |name: &str| match name {
        "TENCENTCLOUD_SECRET_ID" => Some("fromEnv".to_owned()),
        "TENCENTCLOUD_SECRET_KEY" => Some("k".to_owned()),
        _ => None,
    };
    let found = chain::find(&places, &variable).await.unwrap();
    assert_eq!((found.credentials.secret_id.as_str(), found.skipped), ("fromSystemd", vec![]));
    assert_eq!(found.source, Source::Systemd(systemd.path().to_owned()));

    fs::remove_file(systemd.path().join("secret_id")).unwrap();
    fs::remove_file(systemd.path().join("secret_key")).unwrap();
    let found = chain::find(&places, &variable).await.unwrap();
    assert_eq!((found.credentials.secret_id.as_str(), found.source), ("fromEnv", Source::Environment));
    let skipped: Vec<String> = found.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(skipped, [format!("systemd: {} has neither secret_id nor secret_key", systemd.path().display())]);

    let found = find(&places[1..]).await.unwrap();
    assert_eq!((found.credentials.secret_id.as_str(), found.source), ("fromFile", Source::File(path)));
    let skipped: Vec<String> = found.skipped.iter().map(ToString::to_string).collect();
    let not_there = format!("the file {}: there is no such file", missing.display());
    assert_eq!(skipped, ["the environment: TENCENTCLOUD_SECRET_ID is not set".to_owned(), not_there]);
}

#[tokio::test]
async fn without_any_credentials_the_error_lists_the_places_and_remedies() {
    let places = [
        Provider::Systemd(Err("$CREDENTIALS_DIRECTORY is not set".to_owned())),
        Provider::Environment,
        vendor_file(Path::new("/nonexistent/credentials")),
    ];
    assert_eq!(
        refused(&places).await,
        "credentials.source: found no credentials. Looked at systemd: $CREDENTIALS_DIRECTORY is not set; \
         the environment: TENCENTCLOUD_SECRET_ID is not set; the file /nonexistent/credentials: there is no such file. \
         To fix it: add LoadCredential=secret_id:… and LoadCredential=secret_key:… to the unit; or set \
         TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY; or write secret_id and secret_key under [default] into \
         /nonexistent/credentials"
    );
}

#[tokio::test]
async fn unusable_credentials_end_the_search() {
    let half = directory(&[("secret_key", CANARY.as_bytes())]);
    let (_directory, path) = file(PAIR, 0o600);
    let error = refused(&[Provider::Systemd(Ok(half.path().to_owned())), vendor_file(&path)]).await;
    assert!(error.ends_with("secret_id is missing") && !error.contains(CANARY), "{error}");
}

#[test]
fn the_vendors_file_of_the_user_comes_before_that_of_the_system() {
    let (own, system) = ("/home/me/.tencentcloud/credentials", "/etc/tencentcloud/credentials");
    assert_eq!(vendor_file::paths(None), [PathBuf::from(system)]);
    assert_eq!(vendor_file::paths(Some(Path::new("/home/me"))), [own, system].map(PathBuf::from));
    assert_eq!(tccli_file::path(Path::new("/home/me"), "default"), Path::new("/home/me/.tccli/default.credential"));
}

#[test]
fn each_source_has_a_readable_name() {
    let named = [
        (Source::Systemd("/run/c".into()), "systemd's directory /run/c"),
        (Source::Environment, "the environment"),
        (Source::File("/etc/keys".into()), "the file /etc/keys"),
        (Source::Role("certs".to_owned()), "the machine's role certs"),
        (Source::Caller, "the caller"),
    ];
    for (source, name) in named {
        assert_eq!(source.to_string(), name);
    }
}

#[tokio::test]
async fn each_systemd_credential_is_one_value_in_one_file() {
    let credentials = from_systemd(&[("secret_id", b"id"), ("secret_key", b"key")]).await.unwrap();
    assert_eq!(parts(&credentials), ("id", "key", None));
    let edited: [(&str, &[u8]); 3] =
        [("secret_id", b"\xef\xbb\xbfid\r\n"), ("secret_key", b" key\n\n"), ("token", b"t\n")];
    assert_eq!(parts(&from_systemd(&edited).await.unwrap()), ("id", "key", Some("t")));
    let blank: [(&str, &[u8]); 3] = [("secret_id", b"id"), ("secret_key", b"key"), ("token", b" \n")];
    assert_eq!(parts(&from_systemd(&blank).await.unwrap()), ("id", "key", None));
}

#[tokio::test]
async fn an_invalid_systemd_credential_is_refused_with_its_name() {
    let place = "the credentials in systemd's directory DIRECTORY";
    let half: [(&str, &[u8]); 1] = [("secret_id", b"id")];
    assert_eq!(from_systemd(&half).await.unwrap_err(), format!("{place}: secret_key is missing"));
    let empty: [(&str, &[u8]); 2] = [("secret_id", b"\n"), ("secret_key", CANARY.as_bytes())];
    assert_eq!(from_systemd(&empty).await.unwrap_err(), format!("{place}: secret_id is missing"));
    let two: [(&str, &[u8]); 2] = [("secret_id", b"id"), ("secret_key", b"canaryKey0123456789\ncanaryKey0123456789")];
    let problem = "secret_key has characters that a key can't have";
    assert_eq!(from_systemd(&two).await.unwrap_err(), format!("{place}: {problem}"));
    let bytes: [(&str, &[u8]); 2] = [("secret_id", b"id"), ("secret_key", b"\xff")];
    let problem = "the credentials in the file DIRECTORY/secret_key: the file is not UTF-8 text";
    assert_eq!(from_systemd(&bytes).await.unwrap_err(), problem);
}

#[tokio::test]
async fn modes_that_systemd_sets_are_accepted_and_files_that_others_can_read_are_not() {
    for (mode, accepted) in [(0o400, true), (0o440, true), (0o600, true), (0o444, false), (0o404, false)] {
        let directory = directory(&[("secret_id", b"id")]);
        let key = directory.path().join("secret_key");
        write(&key, "key", mode);
        match find(&[Provider::Systemd(Ok(directory.path().to_owned()))]).await {
            Ok(_) => assert!(accepted, "{mode:o}"),
            Err(CredentialsError::Exposed(path)) => assert!(!accepted && path == key, "{mode:o}"),
            Err(error) => panic!("{mode:o}: {error}"),
        }
    }
}

#[tokio::test]
async fn any_permission_of_others_exposes_a_file_and_those_of_user_and_group_do_not() {
    for mode in [0o600, 0o640, 0o660, 0o400] {
        assert!(from_file(PAIR, mode).await.is_ok(), "{mode:o}");
    }
    for mode in [0o601, 0o602, 0o604, 0o644, 0o666] {
        assert!(matches!(from_file(PAIR, mode).await, Err(CredentialsError::Exposed(_))), "{mode:o}");
    }
}

#[tokio::test]
async fn a_missing_file_is_skipped_and_an_unreadable_one_is_an_error() {
    let (directory, path) = file(PAIR, 0o600);
    for missing in [directory.path().join("missing"), path.join("within-a-file")] {
        assert!(find(&[vendor_file(&missing), vendor_file(&path)]).await.is_ok());
    }
    let itself = directory.path().join("itself");
    symlink(&itself, &itself).unwrap();
    let error = find(&[vendor_file(&itself), vendor_file(&path)]).await.unwrap_err();
    assert!(matches!(error, CredentialsError::Unreadable { .. }), "{error:?}");
}

#[tokio::test]
async fn an_oversized_or_irregular_file_is_not_read() {
    let (directory, path) = file(&"#\n".repeat(40_000), 0o600);
    assert!(refused(&[vendor_file(&path)]).await.ends_with("it is longer than 64 KiB; is it the right file?"));
    assert!(refused(&[vendor_file(directory.path())]).await.ends_with("it is not a regular file"));
}

#[tokio::test]
async fn blank_values_count_as_missing_and_others_are_trimmed() {
    let credentials = from_environment(" id ", "\tkey\n", Some(" ")).await.unwrap();
    assert_eq!(parts(&credentials), ("id", "key", None));
    let error = from_environment(" ", "", None).await.unwrap_err();
    assert!(matches!(error, CredentialsError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_has_two_names_in_the_environment_and_a_blank_one_is_ignored() {
    for blank in [None, Some(String::new())] {
        let variable = move |name: &str| match name {
            "TENCENTCLOUD_SECRET_ID" | "TENCENTCLOUD_SECRET_KEY" => Some("k".to_owned()),
            "TENCENTCLOUD_TOKEN" => blank.clone(),
            "TENCENTCLOUD_SESSION_TOKEN" => Some("t".to_owned()),
            _ => None,
        };
        let found = chain::find(&[Provider::Environment], &variable).await.unwrap();
        assert_eq!(parts(&found.credentials), ("k", "k", Some("t")));
    }
}

#[tokio::test]
async fn an_invalid_value_is_refused_with_its_name() {
    let cases = [
        (from_environment("i d", "key", None).await, "TENCENTCLOUD_SECRET_ID has characters that a key can't have"),
        (
            from_environment("id", "k\u{7f}y", None).await,
            "TENCENTCLOUD_SECRET_KEY has characters that a key can't have",
        ),
        (from_environment("id", "", None).await, "TENCENTCLOUD_SECRET_KEY is missing"),
        (from_environment("", CANARY, None).await, "TENCENTCLOUD_SECRET_ID is missing"),
        (from_environment("id", "key", Some("t ken")).await, "the token has characters that a key can't have"),
        (from_file("[default]\nsecret_id = id\n", 0o600).await, "secret_key is missing"),
        (from_file("[default]\nsecret_key = key\n", 0o600).await, "secret_id is missing"),
    ];
    for (refused, problem) in cases {
        let error = refused.unwrap_err().to_string();
        assert!(error.ends_with(problem) && !error.contains(CANARY), "{error}");
    }
}

#[tokio::test]
async fn a_value_is_read_from_its_key_in_the_profiles_section() {
    let text = "secret_id = before\n[other]\nsecret_id = other\nsecret_key=o\n[ default ]\n; a comment\n\
                secret_key_old = old\nsecret_key = a=b\nsecret_id = mine\ntoken = t\n[last]\nsecret_id = last\n";
    let (_directory, path) = file(text, 0o640);
    let found = find(&[vendor_file(&path)]).await.unwrap();
    assert_eq!(parts(&found.credentials), ("mine", "a=b", Some("t")));
    let other = find(&[Provider::VendorFile(path.clone(), "other".to_owned())]).await.unwrap();
    assert_eq!(parts(&other.credentials), ("other", "o", None));
    let none = refused(&[Provider::VendorFile(path, "none".to_owned())]).await;
    assert!(none.contains("it has no section [none], but [other], [default], [last]"), "{none}");
}

#[tokio::test]
async fn a_missing_section_is_reported_with_what_the_file_has() {
    let cases = [
        ("[default]\nregion = x\n", "it has neither secret_id nor secret_key in [default]"),
        ("", "it has neither secret_id nor secret_key in [default]"),
        ("[prod]\nsecret_id = i\n", "it has no section [default], but [prod]"),
        (
            "secret_id = i\nsecret_key = canaryKey0123456789\n",
            "its values are in no section: write [default] above them, and secret_id = … and secret_key = …",
        ),
        (
            "export TENCENTCLOUD_SECRET_ID=i\nexport TENCENTCLOUD_SECRET_KEY=canaryKey0123456789\n",
            "its values are in no section: write [default] above them, and secret_id = … and secret_key = …",
        ),
    ];
    for (text, why) in cases {
        let error = from_file(text, 0o600).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{why}. To fix it")) && !error.contains(CANARY), "{error}");
    }
}

#[test]
fn a_misspelled_key_is_refused_with_the_right_spelling() {
    let spellings = [
        ("secretId", "secretId: write secret_id = …"),
        ("SecretId", "SecretId: write secret_id = …"),
        ("SECRET_ID", "SECRET_ID: write secret_id = …"),
        ("secret-id", "secret-id: write secret_id = …"),
        ("tencentcloud_secret_id", "tencentcloud_secret_id: write secret_id = …"),
        ("export TENCENTCLOUD_SECRET_ID", "export TENCENTCLOUD_SECRET_ID: write secret_id = …"),
        ("export secret_id", "export secret_id: write secret_id = …"),
    ];
    for (name, problem) in spellings {
        let file = format!("[default]\n{name} = i\nsecret_key = {CANARY}\n");
        assert_eq!(parsed(file.as_bytes()).unwrap_err(), format!("the credentials in the file f: {problem}"));
    }
    let others = [
        ("secretKey = canaryKey0123456789", "secretKey: write secret_key = …"),
        ("secret_key: canaryKey0123456789", "secret_key: write secret_key = …"),
        ("secret_key = k\nSessionToken = canaryKey0123456789", "SessionToken: write token = …"),
    ];
    for (lines, problem) in others {
        let file = format!("[default]\nsecret_id = i\n{lines}\n");
        assert_eq!(parsed(file.as_bytes()).unwrap_err(), format!("the credentials in the file f: {problem}"));
    }
    let both = b"[default]\nsecretId = other\nsecret_id = i\nsecret_key = k\nSECRET_KEY = other\n";
    assert_eq!(parts(&parsed(both).unwrap().unwrap()), ("i", "k", None), "the right one counts");
}

fn parsed(bytes: &[u8]) -> Result<Option<Credentials>, String> {
    parse_credentials(bytes, "default", &Source::File("f".into())).map_err(|error| error.to_string())
}

#[test]
fn a_byte_order_mark_and_crlf_are_accepted() {
    let file = b"\xef\xbb\xbf[default]\r\nsecret_id = i\r\nsecret_key = k\r\ntoken=t\r\n";
    assert_eq!(parts(&parsed(file).unwrap().unwrap()), ("i", "k", Some("t")));
}

#[test]
fn an_impossible_key_is_refused_with_the_reason() {
    let cases: [(&[u8], &str); 6] = [
        (b"[default]\nsecret_id = \"i\"\nsecret_key = k", "secret_id is in quotes; remove them"),
        (b"[default]\nsecret_id = i\nsecret_key = 'k'", "secret_key is in quotes; remove them"),
        (b"[default]\nsecret_id = i\nsecret_key = k # mine", "secret_key has characters that a key can't have"),
        (b"[default]\nsecret_id = i\nsecret_key = k\0", "secret_key has characters that a key can't have"),
        (b"[default]\nsecret_id = i\nsecret_key = k\ntoken = t t", "the token has characters that a key can't have"),
        (b"[default]\nsecret_id = i\nsecret_key = \xff", "the file is not UTF-8 text"),
    ];
    for (file, problem) in cases {
        assert_eq!(parsed(file).unwrap_err(), format!("the credentials in the file f: {problem}"));
    }
    assert!(parsed(b"").unwrap().is_none() && parsed(b"secret_id = i\nsecret_key = k").unwrap().is_none());
}

fn of(secret_id: &str, secret_key: &str, token: Option<&str>) -> Credentials {
    let (secret_key, token) = (secret_key.to_owned().into(), token.map(|token| token.to_owned().into()));
    Credentials { secret_id: secret_id.to_owned(), secret_key, token }
}

#[test]
fn credentials_are_the_same_if_all_their_parts_are() {
    let these = of("i", "k", Some("t"));
    assert!(these.is_same(&these.clone()));
    for others in [of("j", "k", Some("t")), of("i", "l", Some("t")), of("i", "k", Some("u")), of("i", "k", None)] {
        assert!(!these.is_same(&others), "{others:?}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let credentials = of("id", CANARY, Some(CANARY));
    let found = Found::lasting(credentials.clone(), Source::Caller);
    assert!(!format!("{credentials:?} {found:#?}").contains(CANARY));
}

proptest! {
    #[test]
    fn no_file_makes_the_parser_panic_or_leaks_its_text(text in ".{0,200}") {
        let text = format!("[default]\nsecret_id = {CANARY} {text}\nsecret_key = {CANARY}\u{7f}");
        let error = parse_credentials(text.as_bytes(), "default", &Source::File("f".into())).unwrap_err();
        prop_assert!(!error.to_string().contains(CANARY));
    }
}
