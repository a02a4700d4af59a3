//! A panic, which is a mistake in the program, as a line of the log instead of a text in between.

use std::panic::{self, PanicHookInfo};

use super::printable;

/// As much is told of what it says.
const SHOWN: usize = 400;

/// From now on, panics of this process are told in its log.
pub(super) fn are_logged() {
    panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let says = printable(panic.payload_as_str().unwrap_or("nothing that is text"), SHOWN);
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!("certcommit made a mistake at {at}, and a part of it ended: {says}. Please report it");
}
