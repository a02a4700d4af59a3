//! Moves submissions to another state, for `cancel`, `retry` and `verify`.

use std::io::Write as _;

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::{Opening, Queue, Selection, Shifted};
use crate::submission::{State, VerifyType};

/// Moves the selected submissions, sets their verify type if one is given, and prints the result.
pub(super) async fn shift(
    settings: &Settings,
    selection: &Selection,
    from: &[State],
    to: State,
    verify_type: Option<VerifyType>,
    description: &str,
) -> Result<Code, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let shifted = queue.shift(selection, from, to, verify_type).await?;
    print_shifted(&mut queue, &shifted, to, description).await
}

/// Prints how many submissions were moved, followed by `description`, and which couldn't be moved. A submission that is
/// already in the target state is no failure.
pub(super) async fn print_shifted(
    queue: &mut Queue,
    shifted: &Shifted,
    to: State,
    description: &str,
) -> Result<Code, Failure> {
    let mut out = std::io::stdout().lock();
    if shifted.moved > 0 || shifted.unmoved.is_empty() {
        writeln!(out, "{} {description}", shifted.moved)?;
    }
    let mut code = Code::Done;
    for id in &shifted.unmoved {
        match queue.submission(id).await?.map(|line| line.state) {
            Some(state) if state.as_str() == to.as_str() => {
                writeln!(out, "{id}: already {state}; details: certcommit history {id}")?
            }
            Some(state) => {
                writeln!(out, "{id}: is {state}, and stays as it is; details: certcommit history {id}")?;
                code = Code::PartlyDone;
            }
            None => {
                writeln!(out, "{id}: not in the queue")?;
                code = Code::PartlyDone;
            }
        }
    }
    Ok(code)
}
