//! A panic, which is a defect of the program, as a line of the log.

use std::panic::{self, PanicHookInfo};

use crate::escaping::printable;

/// A longer message is cut.
const LONGEST_MESSAGE: usize = 400;

/// From now on, the panics of this process go to its log.
pub(super) fn are_logged() {
    panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let message = printable(panic.payload_as_str().unwrap_or("(no message)"), LONGEST_MESSAGE);
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!("internal error at {at}; a part of certcommit ended: {message}. Please report it");
}
