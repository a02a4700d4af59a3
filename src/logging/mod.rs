//! The log: the catalogue of events and fields, and the three formats of a line.
//!
//! Under systemd, events go to its journal; otherwise they go to standard error, as text for people or JSON for
//! machines. In every format, a value that a server or a database supplied can neither start a new line nor control a
//! terminal. What deserves a line, and what must not appear in one, is up to the caller.

mod event;
mod field;
mod journal;
mod level;
mod lines;
mod panics;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::MakeWriter;

use crate::named_enum::named_enum;

pub use event::LogEvent;
pub use field::Field;
pub use level::{LevelControl, LevelUnchanged, LogLevel};

use journal::{Journal, JournalLayer};
use level::Output;
use lines::Style;

named_enum! {
    /// `log.format`: where the log goes, and how it looks.
    pub enum LogFormat {
        /// The journal where systemd runs the program, text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// One JSON object a line.
        Json = "json",
        /// Text for people.
        Text = "text",
        /// Entries with native fields in systemd's journal.
        Journald = "journald",
    }
}

/// Why the log can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `log.format` asks for a journal, and there is none.
    #[error(
        "log.format is \"journald\", and no journal listens at {path}: {reason}. Set it to \"auto\", which uses the journal \
         where systemd runs the program, or to \"text\" or \"json\""
    )]
    NoJournal {
        /// Where it should listen.
        path: &'static str,
        /// Why it can't be reached.
        reason: io::Error,
    },
    /// The log of this process is set up already.
    #[error("the log is set up already")]
    Installed,
}

/// Sets up the log of the process: from now on, events and panics go to the journal or to standard error. Returns the
/// control that changes the level later.
///
/// # Errors
/// When a journal is asked for and there is none, or the log is set up already.
pub fn init(level: LogLevel, format: LogFormat) -> Result<LevelControl, LoggingError> {
    let destination = Destination::choose(format)?;
    let (subscriber, level) = level::subscriber(level, move |level| output(level, &destination, io::stderr));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Installed)?;
    panics::install_hook();
    Ok(level)
}

/// Where an event goes, and in which form.
#[derive(Debug, Clone)]
enum Destination {
    Journal(Arc<Journal>),
    Lines(Style),
}

impl Destination {
    fn choose(format: LogFormat) -> Result<Self, LoggingError> {
        let journal = || Journal::open(Path::new(journal::SOCKET)).map(|journal| Self::Journal(Arc::new(journal)));
        let stream = std::env::var("JOURNAL_STREAM").ok();
        match format {
            LogFormat::Journald => {
                journal().map_err(|reason| LoggingError::NoJournal { path: journal::SOCKET, reason })
            }
            LogFormat::Auto if journal::is_stream(stream.as_deref(), io::stderr()) => {
                Ok(journal().unwrap_or_else(|_| Self::lines(format)))
            }
            LogFormat::Auto | LogFormat::Json | LogFormat::Text => Ok(Self::lines(format)),
        }
    }

    /// Lines on this process's standard error.
    fn lines(format: LogFormat) -> Self {
        let terminal = io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::Lines(style(format, terminal, terminal && !no_color))
    }
}

fn style(format: LogFormat, terminal: bool, colors: bool) -> Style {
    match format {
        LogFormat::Text => Style::Text { colors },
        LogFormat::Auto if terminal => Style::Text { colors },
        LogFormat::Auto | LogFormat::Json | LogFormat::Journald => Style::Json,
    }
}

fn output<W>(level: LogLevel, destination: &Destination, writer: W) -> Output
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    match destination {
        Destination::Journal(journal) => {
            let layer = JournalLayer { journal: Arc::clone(journal), fallback: writer };
            Box::new(level.filter().and_then(layer))
        }
        Destination::Lines(style) => lines::output(level, *style, writer),
    }
}

#[cfg(test)]
mod tests;
