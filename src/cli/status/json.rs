//! The queue at a glance, for programs. The keys are stable.

use serde_json::{Map, Value, json};

use super::diagnosis::Diagnosis;
use super::troubles::Trouble;
use crate::clock::UnixMillis;
use crate::queue::FailedGroup;
use crate::submission::{Standing, State};

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
    ("paused_at", "integer or null", "Since when."),
    ("pause_code", "text or null", "The code of the cause: paused_by_operator, or that of certcommit's own pause."),
    (
        "damage",
        "text or null",
        "What is wrong with the database: rules that are missing, requests that are not on record, counts that are wrong. The wording may change.",
    ),
    (
        "obstacle",
        "text or null",
        "What keeps a daemon from working on the database: a full disk, a lock, and so on. The wording may change.",
    ),
    ("obstacle_code", "text or null", "Its code, as in the table of database errors."),
    (
        "troubles[].code",
        "text or null",
        "What is wrong, the first to deal with first: the code of the cause, if there is one.",
    ),
    ("troubles[].why", "text or null", "Why, in words. The wording may change."),
    ("troubles[].since", "integer or null", "Since when."),
    ("troubles[].probes", "integer or null", "How many probes found that it isn't over; null if nothing probes."),
    ("troubles[].last_probe_at", "integer or null", "When the last of them ended."),
    ("troubles[].next_probe_at", "integer or null", "When the next one is due."),
    ("troubles[].meanwhile", "text or null", "What it means for the submissions. The wording may change."),
    ("troubles[].todo", "text or null", "What to do. The wording may change."),
    ("todo", "text or null", "What to do about the first trouble. The wording may change."),
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
    ("waiting_orders.letter_needed", "integer", "Followed orders that wait for a confirmation letter."),
    ("waiting_orders.refused", "integer", "Followed orders that the CA refused."),
    (
        "errors[].code",
        "text or null",
        "The five most frequent error codes of failed submissions, the most frequent first.",
    ),
    ("errors[].count", "integer", "How many have it; counted up to 10,000."),
    ("errors[].at_least", "boolean", "Whether there are more than were counted."),
    (
        "errors[].groups[].message",
        "text or null",
        "The three largest groups of them that share the server's words, with ID in place of the certificate's,",
    ),
    ("errors[].groups[].verify_type", "text or null", "the verify_type,"),
    ("errors[].groups[].reference", "text or null", "and the reference."),
    ("errors[].groups[].count", "integer", "How many there are in this group."),
    ("errors[].groups[].since", "integer or null", "When the first of them failed."),
];

pub(super) fn to_json(diagnosis: &Diagnosis) -> Value {
    let status = &diagnosis.status;
    let counts: Map<_, _> =
        State::ALL.into_iter().map(|state| (state.as_str().to_owned(), json!(status.counts.of(state)))).collect();
    let errors = status.errors.iter();
    let errors: Vec<Value> = errors
        .map(|error| {
            let groups: Vec<Value> = error.groups.iter().map(group_to_json).collect();
            json!({ "code": error.code.as_deref(), "count": error.count, "at_least": error.at_least, "groups": groups })
        })
        .collect();
    let oldest = status.oldest.as_ref().map(|oldest| {
        json!({ "certificate_id": &*oldest.certificate_id, "state": &*oldest.state, "created_at": oldest.created_at })
    });
    let waiting: Map<_, _> = Standing::FOR_A_PERSON
        .into_iter()
        .map(|standing| {
            let counted = status.waiting_orders.iter().find(|(counted, _)| *counted == standing);
            (standing.to_string(), Value::from(counted.map_or(0, |(_, count)| *count)))
        })
        .collect();
    let (row, troubles) = (&status.daemon, diagnosis.troubles());
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
        "paused_at": status.control.paused_at,
        "pause_code": status.control.cause().map(|cause| cause.code()),
        "damage": diagnosis.damage(),
        "obstacle": diagnosis.obstacle.as_ref().map(|obstacle| obstacle.to_string()),
        "obstacle_code": diagnosis.obstacle.as_ref().map(|obstacle| obstacle.code()),
        "todo": troubles.first().and_then(|trouble| trouble.todo.clone()),
        "troubles": troubles.iter().map(trouble_to_json).collect::<Vec<_>>(),
        "counts": counts,
        "submitted_per_minute": status.per_minute,
        "time_left_seconds": diagnosis.time_left().filter(|_| diagnosis.sends_commits() && diagnosis.stuck_in_doubt().is_none()),
        "waiting_orders": waiting,
        "oldest_open": oldest,
        "next_due_at": status.next_due,
        "last_due_at": status.last_due,
        "errors": errors,
    })
}

fn group_to_json(group: &FailedGroup) -> Value {
    json!({ "message": group.error_message.as_deref(), "verify_type": group.verify_type.as_deref(),
            "reference": group.reference.as_deref(), "count": group.count, "since": group.since })
}

fn trouble_to_json(trouble: &Trouble) -> Value {
    let Trouble { code, why, since, probes, meanwhile, todo } = trouble;
    let at = |time: Option<UnixMillis>| time.map(UnixMillis::seconds);
    let (last, next) = (probes.and_then(|probes| probes.last), probes.and_then(|probes| probes.next));
    json!({ "code": code, "why": why, "since": at(*since), "probes": probes.map(|probes| probes.failed),
            "last_probe_at": at(last), "next_probe_at": at(next), "meanwhile": meanwhile, "todo": todo })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::queue::{DaemonRow, ErrorCount, IncidentRow, Oldest, QueueError, RestoreGap, Status, UntrustedText};

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
            obstacle: None,
            alive: false,
            now: 1,
            cap: 20,
            reads_cap: 10,
            resend_after: 600,
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
        (status.control.pause_reason, status.control.paused_at) = (Some(text.clone()), Some(1));
        status.oldest = Some(Oldest { certificate_id: text.clone(), state: text.clone(), created_at: 1 });
        (status.next_due, status.last_due) = (Some(1), Some(1));
        let some = Some(text);
        let group = FailedGroup {
            error_code: some.clone(),
            error_message: some.clone(),
            verify_type: some.clone(),
            reference: some.clone(),
            count: 1,
            since: Some(1),
        };
        let error = ErrorCount { code: some, count: 1, at_least: false, groups: vec![group] };
        status.errors = vec![error.clone(), ErrorCount { code: None, ..error }];
        everything.status.incidents = vec![
            IncidentRow {
                code: UntrustedText::of("restored_dump"),
                parameters: None,
                why: UntrustedText::of("why"),
                since: Some(1),
                probes: 1,
                last_probe_at: Some(1),
                next_probe_at: Some(1),
            },
            IncidentRow {
                code: UntrustedText::of("something_newer"),
                parameters: None,
                why: UntrustedText::of("why"),
                since: None,
                probes: 0,
                last_probe_at: None,
                next_probe_at: None,
            },
        ];
        let mut paused = everything.clone();
        paused.status.control.paused = true;
        let mut blocked = everything.clone();
        blocked.obstacle = Some(Arc::new(QueueError::NoSpace { directory: "/var".into(), free: 0 }));
        let full: BTreeSet<_> = [&everything, &paused, &blocked].into_iter().flat_map(keys).collect();
        let mut full = Vec::from_iter(full);
        // `nothing` shows which keys may be null.
        let may_be_null_in_lists = |key: &str| {
            key.starts_with("troubles[].")
                || ["message", "verify_type", "reference", "since"]
                    .iter()
                    .any(|name| key == format!("errors[].groups[].{name}"))
                || key == "errors[].code"
        };
        let may_be_null = |key: &str| keys(&nothing).contains(&(key.to_owned(), "null")) || may_be_null_in_lists(key);
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
