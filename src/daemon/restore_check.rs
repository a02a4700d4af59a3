//! Detects at the start whether the database was restored, so that it may lack what was sent since: then the queue is paused.

use std::time::Duration;

use crate::cause::PauseCause;
use crate::clock::UnixMillis;
use crate::queue::{Departures, LastRun, Queue, QueueError, RestoreGap, RestoreMarker};

/// A machine or a daemon that dies is back within minutes. If the last run didn't end in good order, and its last heartbeat is
/// older than this, the database may be a snapshot or a copy of the files.
const LONGEST_SILENCE: Duration = Duration::from_secs(15 * 60);
/// How far this machine's clock may be behind the last heartbeat: as far off as the API accepts.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Pauses the queue if its restore marker, or the end of the last run, shows that it may have been restored. Returns whether it
/// may. The event loop logs the pause.
pub(super) async fn check(
    queue: &mut Queue,
    marker: &mut RestoreMarker,
    departures: &Departures,
    last: Option<LastRun>,
    now: UnixMillis,
) -> Result<bool, QueueError> {
    if lags_behind(queue, marker, departures).await? {
        return Ok(true);
    }
    // The database and the marker agree, as they also do if both were restored.
    let Some(cause) = last.and_then(|last| restored_cause(last, now)) else { return Ok(false) };
    let cause = cause.into();
    queue.set_paused(Some(&cause)).await.map(|()| true)
}

/// Why the database may be older than its last run, if it may be.
fn restored_cause(last: LastRun, now: UnixMillis) -> Option<PauseCause> {
    if last.in_good_order {
        return None;
    }
    let seconds = now.seconds().saturating_sub(last.heard_of);
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 && distance > CLOCK_TOLERANCE {
        return Some(PauseCause::HeartbeatInFuture { ahead_s: distance.as_secs() });
    }
    let is_long = seconds > 0 && distance > LONGEST_SILENCE;
    is_long.then_some(PauseCause::UncleanShutdown { silent_s: distance.as_secs() })
}

/// Pauses a database that lags behind its marker, or was emptied, since it doesn't know what was sent. Its request numbers
/// continue from the marker, which never goes back: the same backup, restored again, is noticed again. Returns whether it was
/// paused.
async fn lags_behind(
    queue: &mut Queue,
    marker: &mut RestoreMarker,
    departures: &Departures,
) -> Result<bool, QueueError> {
    // If both files were restored, the departures, which are in memory, may know of newer requests.
    let made = marker.number().map(|number| number.max(departures.newest().unwrap_or_default()));
    let Some(gap) = queue.gap(made).await? else {
        // The marker's last writes were lost with the power, or the daemon died just before them.
        let newest = queue.newest_request().await?;
        if marker.number() != Some(newest) {
            marker.reset(newest)?;
        }
        return Ok(false);
    };
    let number = match gap {
        RestoreGap::Behind { made, .. } | RestoreGap::Emptied { made } if marker.number().is_some() => made,
        // No copy of this database has this number.
        RestoreGap::Behind { made: newest, .. }
        | RestoreGap::Emptied { made: newest }
        | RestoreGap::Unmarked { newest } => newest + 1,
    };
    let cause = PauseCause::from(gap).into();
    queue.pause_restored(&cause, number).await?;
    marker.reset(number)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn cause_after(in_good_order: bool, seconds: i64) -> Option<PauseCause> {
        restored_cause(LastRun { in_good_order, heard_of: NOW.seconds() - seconds }, NOW)
    }

    #[test]
    fn a_run_that_died_more_than_a_quarter_of_an_hour_ago_pauses_the_queue() {
        assert_eq!(cause_after(false, 0), None);
        assert_eq!(cause_after(false, 15 * 60), None);
        assert_eq!(cause_after(false, 15 * 60 + 1), Some(PauseCause::UncleanShutdown { silent_s: 901 }));
        assert!(cause_after(false, i64::MAX).is_some());
    }

    #[test]
    fn a_heartbeat_more_than_five_minutes_in_the_future_pauses_the_queue() {
        assert_eq!(cause_after(false, -5 * 60), None);
        assert_eq!(cause_after(false, -5 * 60 - 1), Some(PauseCause::HeartbeatInFuture { ahead_s: 301 }));
    }

    #[test]
    fn a_run_that_ended_in_good_order_pauses_nothing_however_long_ago_that_was() {
        for seconds in [0, 86_400 * 365, -86_400] {
            assert_eq!(cause_after(true, seconds), None);
        }
    }
}
