//! `certcommit verify`.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::sleep;

use super::exit::{Code, Failure};
use super::moving::print_shifted;
use crate::cause::Cause;
use crate::clock;
use crate::config::Settings;
use crate::queue::{Opening, Queue, ReadbackCounts, Selection, daemon_lives};
use crate::submission::{CertificateId, State};

/// The longest wait for the readbacks: those that have not come by then go on without this command.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Readbacks that are slow may take this long.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Arguments {
    /// IDs of pending or held certificates.
    #[arg(value_name = "ID")]
    ids: Vec<CertificateId>,
    /// All held submissions.
    #[arg(long)]
    held: bool,
    /// All pending submissions, for example after restoring a backup.
    #[arg(long)]
    pending: bool,
}

/// Marks the submissions to be read back, waits for the readbacks, and reports what they found and which step is left.
pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let (selection, from): (_, &[State]) = match (arguments.held, arguments.pending) {
        (true, _) => (Selection::All, &[State::Held]),
        (_, true) => (Selection::All, &[State::Pending]),
        _ => (Selection::Ids(arguments.ids), &[State::Pending, State::Held]),
    };
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let newest = queue.newest_request().await?;
    let shifted = queue.shift(&selection, from, State::InDoubt, None).await?;
    let code = print_shifted(&mut queue, &shifted, State::InDoubt, "will be read back before anything is sent").await?;
    let mut out = std::io::stdout();
    if shifted.moved > 0 {
        if daemon_lives(&settings.database.path)? {
            let found = wait_for_readbacks(&mut queue, newest, shifted.moved, settings.verify.per_second).await?;
            writeln!(out, "{}", describe(&found, shifted.moved))?;
        } else {
            writeln!(out, "no daemon is running, so nothing is read: systemctl start certcommit")?;
        }
    }
    if let Some(left) = step_left(queue.situation().await?.control.cause()) {
        writeln!(out, "{left}")?;
    }
    Ok(code)
}

/// Waits until each of these submissions has been read once since the request with this number.
async fn wait_for_readbacks(
    queue: &mut Queue,
    newest: i64,
    wanted: u64,
    per_second: u32,
) -> Result<ReadbackCounts, Failure> {
    let at_least = Duration::from_secs(wanted / u64::from(per_second.max(1)));
    let deadline = clock::now().instant + (at_least + PATIENCE).min(LONGEST_WAIT);
    loop {
        let found = queue.readbacks_since(newest).await?;
        if found.all() >= i64::try_from(wanted).unwrap_or(i64::MAX) || clock::now().instant >= deadline {
            return Ok(found);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn describe(found: &ReadbackCounts, wanted: u64) -> String {
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    let ReadbackCounts { order, no_order, other, failed } = found;
    let parts = [
        (*order, "have an order, and are submitted"),
        (*no_order, "show none so far, and are read again before they are sent"),
        (*other, "show something else: see certcommit status"),
        (*failed, "could not be read: see certcommit status"),
        (wanted.saturating_sub(found.all()), "are still to be read, by the daemon"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    parts.collect::<Vec<_>>().join("; ")
}

/// The step that is left, while the queue is paused.
fn step_left(cause: Option<Cause>) -> Option<String> {
    match cause? {
        Cause::Pause(cause) => Some(format!("the queue is paused. Left to do: {}", cause.remedy_once_verified())),
        Cause::Row(_) | Cause::Database(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::PauseCause;

    #[test]
    fn what_was_found_is_counted_by_what_becomes_of_it() {
        let found = ReadbackCounts { order: 60, no_order: 38, other: 0, failed: 1 };
        let expected = "60 have an order, and are submitted; 38 show none so far, and are read again before they are sent; 1 could \
                        not be read: see certcommit status; 1 are still to be read, by the daemon";
        assert_eq!(describe(&found, 100), expected);
    }

    #[test]
    fn the_step_that_is_left_is_that_of_the_pause() {
        assert_eq!(step_left(None), None);
        let restored = step_left(Some(PauseCause::RestoredDump.into())).unwrap();
        assert!(restored.ends_with("then: certcommit resume") && restored.contains("enqueue all"), "{restored}");
    }
}
