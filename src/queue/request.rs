//! A request, as the table `requests` keeps it.

use std::time::Duration;

use crate::clock::UnixMillis;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// To place an order.
    Commit,
    /// To see whether one is placed.
    Read,
}

impl RequestKind {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Read => "read",
        }
    }
}

/// How a request ended, as `requests` keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// When.
    pub at: UnixMillis,
    /// Monotonic milliseconds from the run's start to its sending.
    pub run_ms: i64,
    /// The outcome's name.
    pub outcome: &'static str,
    /// The HTTP status, if a reply came.
    pub http_status: Option<u16>,
    /// The error code, if the server gave one.
    pub error_code: Option<String>,
    /// The request's ID, if the server gave one.
    pub request_id: Option<String>,
    /// The order that was placed or seen.
    pub order_id: Option<String>,
    /// The status that was given or seen.
    pub status: Option<i64>,
    /// From the sending to the outcome.
    pub duration: Duration,
}

impl Finished {
    /// A request that was sent so many milliseconds after the run's start, and has come to its end without a reply.
    #[must_use]
    pub fn without_reply(at: UnixMillis, run_ms: i64, outcome: &'static str) -> Self {
        Self {
            at,
            run_ms,
            outcome,
            http_status: None,
            error_code: None,
            request_id: None,
            order_id: None,
            status: None,
            duration: Duration::ZERO,
        }
    }
}
