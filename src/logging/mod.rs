//! The log: the catalogue of events, and the two formats of a line.
//!
//! Lines go to standard error. Text is for people, JSON for machines; in both, nothing that a server or a
//! database put into a value can start a new line or steer a terminal. It refuses no event: what is worth
//! a line, and what must not stand in one, is for those to know who write it.

mod escaping;
mod event;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};

use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self as lines, FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;
use tracing_subscriber::registry::LookupSpan;

use crate::clock;
use crate::config::{LEVELS, LogFormat};

pub use escaping::{is_unsafe, printable};
pub use event::Event;

use escaping::{Escaping, EscapingJson};

/// What certcommit's own events have as the start of their target.
const OWN_TARGET: &str = "certcommit";

/// Why the log can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The name is none of [`LEVELS`].
    #[error("{0:?} is not a log level")]
    UnknownLevel(String),
    /// The log of this process is set up already.
    #[error("the log is set up already")]
    Installed,
}

/// Sets up the log of the process: from now on, events go to standard error.
///
/// `level` is one of [`LEVELS`] and applies to certcommit's own events. Those of libraries come from
/// `warn` on only, unless the level is `trace`.
///
/// # Errors
/// When there is no such level, or the log is set up already.
pub fn init(level: &str, format: LogFormat) -> Result<(), LoggingError> {
    let terminal = io::stderr().is_terminal();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = style(format, terminal, terminal && !no_colour);
    let subscriber = subscriber(parse_level(level)?, style, io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Installed)
}

/// How lines look, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Json,
    Text { colours: bool },
}

fn style(format: LogFormat, terminal: bool, colours: bool) -> Style {
    match format {
        LogFormat::Json => Style::Json,
        LogFormat::Auto if !terminal => Style::Json,
        LogFormat::Auto | LogFormat::Text => Style::Text { colours },
    }
}

fn parse_level(level: &str) -> Result<Level, LoggingError> {
    let unknown = || LoggingError::UnknownLevel(level.to_owned());
    if LEVELS.contains(&level) { level.parse().map_err(|_| unknown()) } else { Err(unknown()) }
}

fn subscriber<W>(level: Level, style: Style, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // What a library has to say about its own errors can't be logged when writing the log is what fails;
    // the subscriber would print it to standard error, and panic if that is gone.
    let lines = lines::layer()
        .with_writer(writer)
        .with_timer(UtcMillis)
        .with_target(level >= Level::DEBUG)
        .log_internal_errors(false);
    let registry = registry().with(filter(level));
    match style {
        Style::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(registry.with(json.map_event_format(SafeJson)))
        }
        Style::Text { colours } => {
            let text = lines.with_ansi(colours).fmt_fields(debug_fn(write_field).delimited(" "));
            Box::new(registry.with(text))
        }
    }
}

fn filter(level: Level) -> Targets {
    let others = if level == Level::TRACE { Level::TRACE } else { level.min(Level::WARN) };
    Targets::new().with_default(LevelFilter::from(others)).with_target(OWN_TARGET, level)
}

/// The time of a line: RFC 3339 in UTC, to the millisecond.
struct UtcMillis;

impl FormatTime for UtcMillis {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let millis = clock::now().unix.0;
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(at) => write!(w, "{at:.3}"),
            Err(_) => write!(w, "{millis}"),
        }
    }
}

/// Writes a field of a text line. The subscriber's own way writes values as they are, and a message with
/// its line breaks.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    const ITALIC: &str = "\u{1b}[3m";
    const PLAIN: &str = "\u{1b}[0m";
    match (field.name(), writer.has_ansi_escapes()) {
        ("message", _) => {}
        (name, true) => write!(writer, "{ITALIC}{name}{PLAIN}=")?,
        (name, false) => write!(writer, "{name}=")?,
    }
    write!(Escaping(writer), "{value:?}")
}

/// One JSON object a line, as the subscriber has it, but for the characters that JSON need not escape and a terminal
/// would obey.
struct SafeJson<F>(F);

impl<S, N, F> FormatEvent<S, N> for SafeJson<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        self.0.format_event(context, Writer::new(&mut EscapingJson(&mut writer)), event)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::{debug, error, info, info_span, trace, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const TEXT: Style = Style::Text { colours: false };

    /// The lines that the events leave.
    fn logged(level: &str, style: Style, events: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = subscriber(parse_level(level).unwrap(), style, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().split_terminator('\n').map(str::to_owned).collect()
    }

    fn submitted() {
        let order_id: Option<&str> = None;
        info!(event = %Event::Submitted, certificate_id = %"abcb1234", r#try = 2u32, duration_ms = 187u64, share = 0.5, durable = true, order_id, "submitted abcb1234");
    }

    #[test]
    fn a_text_line_is_time_level_message_and_fields() {
        let lines = logged("info", TEXT, submitted);
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(time.len() == "2026-11-24T09:00:00.123Z".len() && time.ends_with('Z'), "{time}");
        time.parse::<jiff::Timestamp>().unwrap();
        let fields = "event=submitted certificate_id=abcb1234 try=2 duration_ms=187 share=0.5 durable=true";
        assert_eq!(rest, format!(" INFO submitted abcb1234 {fields}"));
    }

    #[test]
    fn a_json_line_is_one_flat_object_whose_numbers_are_numbers() {
        let line = logged("info", Style::Json, || info_span!("request", number = 1).in_scope(submitted)).concat();
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
    fn nothing_in_a_value_starts_a_line_or_steers_a_terminal() {
        let evil = "a\u{1b}[31m\nb\r\tc\u{0}\u{7}\u{7f}\u{9b}2J\u{202e}\u{2028}é";
        let escaped = r"a\u{1b}[31m\nb\r\tc\u{0}\u{7}\u{7f}\u{9b}2J\u{202e}\u{2028}é";
        let error = io::Error::other(evil);
        let error: &(dyn std::error::Error + 'static) = &error;
        let events = || {
            info_span!("span", shown = %evil).in_scope(|| warn!(shown = %evil, "{evil}"));
            warn!(error, text = evil, debug = ?evil, "{}", evil);
        };
        let text = logged("info", TEXT, events);
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(text[0].ends_with(&format!("WARN span{{shown={escaped}}}: {escaped} shown={escaped}")), "{}", text[0]);
        assert!(!text.concat().chars().any(is_unsafe), "{text:?}");

        let json = logged("info", Style::Json, events);
        assert_eq!(json.len(), 2, "{json:?}");
        assert!(!json.concat().chars().any(is_unsafe), "{json:?}");
        for line in json {
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["message"], evil);
        }
    }

    #[test]
    fn colours_change_nothing_but_the_colours() {
        let coloured =
            logged("info", Style::Text { colours: true }, || warn!(shown = %"\u{1b}[2J", "careful")).concat();
        assert!(coloured.contains("\u{1b}[3mshown\u{1b}[0m=\\u{1b}[2J"), "{coloured:?}");
        assert!(!logged("info", TEXT, || warn!("careful")).concat().contains('\u{1b}'));
    }

    #[test]
    fn the_level_holds_for_own_events_and_libraries_speak_from_warn_on() {
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
        assert_eq!(messages("error"), ["own error", "other error"]);
        assert_eq!(messages("warn"), ["own error", "own warn", "other error", "other warn"]);
        assert_eq!(messages("info"), ["own error", "own warn", "own info", "other error", "other warn"]);
        let debug = ["own error", "own warn", "own info", "own debug", "other error", "other warn"];
        assert_eq!(messages("debug"), debug);
        assert_eq!(messages("trace").len(), 9);
        assert!(logged("debug", TEXT, || info!("where")).concat().contains("certcommit::logging::tests: where"));
    }

    #[test]
    fn auto_is_text_on_a_terminal_and_json_elsewhere() {
        assert_eq!(style(LogFormat::Auto, true, true), Style::Text { colours: true });
        assert_eq!(style(LogFormat::Auto, false, false), Style::Json);
        assert_eq!(style(LogFormat::Json, true, true), Style::Json);
        assert_eq!(style(LogFormat::Text, false, false), TEXT);
    }

    #[test]
    fn a_log_that_cannot_be_written_does_not_stop_anything() {
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
            tracing::subscriber::with_default(subscriber(Level::INFO, style, || Broken), submitted);
        }
    }

    #[test]
    fn an_unknown_level_is_refused() {
        for bad in ["", "INFO", "off", "3", "info,sqlx=debug"] {
            assert_eq!(parse_level(bad).unwrap_err().to_string(), format!("{bad:?} is not a log level"));
        }
        for good in LEVELS {
            assert_eq!(parse_level(good).unwrap().as_str().to_lowercase(), good);
        }
    }
}
