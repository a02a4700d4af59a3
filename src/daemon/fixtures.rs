//! What the unit tests of several components share: claims, results, and a queue with a run of the daemon.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::request_outcome::Context;
use super::startup::client_settings;
use crate::clock;
use crate::config::Settings;
use crate::queue::{Claim, Completed, Opening, Queue, RestoreMarker, Run, Session};
use crate::submission::{Evidence, Outcome, RequestKind, Row, State};
use crate::tencent::Client;

/// The default settings.
pub(super) fn settings() -> Settings {
    let empty = tempfile::NamedTempFile::new().unwrap();
    Settings::load(Some(empty.path()), []).unwrap()
}

/// A client. Nothing listens at its endpoint.
pub(super) fn client() -> Arc<Client> {
    let mut settings = settings();
    settings.api.endpoint = "http://127.0.0.1:1".to_owned();
    Arc::new(Client::new(client_settings(&settings, None)).unwrap())
}

/// The present, with the default policy and no jitter.
pub(super) fn context() -> Context {
    Context { policy: settings().policy(), now: clock::now(), dice: 0.0 }
}

/// The claim of this request, for a submission whose id is its number plus 100.
pub(super) fn claim(kind: RequestKind, request: i64) -> Claim {
    let state = if kind == RequestKind::Commit { State::InFlight } else { State::InDoubt };
    let row = Row { state, tries: 0, is_probe: false, evidence: Evidence::none() };
    let certificate_id = format!("c{request}").parse().unwrap();
    Claim { request, kind, submission: request + 100, certificate_id, verify_type: None, row }
}

/// A commit that placed an order.
pub(super) fn completed(request: i64) -> Completed {
    let (outcome, now) = (Outcome::submitted("SO1".into(), 8, None), clock::now());
    let claim = claim(RequestKind::Commit, request);
    let (http_status, duration) = (Some(200), Duration::ZERO);
    Completed { claim, outcome, http_status, sent: now, finished: now.unix, duration, change: None }
}

/// A new queue in this directory, with a run that has begun, and the lock timeout of the daemon.
pub(super) async fn queue(directory: &Path) -> (Queue, Run) {
    let mut queue = Queue::open(&directory.join("queue.db"), Opening::Create).await.unwrap();
    let run = Run { id: "this".to_owned(), started: clock::now() };
    queue.begin_run(&run).await.unwrap();
    queue.shorten_busy_timeout().await.unwrap();
    (queue, run)
}

/// A session on a new queue in this directory.
pub(super) async fn session(directory: &Path) -> Session {
    let (queue, run) = queue(directory).await;
    let marker = RestoreMarker::open(queue.path()).unwrap();
    Session::new(queue, marker, run)
}
