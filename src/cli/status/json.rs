//! The queue at a glance, for programs. The keys are stable.

use serde_json::{Map, Value, json};

use super::diagnosis::Diagnosis;
use crate::submission::State;

/// Every key with its type and its meaning, for the man page. Times are unix seconds.
pub(in crate::cli) const KEYS: &[(&str, &str, &str)] = &[
    ("at", "integer", "When this was read."),
    ("daemon.alive", "boolean", "Whether a daemon holds the queue, by its lock, not its row."),
    ("daemon.mode", "text", "What it is doing: running, paused_by_operator, paused_by_fault, stopping or stopped."),
    ("daemon.why", "text or null", "Why, if it isn't simply running. The wording may change."),
    ("daemon.why_code", "text or null", "The stable code of that cause."),
    ("daemon.pid", "integer or null", "Its process ID."),
    ("daemon.version", "text or null", "Its version."),
    ("daemon.run_id", "text or null", "The ID of its run, as in the table requests."),
    ("daemon.started_at", "integer or null", "When it started."),
    ("daemon.heartbeat_at", "integer or null", "Its last heartbeat, which it writes every 10 seconds."),
    ("daemon.pace", "number or null", "The commits per second that it currently allows itself."),
    ("cap", "integer", "The configured maximum of commits per second."),
    ("paused", "boolean", "Whether an operator paused it."),
    ("pause_reason", "text or null", "The operator's reason, or certcommit's own if it paused itself when it started."),
    ("pause_code", "text or null", "The code of the cause: paused_by_operator, or that of certcommit's own pause."),
    (
        "damage",
        "text or null",
        "What is wrong with the database: rules that are missing, requests that are not on record, counts that are wrong. The wording may change.",
    ),
    ("todo", "text or null", "What to do, if something is wrong. The wording may change."),
    ("counts.STATE", "integer", "Submissions in this state, for each of the seven."),
    ("submitted_per_minute", "30 integers", "Successes in each of the last 30 minutes, the current minute last."),
    (
        "time_left_seconds",
        "integer or null",
        "The estimated time until nothing is open; null while no commits are sent or submissions in doubt can't be read back, or if nothing is open.",
    ),
    ("oldest_open.certificate_id", "text", "The oldest open submission; oldest_open is null if there is none."),
    ("oldest_open.state", "text", "Its state."),
    ("oldest_open.created_at", "integer", "When it was enqueued."),
    ("next_due_at", "integer or null", "When the next submission is due."),
    ("last_due_at", "integer or null", "When the last open submission is due."),
    (
        "errors[].code",
        "text or null",
        "The five most frequent error codes of failed submissions, the most frequent first.",
    ),
    ("errors[].count", "integer", "How many have it; counted up to 10,000."),
    ("errors[].at_least", "boolean", "Whether there are more than were counted."),
];

pub(super) fn to_json(diagnosis: &Diagnosis) -> Value {
    let status = &diagnosis.status;
    let counts: Map<_, _> =
        State::ALL.into_iter().map(|state| (state.as_str().to_owned(), json!(status.counts.of(state)))).collect();
    let errors = status.errors.iter();
    let errors: Vec<Value> = errors
        .map(|error| json!({ "code": error.code.as_deref(), "count": error.count, "at_least": error.at_least }))
        .collect();
    let oldest = status.oldest.as_ref().map(|oldest| {
        json!({ "certificate_id": &*oldest.certificate_id, "state": &*oldest.state, "created_at": oldest.created_at })
    });
    let row = &status.daemon;
    json!({
        "at": diagnosis.now,
        "daemon": {
            "alive": diagnosis.alive, "mode": &*row.mode, "why": row.why.as_deref(),
            "why_code": row.why_code.as_deref(), "pid": row.pid,
            "version": row.version.as_deref(), "run_id": row.run_id.as_deref(), "started_at": row.started_at,
            "heartbeat_at": row.heartbeat_at, "pace": row.pace,
        },
        "cap": diagnosis.cap,
        "paused": status.control.paused,
        "pause_reason": status.control.pause_reason.as_deref(),
        "pause_code": status.control.cause().map(|cause| cause.code()),
        "damage": diagnosis.damage(),
        "todo": diagnosis.todo(),
        "counts": counts,
        "submitted_per_minute": status.per_minute,
        "time_left_seconds": diagnosis.time_left().filter(|_| diagnosis.sends_commits() && diagnosis.stuck_in_doubt().is_none()),
        "oldest_open": oldest,
        "next_due_at": status.next_due,
        "last_due_at": status.last_due,
        "errors": errors,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::queue::{DaemonRow, ErrorCount, Oldest, RestoreGap, Status, UntrustedText};

    /// Collects every key with the type of its value. All states share one key, as do all entries of a list.
    fn collect_types(prefix: &str, value: &Value, found: &mut Vec<(String, &'static str)>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(key, value)| {
                let key = if prefix == "counts." { "STATE" } else { key };
                let dot = if value.is_object() { "." } else { "" };
                collect_types(&format!("{prefix}{key}{dot}"), value, found);
            }),
            Value::Array(list) if list.iter().all(Value::is_object) => {
                list.iter().for_each(|value| collect_types(&format!("{prefix}[]."), value, found));
            }
            Value::Array(list) if list.len() == 30 && list.iter().all(Value::is_i64) => {
                found.push((prefix.to_owned(), "30 integers"));
            }
            Value::Array(_) => panic!("{prefix} is undocumented: {value}"),
            Value::Null => found.push((prefix.to_owned(), "null")),
            Value::Bool(_) => found.push((prefix.to_owned(), "boolean")),
            Value::Number(number) if number.is_f64() => found.push((prefix.to_owned(), "number")),
            Value::Number(_) => found.push((prefix.to_owned(), "integer")),
            Value::String(_) => found.push((prefix.to_owned(), "text")),
        }
    }

    fn keys(diagnosis: &Diagnosis) -> Vec<(String, &'static str)> {
        let mut found = Vec::new();
        collect_types("", &to_json(diagnosis), &mut found);
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn the_keys_and_types_are_as_documented() {
        let text = UntrustedText::of("text");
        let nothing = Diagnosis {
            status: Status::default(),
            flaws: Vec::new(),
            gap: None,
            read_only: false,
            alive: false,
            now: 1,
            cap: 20,
            reads_cap: 10,
        };
        let mut everything = nothing.clone();
        everything.alive = true;
        everything.gap = Some(RestoreGap::Emptied { made: 1 });
        let status = &mut everything.status;
        status.counts = [(State::Pending, 1)].into_iter().collect();
        status.daemon = DaemonRow {
            run_id: Some(text.clone()),
            pid: Some(1),
            version: Some(text.clone()),
            started_at: Some(1),
            heartbeat_at: Some(1),
            mode: text.clone(),
            why: Some(text.clone()),
            why_code: Some(text.clone()),
            why_parameters: None,
            pace: Some(19.5),
        };
        status.control.pause_reason = Some(text.clone());
        status.oldest = Some(Oldest { certificate_id: text.clone(), state: text.clone(), created_at: 1 });
        (status.next_due, status.last_due) = (Some(1), Some(1));
        let error = ErrorCount { code: Some(text), count: 1, at_least: false };
        status.errors = vec![error.clone(), ErrorCount { code: None, ..error }];

        let mut paused = everything.clone();
        paused.status.control.paused = true;
        let full: BTreeSet<_> = keys(&everything).into_iter().chain(keys(&paused)).collect();
        let mut full = Vec::from_iter(full);
        // `nothing` shows which keys may be null.
        let may_be_null = |key: &str| keys(&nothing).contains(&(key.to_owned(), "null")) || key == "errors[].code";
        full.retain(|(_, kind)| *kind != "null");
        let found: Vec<(String, String)> = full
            .into_iter()
            .map(
                |(key, kind)| if may_be_null(&key) { (key, format!("{kind} or null")) } else { (key, kind.to_owned()) },
            )
            .collect();
        let mut documented: Vec<(String, String)> =
            KEYS.iter().map(|(key, kind, _)| ((*key).to_owned(), (*kind).to_owned())).collect();
        documented.sort();
        assert_eq!(found, documented);
        assert!(keys(&nothing).contains(&("oldest_open".to_owned(), "null")));
    }
}
