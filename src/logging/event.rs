//! The catalogue of events: every kind of line that operators can filter by, and the fields that it has.

use tracing::Level;

use super::field::Field;
use crate::named_enum::named_enum;

/// The events with their names, levels, meanings and fields.
macro_rules! events {
    ($($variant:ident = $text:literal, $level:ident, $describe:literal, [$($field:ident)*];)*) => {
        named_enum! {
            /// What a log line is about: the value of its field `event`. Operators filter by these names.
            pub enum LogEvent { $(#[doc = $describe] $variant = $text,)* }
        }

        impl LogEvent {
            /// How urgent it is.
            #[must_use]
            pub fn level(self) -> Level {
                match self { $(Self::$variant => Level::$level,)* }
            }

            /// The fields that its lines have, where they have a value.
            #[must_use]
            pub fn fields(self) -> &'static [Field] {
                match self { $(Self::$variant => &[$(Field::$field,)*],)* }
            }
        }
    };
}

events! {
    Started = "started", INFO, "The daemon has read its configuration and holds the database.",
        [Version RunId Pid Database Endpoint Rate];
    StartFailed = "start_failed", ERROR, "The daemon did not start; another one that runs goes on.", [ExitCode];
    Ready = "ready", INFO, "The daemon starts work.", [RunId];
    Submitted = "submitted", INFO, "A commit succeeded: the order is placed.",
        [CertificateId State Try Outcome OrderId Status RequestId HttpStatus DurationMs];
    Retrying = "retrying", INFO, "A commit failed for a temporary reason; it is tried again when it is due.",
        [CertificateId State Cause Try Outcome RequestId ErrorCode ErrorMessage HttpStatus DurationMs NextDue];
    Failed = "failed", WARN, "A certificate was refused for good, or is out of tries.",
        [CertificateId State Cause Try Outcome OrderId Status RequestId ErrorCode ErrorMessage HttpStatus DurationMs];
    InDoubt = "in_doubt", WARN, "A commit may have placed an order; the certificate is read back.",
        [CertificateId State Cause Try Outcome RequestId ErrorCode ErrorMessage HttpStatus DurationMs NextDue Count];
    Verified = "verified", INFO, "A certificate was read back, and the reply shows its status.",
        [CertificateId State Cause Try Outcome OrderId Status RequestId HttpStatus DurationMs NextDue];
    Held = "held", WARN, "The daemon can't decide what a readback means; an operator has to.",
        [CertificateId State Cause Try Outcome OrderId Status RequestId ErrorCode ErrorMessage HttpStatus DurationMs];
    StatusChanged = "status_changed", INFO, "A followed order has another status than before.",
        [CertificateId OrderId Status PreviousStatus StatusMessage];
    FollowFailed = "follow_failed", WARN, "The statuses of the orders can't be read; commits go on, and it is tried again.",
        [RequestId ErrorCode Why ProbeInS];
    Throttled = "throttled", WARN, "The server limits the rate; nothing was executed, and the pace goes down.",
        [CertificateId State Cause Try Outcome RequestId ErrorCode ErrorMessage HttpStatus DurationMs NextDue];
    Paused = "paused", WARN, "The queue is paused, by an operator or because of a fault.", [Why Cause ProbeInS];
    Resumed = "resumed", INFO, "The queue continues after a pause.", [Cause PausedS ResultsWritten];
    VerifyPaused = "verify_paused", WARN, "Readback is paused: it isn't permitted, or it fails.",
        [Why Cause ProbeInS];
    StillPaused = "still_paused", WARN, "A probe failed, so the pause lasts.", [Why Cause Probes PausedS ProbeInS Pending InDoubt];
    Progress = "progress", INFO, "At every interval while there is work: counts, rate and time left.",
        [Pending InFlight InDoubt Submitted Failed Held PerSecond Pace LeftS OldestS];
    DatabaseUnavailable = "database_unavailable", ERROR, "The database doesn't work; nothing is sent until it does.",
        [Cause ResultsInHand OnTheWay];
    WriteRefused = "write_refused", ERROR,
        "A rule of the queue, or a trigger that you added, rejects a claim or a result; it is tried again.",
        [CertificateId Request Submission];
    Reloaded = "reloaded", INFO,
        "The configuration was reloaded; if it couldn't be, the level is error.",
        [Changed RestartNeeded Error];
    Stopping = "stopping", INFO, "The daemon claims nothing more, and waits for requests in flight.", [OnTheWay];
    Stopped = "stopped", INFO, "The daemon has written all results that it could, and ends.",
        [Cause Submitted Failed Held InDoubt Pending Unwritten];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_catalogue_has_every_event_once_with_a_sentence() {
        let expected = "started start_failed ready submitted retrying failed in_doubt verified held status_changed follow_failed throttled paused resumed verify_paused \
            still_paused progress database_unavailable write_refused reloaded stopping stopped";
        assert_eq!(LogEvent::NAMES.join(" "), expected);
        let sentences: BTreeSet<&str> = LogEvent::ALL.iter().map(|event| event.describe()).collect();
        assert_eq!(sentences.len(), LogEvent::ALL.len());
        assert!(sentences.iter().all(|sentence| sentence.ends_with('.') && !sentence.contains('\n')));
        let urgent: Vec<&str> =
            LogEvent::ALL.iter().filter(|event| event.level() < Level::INFO).map(|event| event.as_str()).collect();
        let expected = [
            "start_failed",
            "failed",
            "in_doubt",
            "held",
            "follow_failed",
            "throttled",
            "paused",
            "verify_paused",
            "still_paused",
            "database_unavailable",
            "write_refused",
        ];
        assert_eq!(urgent, expected);
        assert_eq!(LogEvent::DatabaseUnavailable.level(), Level::ERROR);
    }
}
