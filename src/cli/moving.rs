//! Moves submissions to another state, for `cancel`, `retry` and `verify`.

use std::io::Write as _;

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::{Opening, Queue, Selection, UntrustedText};
use crate::submission::State;

/// Moves the selected submissions. Prints how many were moved, followed by `description`, and which couldn't be moved. A
/// submission that is already in the target state is no failure.
pub(super) async fn shift(
    settings: &Settings,
    selection: &Selection,
    from: &[State],
    to: State,
    description: &str,
) -> Result<Code, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let shifted = queue.shift(selection, from, to).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {description}", shifted.moved)?;
    let mut code = Code::Done;
    for id in &shifted.unmoved {
        match queue.submission(id).await?.map(|line| line.state) {
            Some(state) if state.as_str() == to.as_str() => writeln!(out, "{id}: already {state}")?,
            other => {
                writeln!(out, "{id}: {}", other.as_ref().map_or("not in the queue", UntrustedText::as_str))?;
                code = Code::PartlyDone;
            }
        }
    }
    Ok(code)
}
