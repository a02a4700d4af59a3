//! Whether the database is the one that it was, or one that doesn't know what was sent since: then the start is paused.

use std::time::Duration;

use crate::clock::{UnixMillis, rough};
use crate::logging::LogEvent;
use crate::queue::{LastRun, Queue, QueueError, RestoreGap, RestoreMarker};

/// A machine or a daemon that dies is back within minutes, by itself. A run that ended otherwise than in good order and
/// was last heard of longer ago may be the one that a snapshot or a copy of the files was taken of.
const LONGEST_SILENCE: Duration = Duration::from_secs(15 * 60);
/// As far as the clock may be off for the API, it may be behind that of the last run.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Looks at the mark and at how the last run ended, and pauses what may have been restored.
pub(super) async fn notice(
    queue: &mut Queue,
    mark: &mut RestoreMarker,
    last: Option<LastRun>,
    now: UnixMillis,
) -> Result<(), QueueError> {
    if lags_behind(queue, mark).await? {
        return Ok(());
    }
    // Database and mark agree, as they do when both were brought back.
    let Some(doubt) = last.and_then(|last| doubt(last, now)) else { return Ok(()) };
    let why = format!(
        "{doubt}. It may have been restored, from a snapshot of the disk for instance, and then it doesn't know what was \
         sent since. If it was: enqueue again what is missing, and run `certcommit verify --pending` to read what is \
         pending back first. Then, or if it was not: `certcommit resume`"
    );
    tracing::warn!(event = LogEvent::Paused.as_str(), why, "paused: {why}");
    queue.set_paused(true, Some(&why)).await
}

/// What speaks against the last run having been the last one, if anything does.
fn doubt(last: LastRun, now: UnixMillis) -> Option<String> {
    if last.in_good_order {
        return None;
    }
    let seconds = now.seconds().saturating_sub(last.heard_of);
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 && distance > CLOCK_TOLERANCE {
        let ahead = rough(distance);
        return Some(format!(
            "the last run did not end in good order, and by this machine's clock its last sign of life lies {ahead} in the \
             future, so that how long it has been silent can't be told"
        ));
    }
    (seconds > 0 && distance > LONGEST_SILENCE)
        .then(|| format!("the last run did not end in good order, and was last heard of {} ago", rough(distance)))
}

/// A database that lags behind its mark, or was emptied, doesn't know what was sent. Its requests go on from the
/// mark, so that the mark never has to go back: the same backup, restored once more, is noticed once more. Whether it
/// was paused.
async fn lags_behind(queue: &mut Queue, mark: &mut RestoreMarker) -> Result<bool, QueueError> {
    let Some(gap) = queue.gap(mark.number()).await? else {
        // Its last moments went with the power, or its daemon died just before it wrote it.
        let newest = queue.newest_request().await?;
        if mark.number() != Some(newest) {
            mark.reset(newest)?;
        }
        return Ok(false);
    };
    let number = match gap {
        RestoreGap::Behind { made, .. } | RestoreGap::Emptied { made } if mark.number().is_some() => made,
        // A number that no copy of this database has.
        RestoreGap::Behind { made: newest, .. }
        | RestoreGap::Emptied { made: newest }
        | RestoreGap::Unmarked { newest } => newest + 1,
    };
    let why = format!(
        "{gap}. What is pending may have been sent: enqueue again what is missing, run `certcommit verify --pending` to \
         read all of it back first, then `certcommit resume`"
    );
    tracing::warn!(event = LogEvent::Paused.as_str(), why, "paused: {why}");
    queue.pause_restored(&why, number).await?;
    mark.reset(number)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn doubt_after(in_good_order: bool, seconds: i64) -> Option<String> {
        doubt(LastRun { in_good_order, heard_of: NOW.seconds() - seconds }, NOW)
    }

    #[test]
    fn a_run_that_died_and_was_silent_for_longer_than_a_machine_takes_to_come_back_is_doubted() {
        assert_eq!(doubt_after(false, 0), None);
        assert_eq!(doubt_after(false, 15 * 60), None);
        let why = doubt_after(false, 15 * 60 + 1).unwrap();
        assert!(why.ends_with("was last heard of 15 min 1 s ago"), "{why}");
        assert!(doubt_after(false, i64::MAX).is_some());
    }

    #[test]
    fn a_run_that_is_heard_of_in_the_future_is_doubted_beyond_what_clocks_differ_by() {
        assert_eq!(doubt_after(false, -5 * 60), None);
        let why = doubt_after(false, -5 * 60 - 1).unwrap();
        assert!(why.contains("lies 5 min 1 s in the future") && why.contains("can't be told"), "{why}");
    }

    #[test]
    fn a_run_that_ended_in_good_order_is_not_doubted_however_long_ago_that_was() {
        for seconds in [0, 86_400 * 365, -86_400] {
            assert_eq!(doubt_after(true, seconds), None);
        }
    }
}
