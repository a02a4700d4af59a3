//! Prints failures, escaped so that nothing in them can control the terminal.

use std::io::Write as _;

use super::exit::{Code, Failure};
use crate::escaping::{is_unsafe, printable};

/// Longer messages are truncated.
const MAX_CHARS: usize = 4000;

/// Prints why a command failed, on one line. Paths and values in it can contain anything.
pub(super) fn print_failure(failure: &Failure) {
    if !failure.is_quiet() {
        // If standard error is closed, nobody is listening.
        writeln!(std::io::stderr(), "certcommit: {}", printable(&failure.to_string(), MAX_CHARS)).unwrap_or_default();
    }
}

/// Prints a usage error, or the requested help. Returns the exit code.
pub(super) fn print_usage(error: &clap::Error) -> u8 {
    let has_unsafe_argument = std::env::args_os().any(|argument| argument.to_string_lossy().chars().any(is_unsafe));
    // If the output is closed, nobody is listening.
    if has_unsafe_argument {
        let lines: Vec<String> = error.to_string().lines().map(|line| printable(line, MAX_CHARS)).collect();
        writeln!(std::io::stderr(), "{}", lines.join("\n")).unwrap_or_default();
    } else {
        error.print().unwrap_or_default();
    }
    if error.use_stderr() { Code::Usage.number() } else { Code::Done.number() }
}
