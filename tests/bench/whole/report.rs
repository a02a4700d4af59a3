//! Measured figures, and their targets.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

/// One measured figure.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// The value.
    pub(crate) measured: String,
    /// The target; empty if there is none.
    pub(crate) target: String,
    /// Whether the target is met.
    pub(crate) met: bool,
}

impl Figure {
    /// A figure with a target.
    pub(crate) fn with_target(what: impl Into<String>, measured: impl Into<String>, target: &str, met: bool) -> Self {
        Self { what: what.into(), measured: measured.into(), target: target.to_owned(), met }
    }

    /// A figure without a target.
    pub(crate) fn without_target(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { what: what.into(), measured: measured.into(), target: String::new(), met: true }
    }
}

/// All figures of a run, as a Markdown table.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["what", "measured", "target", ""]);
    for figure in figures {
        let verdict = if figure.met { "" } else { "MISSED" };
        table.add_row([&figure.what, &figure.measured, &figure.target, verdict]);
    }
    table.to_string()
}

/// A ratio, as text.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// A short duration, as text.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The value at this quantile, from 0 to 1, by nearest rank; `None` without values.
pub(crate) fn percentile<T: Copy + Ord>(values: &[T], part: f64) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let count = f64::from(u32::try_from(sorted.len()).expect("few values"));
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    let rank = (count * part).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}
