//! The files are as tccli 3.1 writes them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::super::chain::{self, Provider};
use super::*;

const CANARY: &str = "canaryKey0123456789";
const PERMANENT: &str = "{\n  \"secretId\": \"AKIDone\",\n  \"secretKey\": \"canaryKey0123456789\"\n}";

/// Like the tool, restricts the directory, and leaves the mode of the file to the umask.
fn file(text: &str) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = super::path(home.path(), "default");
    fs::create_dir(path.parent().unwrap()).unwrap();
    set_mode(path.parent().unwrap(), 0o700);
    fs::write(&path, text).unwrap();
    set_mode(&path, 0o644);
    (home, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

async fn find(provider: Provider) -> Result<Found, CredentialsError> {
    chain::find(&[provider], &|_| None).await
}

async fn refused(text: &str) -> String {
    let (_home, path) = file(text);
    let error = find(Provider::TccliFile(path.clone())).await.unwrap_err().to_string();
    assert!(!error.contains(CANARY), "{error}");
    error.replace(path.to_str().unwrap(), "FILE")
}

fn login(seconds_left: i64) -> String {
    let end = clock::now().unix.seconds() + seconds_left;
    format!(
        r#"{{"expiresAt": {end}, "oauth": {{"accessToken": "a", "expiresAt": 1, "openId": "o", "refreshToken": "r", "site": "cn"}},
             "secretId": "AKIDtmp", "secretKey": "k", "token": "t", "type": "oauth"}}"#
    )
}

#[tokio::test]
async fn permanent_keys_are_those_that_tccli_configure_wrote() {
    for text in [PERMANENT.to_owned(), PERMANENT.replace('{', "{\"type\": \"default\", \"expiresAt\": 1, ")] {
        let (_home, path) = file(&text);
        let found = find(Provider::TccliFile(path.clone())).await.unwrap();
        assert_eq!((found.credentials.secret_id.as_str(), found.source), ("AKIDone", Source::File(path)));
        assert_eq!(found.credentials.secret_key.expose_secret(), CANARY);
        assert!(found.credentials.token.is_none() && found.expires.is_none());
    }
}

#[tokio::test]
async fn keys_of_a_login_expire_when_the_file_says() {
    let (_home, path) = file(&login(3600));
    let before = clock::now().instant;
    let found = find(Provider::TccliFile(path)).await.unwrap();
    assert_eq!(found.credentials.token.unwrap().expose_secret(), "t");
    let good_for = found.expires.unwrap() - before;
    assert!(good_for > Duration::from_secs(3590) && good_for < Duration::from_secs(3610), "{good_for:?}");
}

#[tokio::test]
async fn an_expired_login_is_reported_with_its_remedy() {
    let error = refused(&login(-60)).await;
    assert!(error.starts_with("the credentials in the file FILE: the login expired at "), "{error}");
    assert!(error.ends_with("Run any tccli command to renew it, or tccli auth login to log in again"), "{error}");
}

#[tokio::test]
async fn a_profile_without_keys_is_skipped_with_the_reason() {
    let role = refused(r#"{"type": "cvm-role"}"#).await;
    assert!(
        role.contains(
            "the file FILE: it refers to the machine's role. To fix it: run tccli configure, which writes FILE"
        ),
        "{role}"
    );
    let none = refused(r#"{"secretId": "", "secretKey": ""}"#).await;
    assert!(none.contains("the file FILE: it has neither secretId nor secretKey."), "{none}");
    let missing =
        find(Provider::TccliFile("/nonexistent/.tccli/default.credential".into())).await.unwrap_err().to_string();
    assert!(missing.contains(": there is no such file."), "{missing}");
}

#[tokio::test]
async fn an_invalid_file_is_refused_without_its_values() {
    let cases = [
        (r#"{"secretId": "AKIDone"}"#, "secretKey is missing"),
        (
            r#"{"secretId": "AKIDone", "secretKey": "canaryKey0123456789 "#,
            "the file is not a JSON object as tccli configure writes it",
        ),
        (r#"["canaryKey0123456789"]"#, "the file is not a JSON object as tccli configure writes it"),
        (
            r#"{"secretId": "i", "secretKey": "canaryKey0123456789 x"}"#,
            "secretKey has characters that a key can't have",
        ),
        (
            r#"{"secretId": "i", "secretKey": "canaryKey0123456789", "token": "t", "expiresAt": "soon"}"#,
            "expiresAt is not a number of seconds",
        ),
    ];
    for (text, problem) in cases {
        assert_eq!(refused(text).await, format!("the credentials in the file FILE: {problem}"));
    }
}

#[tokio::test]
async fn a_file_that_others_can_read_is_accepted_only_in_a_private_directory() {
    let (_home, path) = file(PERMANENT);
    set_mode(path.parent().unwrap(), 0o755);
    assert!(matches!(find(Provider::TccliFile(path.clone())).await, Err(CredentialsError::Exposed(_))));
    set_mode(&path, 0o600);
    assert!(find(Provider::TccliFile(path)).await.is_ok());
}

#[tokio::test]
async fn a_configured_file_may_have_either_format() {
    let (_home, path) = file(PERMANENT);
    set_mode(&path, 0o600);
    let found = find(Provider::VendorFile(path, "any".to_owned())).await.unwrap();
    assert_eq!(found.credentials.secret_id, "AKIDone");
}
