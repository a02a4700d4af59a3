//! What must hold for every input from outside, for the fuzz targets and for the tests.
//!
//! Each function accepts any bytes as its input, and panics if the property doesn't hold.

use std::path::Path;

use certcommit::config::Settings;
use certcommit::escaping::is_unsafe;
use certcommit::submission::{Outcome, OutcomeClass, RequestKind};
use certcommit::tencent::{Source, outcome, parse_credentials};
use secrecy::ExposeSecret as _;
use serde_json::Value;

/// A secret that replaces each `@` of an input.
const CANARY: &str = "Canary0Zx9Qw7Secret";

/// The server's texts are truncated to this many characters.
const LONGEST_TEXT: usize = 500;

/// With more brackets than this, an input may be nested too deeply to be parsed again here.
const MANY_BRACKETS: usize = 100;

/// Only a complete, well-formed success counts as one, and all texts are safe for a terminal and a log line.
pub fn reply(http_status: u16, body: &[u8]) {
    for kind in [RequestKind::Commit, RequestKind::Readback] {
        let outcome = outcome(kind, http_status, body);
        if outcome.class == OutcomeClass::Submitted {
            assert_is_receipt(&outcome, body);
        }
        if outcome.order_id.is_some() || outcome.status.is_some() {
            assert_eq!(http_status, 200, "only the API itself places orders and shows certificates");
        }
        texts(&outcome).into_iter().for_each(assert_safe_to_show);
    }
}

fn assert_is_receipt(receipt: &Outcome, body: &[u8]) {
    let text = std::str::from_utf8(body).expect("a success is UTF-8");
    if body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > MANY_BRACKETS {
        return;
    }
    let reply: Value = serde_json::from_str(text).expect("a success is JSON");
    let response = &reply["Response"];
    assert!(response["Error"].is_null(), "a success has no error: {text}");
    assert_eq!(response["OrderId"].as_str(), receipt.order_id.as_deref(), "{text}");
    assert_eq!(response["Status"].as_i64(), receipt.status, "{text}");
    assert!(receipt.order_id.as_ref().is_some_and(|order_id| !order_id.is_empty()), "{text}");
}

fn texts(outcome: &Outcome) -> Vec<&str> {
    let Outcome { order_id, request_id, error, detail, .. } = outcome;
    let error = error.iter().flat_map(|error| [error.code.as_str(), error.message.as_str()]);
    [order_id, request_id, detail].into_iter().flatten().map(String::as_str).chain(error).collect()
}

fn assert_safe_to_show(text: &str) {
    assert!(!text.chars().any(is_unsafe), "a raw control character: {text:?}");
    assert!(text.chars().count() <= LONGEST_TEXT, "too long: {text:?}");
}

/// A credentials file is accepted, or refused in one line without its values. Accepted values fit into a header, and `Debug`
/// shows no secret.
pub fn credentials_file(input: &[u8]) {
    let file = with_canary(input);
    match parse_credentials(&file, "default", &Source::File("credentials".into())) {
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(CANARY), "a secret in an error: {error}");
            assert!(error.starts_with("the credentials in the file credentials: "), "{error}");
            assert_safe_to_show(&error);
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

/// A configuration is accepted, or refused in one line that names a key or a position. The part before the first NUL is the
/// file; each further part is an environment variable, `SECTION__KEY=VALUE`.
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
