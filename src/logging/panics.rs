//! Logs each panic, which is a bug of certcommit, as one line.

use std::panic::{self, PanicHookInfo};

use crate::escaping::printable;

/// Longer messages are truncated.
const LONGEST_MESSAGE: usize = 400;

/// From now on, the panics of this process go to its log.
pub(super) fn install_hook() {
    panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let message = printable(panic.payload_as_str().unwrap_or("(no message)"), LONGEST_MESSAGE);
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!("internal error at {at}; a task of certcommit ended: {message}. Please report it");
}
