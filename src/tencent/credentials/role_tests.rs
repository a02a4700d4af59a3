//! Replies of the metadata service, and what they result in.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::chain::{Provider, find};
use super::*;

const CANARY: &str = "canaryKey0123456789";
const AT: i64 = 1_551_113_065;

fn role_at(name: Option<&str>, address: SocketAddr) -> Role {
    Role::new(name.map(str::to_owned), Some(address), None)
}

fn at(unix_seconds: i64) -> Now {
    Now { unix: UnixMillis(unix_seconds * 1000), ..clock::now() }
}

fn reply(secret_id: &str, secret_key: &str, token: &str, expires: &str, code: &str) -> String {
    format!(
        r#"{{"TmpSecretId": "{secret_id}", "TmpSecretKey": "{secret_key}", "Token": "{token}",
            "ExpiredTime": {expires}, "Expiration": "2019-02-25T22:44:25Z", "Code": {code}, "New": [1]}}"#
    )
}

fn good() -> String {
    reply("AKIDx", "key", "token", &(AT + 3600).to_string(), "\"Success\"")
}

#[test]
fn a_successful_reply_has_credentials_and_their_expiry() {
    let now = at(AT);
    let (credentials, expires) = temporary_credentials(&good(), now).unwrap();
    assert_eq!((credentials.secret_id.as_str(), credentials.secret_key.expose_secret()), ("AKIDx", "key"));
    assert_eq!(credentials.token.unwrap().expose_secret(), "token");
    assert_eq!(expires, now.instant + Duration::from_secs(3600));
}

#[test]
fn a_lifetime_is_capped_at_one_day() {
    for far in [AT + 864_000, i64::MAX] {
        let now = at(AT);
        let (_, expires) = temporary_credentials(&reply("i", "k", "t", &far.to_string(), "\"Success\""), now).unwrap();
        assert_eq!(expires, now.instant + Duration::from_secs(86_400));
    }
}

#[test]
fn an_unusable_reply_is_explained_without_its_values() {
    let later = (AT + 3600).to_string();
    let success = "\"Success\"";
    let key = |key: &str| reply("i", key, "t", &later, success);
    let cases = [
        ("<html>canaryKey0123456789</html>".to_owned(), "replied with something that is not a JSON object"),
        (String::new(), "replied with something that is not a JSON object"),
        (format!("\"{CANARY}\""), "replied with something that is not a JSON object"),
        (format!("[\"{CANARY}\"]"), "replied with something that is not a JSON object"),
        (key(CANARY).replace("}", ""), "replied with something that is not a JSON object"),
        (reply("i", CANARY, "t", &later, "\"Failed\""), "replied with the code Failed"),
        (reply("i", CANARY, "t", &later, "\"\\u001b[2J\""), "replied with the code \\u{1b}[2J"),
        (reply("i", CANARY, "t", &later, "0"), "replied without a Code"),
        (reply("i", CANARY, "t", "\"soon\"", success), "replied without an ExpiredTime"),
        (reply("i", CANARY, "t", "1.5e300", success), "replied without an ExpiredTime"),
        (reply("", CANARY, "t", &later, success), "replied with unusable credentials: TmpSecretId is missing"),
        (reply("i", "", CANARY, &later, success), "replied with unusable credentials: TmpSecretKey is missing"),
        (reply("i", CANARY, " ", &later, success), "replied without a TmpSecretId, a TmpSecretKey or a Token"),
        (
            key("canaryKey0123456789 x"),
            "replied with unusable credentials: TmpSecretKey has characters that a key can't have",
        ),
        (key("canaryKey0123456789\\n"), ""),
        (
            reply("i", CANARY, "t", &AT.to_string(), success),
            "replied with credentials that expired at 2019-02-25T16:44:25Z; this machine's clock says 2019-02-25T16:44:25Z",
        ),
        (
            reply("i", CANARY, "t", &i64::MIN.to_string(), success),
            "replied with credentials that expired at -9223372036854775808 ms after 1970; this machine's clock says \
             2019-02-25T16:44:25Z",
        ),
    ];
    for (text, problem) in cases {
        match temporary_credentials(&text, at(AT)) {
            Ok(_) => assert!(problem.is_empty(), "{text}"),
            Err(why) => assert_eq!(why, problem, "{text}"),
        }
    }
}

proptest! {
    #[test]
    fn no_reply_makes_the_parser_panic_or_leaks_its_text(before in ".{0,40}", after in "\\PC{0,40}") {
        let text = format!("{before}{{\"Code\":\"Success\",\"TmpSecretKey\":\"{CANARY} {after}\"}}");
        if let Err(why) = temporary_credentials(&text, at(AT)) {
            prop_assert!(!why.contains(CANARY) && !why.contains('\n'), "{why}");
        }
    }
}

/// A service that answers each request with the next of these replies, and the paths that were requested.
async fn service(replies: Vec<Vec<u8>>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    tokio::spawn(async move {
        for reply in replies {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            seen.lock().unwrap().push(request.split(' ').nth(1).unwrap().to_owned());
            // A client that has read enough may be gone.
            stream.write_all(&reply).await.unwrap_or_default();
        }
    });
    (address, paths)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

fn live() -> String {
    reply("AKIDx", "key", "token", &(clock::now().unix.seconds() + 3600).to_string(), "\"Success\"")
}

/// Looks up a role's credentials: their source, or the error with the service's address as ADDRESS.
async fn source_of(role: Role) -> Result<Source, String> {
    let service = role.service.clone();
    let found = find(&[Provider::Role(role)], &|_| None).await;
    found.map(|found| found.source).map_err(|error| error.to_string().replace(&service, "ADDRESS"))
}

#[tokio::test]
async fn the_name_of_the_role_is_requested_first_and_then_its_credentials() {
    let (address, paths) = service(vec![http("200 OK", "certs\n"), http("200 OK", &live())]).await;
    assert_eq!(source_of(role_at(None, address)).await, Ok(Source::Role("certs".to_owned())));
    assert_eq!(*paths.lock().unwrap(), [PATH.to_owned(), format!("{PATH}certs")]);
}

#[tokio::test]
async fn for_a_configured_role_only_its_credentials_are_requested() {
    let (address, paths) = service(vec![http("200 OK", &live())]).await;
    assert_eq!(source_of(role_at(Some("mine"), address)).await, Ok(Source::Role("mine".to_owned())));
    assert_eq!(*paths.lock().unwrap(), [format!("{PATH}mine")]);
}

#[tokio::test]
async fn a_machine_without_a_role_is_a_permanent_error() {
    for list in [http("404 Not Found", "<html>"), http("200 OK", ""), http("200 OK", " \n")] {
        let (address, _) = service(vec![list]).await;
        let error = find(&[Provider::Role(role_at(None, address))], &|_| None).await.unwrap_err();
        assert!(!error.is_passing(), "{error}");
        assert!(error.to_string().contains("says that this machine has no role"), "{error}");
    }
    let (address, _) = service(vec![http("404 Not Found", "")]).await;
    let error = source_of(role_at(Some("mine"), address)).await.unwrap_err();
    assert!(error.contains("ADDRESS says that this machine has no role mine"), "{error}");
}

#[tokio::test]
async fn every_other_bad_reply_is_a_transient_error() {
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 1 << 20, "x".repeat(20_000)).into_bytes();
    let elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n".to_vec();
    let cases = [
        (http("500 Internal Server Error", CANARY), "replied with HTTP 500"),
        (http("403 Forbidden", CANARY), "replied with HTTP 403"),
        (elsewhere, "replied with HTTP 302"),
        (http("200 OK", "<html>canaryKey0123456789</html>"), "replied with something that is not a role name"),
        (http("200 OK", "../user-data"), "replied with something that is not a role name"),
        (huge, "replied with more than 16 KiB"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n\xff".to_vec(),
            "replied with text that is not UTF-8",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncert".to_vec(), "can't be reached: "),
        (CANARY.as_bytes().to_vec(), "can't be reached: "),
        (Vec::new(), "can't be reached: "),
    ];
    for (answer, problem) in cases {
        let (address, _) = service(vec![answer]).await;
        let error = find(&[Provider::Role(role_at(None, address))], &|_| None).await.unwrap_err();
        let text = error.to_string();
        let start = format!("the machine's role is unavailable: http://{address} {problem}");
        assert!(error.is_passing() && text.starts_with(&start), "{problem}: {text}");
        assert!(!text.contains(CANARY) && !text.contains('\n'), "{text}");
    }
}

#[tokio::test]
async fn a_service_that_is_down_is_reported_as_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = source_of(role_at(None, address)).await.unwrap_err();
    assert!(error.contains("ADDRESS can't be reached: ") && error.contains("refused"), "{error}");
}

/// Time is paused, and jumps to the next timer when every task waits, so the test takes no time.
#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let before = clock::now().instant;
    let error = source_of(role_at(None, address)).await.unwrap_err();
    assert!(error.contains("timed out"), "{error}");
    assert!(clock::now().instant - before <= TIMEOUT + CONNECT_TIMEOUT);
    drop(listener);
}

#[tokio::test]
async fn under_auto_the_service_is_asked_only_on_the_vendors_machines() {
    let dmi = tempfile::tempdir().unwrap();
    let set = |file: &str, maker: &str| fs::write(dmi.path().join(file), maker).unwrap();
    let (address, paths) = service(vec![http("200 OK", "certs"), http("200 OK", &live())]).await;
    let role = || Role::new(None, Some(address), Some(dmi.path()));
    let unknown = source_of(role()).await.unwrap_err();
    assert!(unknown.contains("not asked, since ") && unknown.contains("sys_vendor doesn't name Tencent"), "{unknown}");
    set("sys_vendor", "QEMU\u{1b}[2J\n");
    set("chassis_vendor", "QEMU\n");
    let other = source_of(role()).await.unwrap_err();
    assert!(other.contains(r#"is "QEMU\u{1b}[2J", not Tencent"#), "{other}");
    assert!(other.contains("to ask anyway, set credentials.source = \"cvm-role\""), "{other}");
    assert!(paths.lock().unwrap().is_empty(), "the service was not asked");
    set("chassis_vendor", "Tencent Cloud\n");
    assert_eq!(source_of(role()).await, Ok(Source::Role("certs".to_owned())));
}
