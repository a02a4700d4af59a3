//! Lines on standard error: text for people, or JSON for machines.

use std::fmt::{self, Write as _};

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::Layer as _;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self as lines, FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::level::{LogLevel, Output};
use crate::clock;
use crate::escaping::{Escaping, EscapingJson};

/// The format of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Text { colors: bool },
}

/// Writes the events of this level as lines.
pub(super) fn output<W>(level: LogLevel, style: Style, writer: W) -> Output
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // Without this, the subscriber reports failed writes on standard error, and panics if that is closed.
    let lines = lines::layer()
        .with_writer(writer)
        .with_timer(UtcMillis)
        .with_target(level >= LogLevel::Debug)
        .log_internal_errors(false);
    match style {
        Style::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(level.filter().and_then(json.map_event_format(SafeJson)))
        }
        Style::Text { colors } => {
            let text = lines.with_ansi(colors).fmt_fields(debug_fn(write_field).delimited(" "));
            Box::new(level.filter().and_then(text))
        }
    }
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

/// Writes a field of a text line, escaped. The subscriber itself would write values unescaped, and messages with line
/// breaks.
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

/// The subscriber's JSON, one object a line. Also escapes characters that JSON allows and a terminal obeys.
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
