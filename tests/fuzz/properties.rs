//! What holds for every input from outside, whatever it is: stated once, for the fuzz targets and for the tests.
//!
//! Each function takes an input apart as it likes, so that any bytes are an input, and panics where the property doesn't
//! hold.

use std::path::Path;

use certcommit::config::Settings;
use certcommit::escaping::is_unsafe;
use certcommit::submission::{CommitOutcome, ReadOutcome, Reading, Receipt, Refusal};
use certcommit::tencent::{Source, commit_outcome, parse_credentials, read_outcome};
use secrecy::ExposeSecret as _;
use serde_json::Value;

/// Stands for a secret wherever an input has an `@`.
const CANARY: &str = "Canary0Zx9Qw7Secret";

/// No text of the server's is longer than this, as it comes out.
const LONGEST_TEXT: usize = 500;

/// More brackets than this may be nested too deep for a reader of whole values.
const MANY_BRACKETS: usize = 100;

/// A reply that is no whole, well-formed success is never taken for one, and no text of it gets out that a terminal or
/// a log line wouldn't bear.
pub fn reply(http_status: u16, body: &[u8]) {
    let commit = commit_outcome(http_status, body);
    if let CommitOutcome::Submitted(receipt) = &commit {
        assert_eq!(http_status, 200, "only the API itself places orders");
        assert_is_receipt(receipt, body);
    }
    commit_texts(&commit).into_iter().for_each(assert_bearable);
    let read = read_outcome(http_status, body);
    if let ReadOutcome::Seen(_) = &read {
        assert_eq!(http_status, 200, "only the API itself shows certificates");
    }
    read_texts(&read).into_iter().for_each(assert_bearable);
}

fn assert_is_receipt(receipt: &Receipt, body: &[u8]) {
    let text = std::str::from_utf8(body).expect("a success is UTF-8");
    if body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > MANY_BRACKETS {
        return;
    }
    let reply: Value = serde_json::from_str(text).expect("a success is JSON");
    let response = &reply["Response"];
    assert!(response["Error"].is_null(), "a success has no error: {text}");
    assert_eq!(response["OrderId"].as_str(), Some(receipt.order_id.as_str()), "{text}");
    assert_eq!(response["Status"].as_i64(), Some(receipt.status), "{text}");
    assert!(!receipt.order_id.is_empty(), "{text}");
}

fn commit_texts(outcome: &CommitOutcome) -> Vec<&str> {
    match outcome {
        CommitOutcome::Submitted(Receipt { order_id, request_id, .. }) => {
            [order_id.as_str()].into_iter().chain(request_id.as_deref()).collect()
        }
        CommitOutcome::NotSent(why) => vec![why],
        CommitOutcome::InDoubt { why, refusal } => with_why(why, refusal.as_ref()),
        CommitOutcome::Retry(refusal)
        | CommitOutcome::BackendError(refusal)
        | CommitOutcome::Throttled(refusal)
        | CommitOutcome::Account(refusal)
        | CommitOutcome::Denied(refusal)
        | CommitOutcome::Failed(refusal)
        | CommitOutcome::StatusRefused(refusal) => refusal_texts(refusal),
    }
}

fn read_texts(outcome: &ReadOutcome) -> Vec<&str> {
    match outcome {
        ReadOutcome::Seen(Reading { order_id, request_id, .. }) => {
            order_id.as_deref().into_iter().chain(request_id.as_deref()).collect()
        }
        ReadOutcome::NotSent(why) => vec![why],
        ReadOutcome::Retry { why, refusal } => with_why(why, refusal.as_ref()),
        ReadOutcome::Throttled(refusal)
        | ReadOutcome::Account(refusal)
        | ReadOutcome::Denied(refusal)
        | ReadOutcome::Failed(refusal) => refusal_texts(refusal),
    }
}

fn with_why<'a>(why: &'a str, refusal: Option<&'a Refusal>) -> Vec<&'a str> {
    [why].into_iter().chain(refusal.into_iter().flat_map(refusal_texts)).collect()
}

fn refusal_texts(refusal: &Refusal) -> Vec<&str> {
    let Refusal { code, message, request_id } = refusal;
    [code.as_str(), message.as_str()].into_iter().chain(request_id.as_deref()).collect()
}

fn assert_bearable(text: &str) {
    assert!(!text.chars().any(is_unsafe), "a raw control character: {text:?}");
    assert!(text.chars().count() <= LONGEST_TEXT, "too long: {text:?}");
}

/// A credentials file is taken or refused in one line, which shows no value of it; what is taken fits into a header, and
/// `Debug` shows nothing of it that is secret.
pub fn credentials_file(input: &[u8]) {
    let file = with_canary(input);
    match parse_credentials(&file, "default", &Source::File("credentials".into())) {
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(CANARY), "a secret in an error: {error}");
            assert!(error.starts_with("the credentials in the file credentials: "), "{error}");
            assert_bearable(&error);
        }
        Ok(None) => {}
        Ok(Some(found)) => {
            let token = found.token.as_ref().map(|token| token.expose_secret());
            for value in [found.secret_id.as_str(), found.secret_key.expose_secret()].into_iter().chain(token) {
                assert!(!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()), "{value:?}");
            }
            let is_in_id = found.secret_id.contains(CANARY);
            assert!(is_in_id || !format!("{found:?}").contains(CANARY), "a secret in Debug output");
        }
    }
}

fn with_canary(input: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = input.split(|byte| *byte == b'@').collect();
    parts.join(CANARY.as_bytes())
}

/// A configuration is taken or refused in one line, which names a key or a position. What comes before the first NUL is
/// the file; each further part is a variable of the environment, `SECTION__KEY=VALUE`.
pub fn configuration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();
    let variables = parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        Some((format!("CERTCOMMIT__{name}"), value.to_owned()))
    });
    if let Err(error) = Settings::from_text(Path::new("certcommit.toml"), file, variables) {
        let error = error.to_string();
        assert!(!error.chars().any(is_unsafe), "more than one line, or a raw control character: {error:?}");
        assert!(error.contains('`') || error.contains("at line "), "neither a key nor a position: {error:?}");
        assert!(!error.starts_with("internal error"), "no configuration is a defect: {error:?}");
    }
}
