//! The catalogue of fields: what a line carries besides its time, its level and its message.

use crate::named_enum::named_enum;

/// The fields with their names, units and meanings.
macro_rules! fields {
    ($($variant:ident = $text:literal, $unit:literal, $meaning:literal;)*) => {
        named_enum! {
            /// What a log line carries besides its message. In the journal, `request_id` is `CERTCOMMIT_REQUEST_ID`. The
            /// catalogue has all but `event` itself.
            #[derive(PartialOrd, Ord)]
            pub enum Field { $(#[doc = $meaning] $variant = $text,)* }
        }

        impl Field {
            /// The unit, or what kind of text it is.
            #[must_use]
            pub fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }
        }
    };
}

fields! {
    CertificateId = "certificate_id", "text", "The certificate of the request that ended.";
    State = "state", "text", "The new state of its submission.";
    Cause = "cause", "code", "Why it waits, failed, is held or is paused, as a stable code; for `resumed`, the cause that is over.";
    Try = "try", "number", "The number of the commit, from 1; a readback has that of the commit before it.";
    Outcome = "outcome", "text", "How the request ended, as in the table `requests`.";
    OrderId = "order_id", "text", "The order that was placed or read.";
    Status = "status", "number", "The certificate's status, as in the table `status_codes`.";
    PreviousStatus = "previous_status", "number", "The status before.";
    StatusMessage = "status_message", "text", "The server's words about the status, truncated and escaped.";
    RequestId = "request_id", "text", "The server's ID of the request, which its support asks for.";
    ErrorCode = "error_code", "text", "The server's error code.";
    ErrorMessage = "error_message", "text", "The server's message, truncated and escaped.";
    HttpStatus = "http_status", "number", "The status of the HTTP response, if one came.";
    DurationMs = "duration_ms", "ms", "How long the request took.";
    NextDue = "next_due", "UTC, RFC 3339", "When the submission is due again.";
    Count = "count", "submissions", "How many submissions the line is about, if more than one.";
    Version = "version", "text", "The version of certcommit.";
    RunId = "run_id", "text", "The run of the daemon, as in the table `requests`.";
    ExitCode = "exit_code", "number", "The exit code, as in the table of exit codes.";
    Pid = "pid", "number", "The daemon's process ID.";
    Database = "database", "path", "The queue.";
    Endpoint = "endpoint", "URL", "The API.";
    Rate = "rate", "per second", "The configured limit of commits.";
    Why = "why", "text", "Why it is paused, in words; the wording may change.";
    ProbeInS = "probe_in_s", "s", "The time until the next try tells whether the fault is over; absent if an operator paused it.";
    Probes = "probes", "number", "How many probes failed since the pause began.";
    PausedS = "paused_s", "s", "How long the pause has lasted.";
    ResultsWritten = "results_written", "results", "Results kept while the database was unavailable, and written now.";
    Pending = "pending", "submissions", "How many wait to be sent.";
    InFlight = "in_flight", "submissions", "How many have a commit in flight.";
    InDoubt = "in_doubt", "submissions", "How many are in doubt, and read back.";
    Submitted = "submitted", "submissions", "How many are submitted.";
    Failed = "failed", "submissions", "How many failed.";
    Held = "held", "submissions", "How many wait for an operator's decision.";
    PerSecond = "per_second", "per second", "Submissions since the previous `progress` line.";
    Pace = "pace", "per second", "The present limit of commits: the configured or the learned one.";
    LeftS = "left_s", "s", "Estimated time for the open submissions at that pace, with two readbacks for each one in doubt; absent while something is paused.";
    OldestS = "oldest_s", "s", "The age of the oldest open submission.";
    ResultsInHand = "results_in_hand", "results", "Results kept in memory until the database works.";
    OnTheWay = "on_the_way", "requests", "How many are still in flight.";
    Request = "request", "number", "The request whose result the queue rejects, as in the table `requests`.";
    Submission = "submission", "number", "The `id` of the submission whose claim or result the queue rejects.";
    Changed = "changed", "keys", "What changed with the new configuration.";
    RestartNeeded = "restart_needed", "keys", "What takes effect only after a restart.";
    Error = "error", "text", "Why the new configuration was rejected; the previous one stays in force.";
    Unwritten = "unwritten", "results", "Results that could not be written; the lines above have them.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::logging::LogEvent;

    #[test]
    fn every_field_is_described_once_in_a_sentence_and_belongs_to_an_event() {
        assert_eq!(BTreeSet::from_iter(Field::NAMES).len(), Field::ALL.len());
        let sentences: BTreeSet<&str> = Field::ALL.iter().map(|field| field.describe()).collect();
        assert_eq!(sentences.len(), Field::ALL.len());
        assert!(sentences.iter().all(|sentence| sentence.ends_with('.') && !sentence.contains('\n')));
        let used: BTreeSet<Field> = LogEvent::ALL.iter().flat_map(|event| event.fields()).copied().collect();
        assert_eq!(used, Field::ALL.iter().copied().collect());
    }

    #[test]
    fn an_event_has_each_field_once_and_one_of_a_request_has_them_in_the_order_of_the_catalogue() {
        for event in LogEvent::ALL {
            let fields = event.fields();
            assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), fields.len(), "{event}");
            assert!(!fields.contains(&Field::CertificateId) || fields.is_sorted(), "{event}");
        }
    }
}
