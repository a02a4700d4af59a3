//! The formats of a line: what they show, and what never gets into them.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing::{Subscriber, debug, error, info, info_span, trace, warn};

use super::*;
use crate::escaping::is_unsafe;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().split_terminator('\n').map(str::to_owned).collect()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const TEXT: Style = Style::Text { colors: false };

/// The lines that events produce.
fn logged(level: LogLevel, style: Style, events: impl FnOnce()) -> Vec<String> {
    let captured = Captured::default();
    let (subscriber, _) = to(&captured, level, style);
    tracing::subscriber::with_default(subscriber, events);
    captured.lines()
}

/// A subscriber that writes lines to `captured`.
fn to(captured: &Captured, level: LogLevel, style: Style) -> (impl Subscriber + Send + Sync, LevelControl) {
    let captured = captured.clone();
    let make_output = move |level| {
        let writer = captured.clone();
        lines::output(level, style, move || writer.clone())
    };
    level::subscriber(level, make_output)
}

fn submitted() {
    let order_id: Option<&str> = None;
    info!(event = %LogEvent::Submitted, certificate_id = %"abcb1234", r#try = 2u32, duration_ms = 187u64, share = 0.5, durable = true, order_id, "submitted abcb1234");
}

#[test]
fn a_text_line_is_time_level_message_and_fields() {
    let lines = logged(LogLevel::Info, TEXT, submitted);
    let (time, rest) = lines[0].split_once(' ').unwrap();
    assert!(time.len() == "2026-11-24T09:00:00.123Z".len() && time.ends_with('Z'), "{time}");
    time.parse::<jiff::Timestamp>().unwrap();
    let fields = "event=submitted certificate_id=abcb1234 try=2 duration_ms=187 share=0.5 durable=true";
    assert_eq!(rest, format!(" INFO submitted abcb1234 {fields}"));
}

#[test]
fn a_json_line_is_one_flat_object_whose_numbers_are_numbers() {
    let line = logged(LogLevel::Info, Style::Json, || info_span!("request", number = 1).in_scope(submitted)).concat();
    let mut line: Value = serde_json::from_str(&line).unwrap();
    let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert_eq!(timestamp.as_str().unwrap().len(), "2026-11-24T09:00:00.123Z".len());
    timestamp.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let expected = json!({
        "level": "INFO", "message": "submitted abcb1234", "event": "submitted", "certificate_id": "abcb1234",
        "try": 2, "duration_ms": 187, "share": 0.5, "durable": true,
    });
    assert_eq!(line, expected);
}

#[test]
fn nothing_in_a_value_starts_a_line_or_controls_a_terminal() {
    let evil = "a\u{1b}[31m\nb\r\tc\u{0}\u{7}\u{7f}\u{9b}2J\u{202e}\u{2028}é";
    let escaped = r"a\u{1b}[31m\nb\r\tc\u{0}\u{7}\u{7f}\u{9b}2J\u{202e}\u{2028}é";
    let error = io::Error::other(evil);
    let error: &(dyn std::error::Error + 'static) = &error;
    let events = || {
        info_span!("span", shown = %evil).in_scope(|| warn!(shown = %evil, "{evil}"));
        warn!(error, text = evil, debug = ?evil, "{}", evil);
    };
    let text = logged(LogLevel::Info, TEXT, events);
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(text[0].ends_with(&format!("WARN span{{shown={escaped}}}: {escaped} shown={escaped}")), "{}", text[0]);
    assert!(!text.concat().chars().any(is_unsafe), "{text:?}");

    let json = logged(LogLevel::Info, Style::Json, events);
    assert_eq!(json.len(), 2, "{json:?}");
    assert!(!json.concat().chars().any(is_unsafe), "{json:?}");
    for line in json {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["message"], evil);
    }
}

#[test]
fn colors_change_nothing_but_the_colors() {
    let colored =
        logged(LogLevel::Info, Style::Text { colors: true }, || warn!(shown = %"\u{1b}[2J", "careful")).concat();
    assert!(colored.contains("\u{1b}[3mshown\u{1b}[0m=\\u{1b}[2J"), "{colored:?}");
    assert!(!logged(LogLevel::Info, TEXT, || warn!("careful")).concat().contains('\u{1b}'));
}

#[test]
fn the_level_applies_to_own_events_and_those_of_libraries_come_with_debug() {
    let events = || {
        error!("own error");
        warn!("own warn");
        info!("own info");
        debug!("own debug");
        trace!("own trace");
        error!(target: "hyper", "other error");
        warn!(target: "sqlx::query", "other warn");
        info!(target: "reqwest", "other info");
        trace!(target: "rustls", "other trace");
    };
    let messages = |level| {
        let lines = logged(level, Style::Json, events);
        let message =
            |line: &String| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned();
        lines.iter().map(message).collect::<Vec<_>>()
    };
    assert_eq!(messages(LogLevel::Error), ["own error"]);
    assert_eq!(messages(LogLevel::Warn), ["own error", "own warn"]);
    assert_eq!(messages(LogLevel::Info), ["own error", "own warn", "own info"]);
    let debug = ["own error", "own warn", "own info", "own debug", "other error", "other warn"];
    assert_eq!(messages(LogLevel::Debug), debug);
    assert_eq!(messages(LogLevel::Trace).len(), 9);
    assert!(logged(LogLevel::Debug, TEXT, || info!("where")).concat().contains("certcommit::logging::tests: where"));
}

#[test]
fn a_panic_is_one_line_of_the_log() {
    let lines = logged(LogLevel::Error, TEXT, || {
        let before = std::panic::take_hook();
        panics::install_hook();
        let outcome = std::panic::catch_unwind(|| panic!("that is\nnot so: {}", 7));
        std::panic::set_hook(before);
        assert!(outcome.is_err());
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let (_, rest) = line.split_once("ERROR internal error at src/logging/tests.rs:").unwrap();
    assert!(rest.ends_with(r"; a task of certcommit ended: that is\nnot so: 7. Please report it"), "{line}");
}

#[test]
fn the_level_changes_while_the_process_runs() {
    for style in [TEXT, Style::Json] {
        let captured = Captured::default();
        let (subscriber, level) = to(&captured, LogLevel::Info, style);
        let logged_at = |to| {
            let before = captured.lines().len();
            level.set(to).unwrap();
            info!("own info");
            debug!("own debug");
            trace!(target: "hyper", "other trace");
            let lines = captured.lines().split_off(before);
            ["own info", "own debug", "other trace"].map(|words| lines.iter().any(|line| line.contains(words)))
        };
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(logged_at(LogLevel::Warn), [false, false, false]);
            assert_eq!(logged_at(LogLevel::Debug), [true, true, false]);
            assert_eq!(logged_at(LogLevel::Trace), [true, true, true]);
            assert_eq!(logged_at(LogLevel::Info), [true, false, false]);
        });
    }
}

#[test]
fn auto_is_text_on_a_terminal_and_json_elsewhere() {
    assert_eq!(style(LogFormat::Auto, true, true), Style::Text { colors: true });
    assert_eq!(style(LogFormat::Auto, false, false), Style::Json);
    assert_eq!(style(LogFormat::Json, true, true), Style::Json);
    assert_eq!(style(LogFormat::Text, false, false), TEXT);
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    struct Broken;
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    for style in [TEXT, Style::Json] {
        let make_output = move |level| lines::output(level, style, || Broken);
        tracing::subscriber::with_default(level::subscriber(LogLevel::Info, make_output).0, submitted);
    }
}
