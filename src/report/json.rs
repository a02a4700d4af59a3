//! A JSON object for each certificate, with every request for it.

use serde_json::{Value, json};

use super::csv::at;
use super::outcome::{Outcome, todo};
use crate::clock::UnixMillis;
use crate::queue::{ReportRequest, Story};

/// The object, on one line.
#[must_use]
pub fn to_json_line(story: &Story) -> String {
    to_json(story).to_string()
}

/// The object. Times are ISO 8601.
pub(super) fn to_json(story: &Story) -> Value {
    let row = &story.row;
    let requests: Vec<Value> = story.requests.iter().map(request_to_json).collect();
    json!({
        "certificate_id": &*row.certificate_id, "reference": row.reference.as_deref(),
        "verify_type": row.verify_type.as_deref(), "priority": row.priority, "state": &*row.state,
        "outcome": Outcome::of(story).as_str(), "order_id": row.order_id.as_deref(), "status": row.status,
        "status_text": row.status_text.as_deref(), "current_status": row.current_status,
        "current_status_text": row.current_status_text.as_deref(),
        "current_status_at": row.current_status_at.map(|seconds| at(Some(seconds))),
        "current_status_message": row.current_status_message.as_deref(), "error_code": row.error_code.as_deref(),
        "error_message": row.error_message.as_deref(), "reason": row.reason.as_deref(), "to_do": todo(story),
        "tries": row.tries, "request_id": row.request_id.as_deref(), "enqueued_at": at(Some(row.created_at)),
        "changed_at": row.changed_at().map(|seconds| at(Some(seconds))),
        "decided_at": row.finished_at.map(|seconds| at(Some(seconds))),
        "requests": requests,
    })
}

fn request_to_json(request: &ReportRequest) -> Value {
    json!({
        "number": request.number, "kind": &*request.kind, "sent_at": UnixMillis(request.sent_at).to_string(),
        "outcome": request.outcome.as_deref(), "duration_ms": request.duration_ms,
        "error_code": request.error_code.as_deref(), "request_id": request.request_id.as_deref(),
        "order_id": request.order_id.as_deref(), "status": request.status,
    })
}
