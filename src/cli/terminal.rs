//! What goes to people: nothing in it steers their terminal.

use std::io::Write as _;

use super::exit::{Code, Failure};
use crate::escaping::{is_unsafe, printable};

/// The longest failure that is shown.
const LONGEST: usize = 4000;

/// Says why a command failed, on one line: paths and values in it are as odd as people make them.
pub(super) fn tell(failure: &Failure) {
    if !failure.is_quiet() {
        // With standard error gone, there is nobody to tell.
        writeln!(std::io::stderr(), "certcommit: {}", printable(&failure.to_string(), LONGEST)).unwrap_or_default();
    }
}

/// Says what is wrong with the arguments, or what was asked for instead; the exit code.
pub(super) fn tell_usage(error: &clap::Error) -> u8 {
    let odd = std::env::args_os().any(|argument| argument.to_string_lossy().chars().any(is_unsafe));
    // With the output gone, there is nobody to tell.
    if odd {
        let plain = error.to_string();
        let lines: Vec<String> = plain.lines().map(|line| printable(line, LONGEST)).collect();
        writeln!(std::io::stderr(), "{}", lines.join("\n")).unwrap_or_default();
    } else {
        error.print().unwrap_or_default();
    }
    if error.use_stderr() { Code::Usage.number() } else { Code::Done.number() }
}
