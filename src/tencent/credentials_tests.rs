//! Where credentials are looked for, and what is said of those that can't be right.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use secrecy::ExposeSecret as _;

use super::{Credentials, CredentialsError, Search, Source, find_credentials, vendor_files};

const PAIR: &str = "[default]\nsecret_id = fromFile\nsecret_key = k\n";

fn nothing(_: &str) -> Option<String> {
    None
}

fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credentials");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

/// What the environment with these values gives.
fn from_environment(id: &str, key: &str, token: Option<&str>) -> Result<Credentials, CredentialsError> {
    let variable = |name: &str| match name {
        "TENCENTCLOUD_SECRET_ID" => Some(id.to_owned()),
        "TENCENTCLOUD_SECRET_KEY" => Some(key.to_owned()),
        "TENCENTCLOUD_TOKEN" => token.map(str::to_owned),
        _ => None,
    };
    let search = Search { environment: true, files: Vec::new(), profile: "default" };
    find_credentials(&search, variable).map(|(credentials, _)| credentials)
}

fn from_file(text: &str, mode: u32) -> Result<Credentials, CredentialsError> {
    let (_directory, path) = file(text, mode);
    let search = Search { environment: false, files: vec![path], profile: "default" };
    find_credentials(&search, nothing).map(|(credentials, _)| credentials)
}

#[test]
fn the_vendors_places_are_the_users_own_file_and_then_the_systems() {
    let (own, system) = ("/home/me/.tencentcloud/credentials", "/etc/tencentcloud/credentials");
    assert_eq!(vendor_files(None), [PathBuf::from(system)]);
    assert_eq!(vendor_files(Some("/home/me")), [own, system].map(PathBuf::from));
}

#[test]
fn a_place_is_named_as_people_know_it() {
    let environment = Source::Environment.to_string();
    assert_eq!(environment, "the environment (TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY)");
    assert_eq!(Source::File("/etc/keys".into()).to_string(), "the file /etc/keys");
}

#[test]
fn the_environment_counts_only_if_it_is_asked_for() {
    let (_directory, path) = file(PAIR, 0o600);
    let search = Search { environment: false, files: vec![path], profile: "default" };
    let (credentials, _) = find_credentials(&search, |_| Some("fromEnv".to_owned())).unwrap();
    assert_eq!(credentials.secret_id, "fromFile");
}

#[test]
fn whatever_others_may_do_to_a_file_exposes_it_and_what_user_and_group_may_does_not() {
    for mode in [0o600, 0o640, 0o660, 0o400] {
        assert!(from_file(PAIR, mode).is_ok(), "{mode:o}");
    }
    for mode in [0o601, 0o602, 0o604, 0o666] {
        assert!(matches!(from_file(PAIR, mode), Err(CredentialsError::Exposed(_))), "{mode:o}");
    }
}

#[test]
fn a_file_that_is_missing_is_passed_over_and_one_that_cannot_be_looked_at_is_an_error() {
    let (directory, path) = file(PAIR, 0o600);
    let search = |first: PathBuf| Search { environment: false, files: vec![first, path.clone()], profile: "default" };
    for missing in [directory.path().join("missing"), path.join("within-a-file")] {
        assert!(find_credentials(&search(missing), nothing).is_ok());
    }
    let itself = directory.path().join("itself");
    std::os::unix::fs::symlink(&itself, &itself).unwrap();
    let error = find_credentials(&search(itself), nothing).unwrap_err();
    assert!(matches!(error, CredentialsError::Unreadable { .. }), "{error:?}");
}

#[test]
fn blank_values_are_none_and_blanks_around_a_value_are_no_part_of_it() {
    let credentials = from_environment(" id ", "\tkey\n", Some(" ")).unwrap();
    assert_eq!((credentials.secret_id.as_str(), credentials.secret_key.expose_secret()), ("id", "key"));
    assert!(credentials.token.is_none());
    let error = from_environment(" ", "", None).unwrap_err();
    assert!(matches!(error, CredentialsError::NotFound { .. }), "{error:?}");
}

#[test]
fn what_cannot_be_right_is_refused_by_its_name() {
    let cases = [
        (from_environment("i d", "key", None), "TENCENTCLOUD_SECRET_ID has characters that no key has"),
        (from_environment("id", "k\u{7f}y", None), "TENCENTCLOUD_SECRET_KEY has characters that no key has"),
        (from_environment("id", "key", Some("t ken")), "the token has characters that no key has"),
        (from_file("[default]\nsecret_id = id\n", 0o600), "secret_key is missing"),
        (from_file("[default]\nsecret_key = key\n", 0o600), "secret_id is missing"),
    ];
    for (refused, problem) in cases {
        let error = refused.unwrap_err().to_string();
        assert!(error.ends_with(problem), "{error}");
    }
}

#[test]
fn a_value_is_that_of_its_key_in_its_section() {
    let text = "secret_id = before\n[other]\nsecret_id = other\n[ default ]\n; a comment\nsecret_key_old = old\n\
                secret_key = a=b\nsecret_id = mine\ntoken = t\n[last]\nsecret_id = last\n";
    let credentials = from_file(text, 0o600).unwrap();
    assert_eq!((credentials.secret_id.as_str(), credentials.secret_key.expose_secret()), ("mine", "a=b"));
    assert_eq!(credentials.token.unwrap().expose_secret(), "t");
}
