//! The catalogue of fields: what a line carries besides its time, its level and its message.

use std::fmt;

/// An enum of the fields with their names, units and meanings.
macro_rules! fields {
    ($($variant:ident = $text:literal, $unit:literal, $meaning:literal;)*) => {
        /// What a log line carries besides its message. In the journal, `request_id` is `CERTCOMMIT_REQUEST_ID`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field { $(#[doc = $meaning] $variant,)* }

        impl Field {
            /// The whole catalogue, but for `event` itself.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the log.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The unit, or what kind of text it is.
            #[must_use]
            pub fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }

            /// What it tells, in one sentence.
            #[must_use]
            pub fn describe(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

fields! {
    CertificateId = "certificate_id", "text", "The certificate of the request that ended.";
    State = "state", "text", "The state that its submission has from now on.";
    Try = "try", "number", "Which try the commit was, from 1; a read has that of the commit before it.";
    Outcome = "outcome", "text", "How the request ended, as in the table `requests`.";
    OrderId = "order_id", "text", "The order that was placed or read.";
    Status = "status", "number", "The certificate's status, as in the table `status_codes`.";
    RequestId = "request_id", "text", "The server's ID of the request, which its support asks for.";
    ErrorCode = "error_code", "text", "The server's error code.";
    ErrorMessage = "error_message", "text", "The server's words, capped and escaped.";
    HttpStatus = "http_status", "number", "The status of the HTTP response, if one came.";
    DurationMs = "duration_ms", "ms", "How long the request took.";
    NextDue = "next_due", "UTC, RFC 3339", "When the submission is due again.";
    Count = "count", "submissions", "How many the line is about, if it is about several.";
    Version = "version", "text", "The version of certcommit.";
    RunId = "run_id", "text", "The run of the daemon, as in the table `requests`.";
    Pid = "pid", "number", "The daemon's process.";
    Database = "database", "path", "The queue.";
    Endpoint = "endpoint", "URL", "The API.";
    Rate = "rate", "per second", "The most commits.";
    Why = "why", "text", "Why it is paused.";
    ProbeInS = "probe_in_s", "s", "When it tries by itself whether the fault is over; none if an operator paused it.";
    PausedS = "paused_s", "s", "How long a fault lasted.";
    ResultsWritten = "results_written", "results", "What was kept while the database didn't work, and is written now.";
    Pending = "pending", "submissions", "How many wait to be sent.";
    InFlight = "in_flight", "submissions", "How many are on the way.";
    InDoubt = "in_doubt", "submissions", "How many are read back.";
    Submitted = "submitted", "submissions", "How many are submitted.";
    Failed = "failed", "submissions", "How many failed.";
    Held = "held", "submissions", "How many wait for somebody to decide.";
    PerSecond = "per_second", "per second", "Submissions since the last such line.";
    Pace = "pace", "per second", "Commits that the daemon allows itself at present.";
    LeftS = "left_s", "s", "About how long the open submissions take at that pace, and what is in doubt to be read twice.";
    OldestS = "oldest_s", "s", "The age of the oldest open submission.";
    ResultsInHand = "results_in_hand", "results", "What is kept in memory until the database works.";
    OnTheWay = "on_the_way", "requests", "How many are still on the way.";
    Request = "request", "number", "The request whose result the queue's own rules refuse, as in the table `requests`.";
    Submission = "submission", "number", "The row that the queue's own rules refuse, by its `id`.";
    Changed = "changed", "keys", "What changed with the new configuration.";
    RestartNeeded = "restart_needed", "keys", "What changes with a restart only.";
    Error = "error", "text", "Why the new configuration was refused; that of before stays.";
    Unwritten = "unwritten", "results", "What could not be written; the lines above tell it.";
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::logging::Event;

    #[test]
    fn every_field_is_described_once_in_a_sentence_and_belongs_to_an_event() {
        let names: BTreeSet<&str> = Field::ALL.iter().map(|field| field.as_str()).collect();
        assert_eq!(names.len(), Field::ALL.len());
        let sentences: BTreeSet<&str> = Field::ALL.iter().map(|field| field.describe()).collect();
        assert_eq!(sentences.len(), Field::ALL.len());
        assert!(sentences.iter().all(|sentence| sentence.ends_with('.') && !sentence.contains('\n')));
        let used: BTreeSet<Field> = Event::ALL.iter().flat_map(|event| event.fields()).copied().collect();
        assert_eq!(used, Field::ALL.iter().copied().collect());
    }

    #[test]
    fn an_event_has_no_field_twice_and_all_have_the_order_of_the_catalogue_where_it_is_of_a_request() {
        for event in Event::ALL {
            let fields = event.fields();
            assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), fields.len(), "{event}");
            assert!(!fields.contains(&Field::CertificateId) || fields.is_sorted(), "{event}");
        }
    }
}
