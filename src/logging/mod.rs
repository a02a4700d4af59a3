//! The log: the catalogue of events and fields, and the three forms of a line.
//!
//! Under systemd, events go to its journal; elsewhere lines go to standard error, as text for people or JSON for
//! machines. In each of them, nothing that a server or a database put into a value can start a new line or steer a
//! terminal. It refuses no event: what is worth a line, and what must not stand in one, is for those to know who write
//! it.

mod escaping;
mod event;
mod field;
mod journal;
mod panics;
mod reload;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use tracing::field::Field as Recorded;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self as lines, FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::clock;
use crate::config::{LEVELS, LogFormat};

pub use escaping::{is_unsafe, printable};
pub use event::Event;
pub use field::Field;
pub use reload::LogLevel;

use escaping::{Escaping, EscapingJson};
use journal::{Journal, JournalLayer};

/// What certcommit's own events have as the start of their target.
const OWN_TARGET: &str = "certcommit";

/// Why the log can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The name is none of [`LEVELS`].
    #[error("{0:?} is not a log level")]
    UnknownLevel(String),
    /// `log.format` asks for a journal, and there is none.
    #[error(
        "log.format is \"journald\", and no journal listens at {path}: {reason}. Set it to \"auto\", which takes the journal \
         where systemd runs the program, or to \"text\" or \"json\""
    )]
    NoJournal {
        /// Where it should listen.
        path: &'static str,
        /// Why it can't be sent to.
        reason: io::Error,
    },
    /// The log of this process is set up already.
    #[error("the log is set up already")]
    Installed,
    /// The log can't be set up anew.
    #[error("the log's level can't be changed: {0}")]
    Reload(#[from] tracing_subscriber::reload::Error),
}

/// Sets up the log of the process: from now on, events go to the journal or to standard error. What is returned
/// changes its level later.
///
/// `level` is one of [`LEVELS`] and applies to certcommit's own events. Libraries speak to programmers: what matters to an
/// operator is said in our own words, and theirs come at `debug`, from `warn` on, and at `trace`. A panic is an event, too.
///
/// # Errors
/// When there is no such level, no journal where one is asked for, or the log is set up already.
pub fn init(level: &str, format: LogFormat) -> Result<LogLevel, LoggingError> {
    let level = parse_level(level)?;
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let form = match format {
        LogFormat::Journald => {
            let opened = Journal::open(Path::new(journal::SOCKET));
            let opened = opened.map_err(|reason| LoggingError::NoJournal { path: journal::SOCKET, reason })?;
            Form::Journal(Arc::new(opened))
        }
        LogFormat::Auto if journal::is_stream(stream.as_deref(), io::stderr()) => {
            let opened = Journal::open(Path::new(journal::SOCKET));
            opened.map_or_else(|_| lines(format), |journal| Form::Journal(Arc::new(journal)))
        }
        LogFormat::Auto | LogFormat::Json | LogFormat::Text => lines(format),
    };
    let (subscriber, level) = reload::subscriber(level, move |level| layer(level, &form, io::stderr));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Installed)?;
    panics::are_logged();
    Ok(level)
}

/// Where an event goes, and how.
#[derive(Debug, Clone)]
enum Form {
    Journal(Arc<Journal>),
    Lines(Style),
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Json,
    Text { colours: bool },
}

/// Lines for the standard error that there is.
fn lines(format: LogFormat) -> Form {
    let terminal = io::stderr().is_terminal();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Form::Lines(style(format, terminal, terminal && !no_colour))
}

fn style(format: LogFormat, terminal: bool, colours: bool) -> Style {
    match format {
        LogFormat::Text => Style::Text { colours },
        LogFormat::Auto if terminal => Style::Text { colours },
        LogFormat::Auto | LogFormat::Json | LogFormat::Journald => Style::Json,
    }
}

fn parse_level(level: &str) -> Result<Level, LoggingError> {
    let unknown = || LoggingError::UnknownLevel(level.to_owned());
    if LEVELS.contains(&level) { level.parse().map_err(|_| unknown()) } else { Err(unknown()) }
}

/// What a subscriber does with events: which it takes, and where they go.
type Output = Box<dyn Layer<Registry> + Send + Sync>;

fn layer<W>(level: Level, form: &Form, writer: W) -> Output
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    match form {
        Form::Journal(journal) => {
            let layer = JournalLayer { journal: Arc::clone(journal), elsewhere: writer };
            Box::new(filter(level).and_then(layer))
        }
        Form::Lines(style) => lines_layer(level, *style, writer),
    }
}

fn lines_layer<W>(level: Level, style: Style, writer: W) -> Output
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
    match style {
        Style::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(filter(level).and_then(json.map_event_format(SafeJson)))
        }
        Style::Text { colours } => {
            let text = lines.with_ansi(colours).fmt_fields(debug_fn(write_field).delimited(" "));
            Box::new(filter(level).and_then(text))
        }
    }
}

fn filter(level: Level) -> Targets {
    let others = match level {
        Level::TRACE => LevelFilter::TRACE,
        Level::DEBUG => LevelFilter::WARN,
        _ => LevelFilter::OFF,
    };
    Targets::new().with_default(others).with_target(OWN_TARGET, level)
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
fn write_field(writer: &mut Writer<'_>, field: &Recorded, value: &dyn fmt::Debug) -> fmt::Result {
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
mod tests;
