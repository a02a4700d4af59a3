//! The dispatcher: every claim that it takes comes back as one result, whatever becomes of its request.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::Id;

use super::circuit_breaker::Observation;
use super::dispatcher::{DispatchEvent, Dispatcher};
use super::fixtures::{claim, client, context, queue, settings};
use super::request_outcome::Context;
use crate::cause::{KeySource, PauseCause, RowCause};
use crate::clock::Now;
use crate::queue::{Completed, Queue, QueueError, RuntimeDirectories};
use crate::submission::{FaultKind, HealthSignal, OutcomeClass, RateSignal, RequestKind, State};
use crate::tencent::Credentials;

use RequestKind::{Commit, Readback};

/// A dispatcher, and the present. Nothing listens at its endpoint.
fn dispatcher() -> (Dispatcher, Context) {
    let context = context();
    (Dispatcher::new(client(), None, &settings(), context.now.instant), context)
}

fn later(context: Context, by: Duration) -> Context {
    let now = Now { unix: context.now.unix.plus(by), instant: context.now.instant + by };
    Context { now, ..context }
}

async fn task() -> Id {
    let task = tokio::spawn(async {});
    let id = task.id();
    task.await.unwrap();
    id
}

fn ends(results: &[Completed]) -> Vec<(i64, OutcomeClass, Option<State>)> {
    let end = |one: &Completed| (one.claim.request, one.outcome.class, one.change.as_ref().map(|change| change.to));
    let mut ends: Vec<_> = results.iter().map(end).collect();
    ends.sort_unstable_by_key(|(request, ..)| *request);
    ends
}

fn trip(dispatcher: &mut Dispatcher, context: Context) {
    let cause = Some(PauseCause::ApiUnreachable { why: "refused".into() });
    let (health, rate) = (HealthSignal::Fault(FaultKind::Account), RateSignal::Silent);
    let seen = Observation { submission: 1, sent: context.now.instant, health, rate, code: None, cause };
    assert!(dispatcher.commits.breaker.observe(&seen, context.now.instant).is_some());
}

#[tokio::test]
async fn claims_that_are_returned_were_never_sent_and_those_of_the_other_kind_stay() {
    let (mut dispatcher, context) = dispatcher();
    dispatcher.accept(vec![claim(Commit, 1), claim(Readback, 2), claim(Commit, 3)], [None; 2], context);
    let returned = dispatcher.return_ready(&[Commit], &RowCause::PausedUnsent, context);
    let pending = Some(State::Pending);
    assert_eq!(ends(&returned), [(1, OutcomeClass::NotSent, pending), (3, OutcomeClass::NotSent, pending)]);
    assert_eq!(dispatcher.held().collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn abandoned_commits_are_in_doubt_and_abandoned_readbacks_change_nothing() {
    let (mut dispatcher, context) = dispatcher();
    dispatcher.commits.sent(task().await, claim(Commit, 1));
    dispatcher.readbacks.sent(task().await, claim(Readback, 2));
    assert_eq!(dispatcher.in_flight(), 2);
    let abandoned = dispatcher.abandon(context);
    let expected = [(1, OutcomeClass::InDoubt, Some(State::InDoubt)), (2, OutcomeClass::Retry, None)];
    assert_eq!(ends(&abandoned), expected);
    assert_eq!(dispatcher.in_flight(), 0);
}

#[tokio::test]
async fn a_commit_whose_task_died_is_in_doubt_and_its_end_counts_once() {
    let (mut dispatcher, context) = dispatcher();
    let id = task().await;
    dispatcher.commits.sent(id, claim(Commit, 1));
    let ended = dispatcher.handle(DispatchEvent::Ended(id, None), KeySource::Caller, context).unwrap();
    assert_eq!(ends(&[ended.result]), [(1, OutcomeClass::InDoubt, Some(State::InDoubt))]);
    assert!(dispatcher.handle(DispatchEvent::Ended(id, None), KeySource::Caller, context).is_none());
}

#[tokio::test]
async fn a_probe_whose_task_died_is_followed_by_another() {
    let (mut dispatcher, context) = dispatcher();
    trip(&mut dispatcher, context);
    let probe_at = dispatcher.next_probes().next().unwrap();
    let context = later(context, probe_at.duration_since(context.now.instant));
    dispatcher.accept(vec![claim(Commit, 1)], [None; 2], context);
    let (id, probe) = (task().await, dispatcher.commits.next(probe_at).unwrap());
    dispatcher.commits.sent(id, probe);
    assert_eq!(dispatcher.next_probes().count(), 0, "one probe at a time");
    dispatcher.handle(DispatchEvent::Ended(id, None), KeySource::Caller, context).unwrap();
    assert_eq!(dispatcher.next_probes().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_can_not_connect_is_not_sent_and_its_row_stays_pending() {
    let (mut dispatcher, context, _directory, queue) = with_queue().await;
    dispatcher.accept(vec![claim(Commit, 1)], [None; 2], context);
    dispatcher.send(&credentials(), queue.files(), context).unwrap();
    let event = dispatcher.next_event().await;
    let ended = dispatcher.handle(event, KeySource::Caller, context).unwrap();
    assert_eq!(ends(&[ended.result]), [(1, OutcomeClass::NotSent, Some(State::Pending))]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_does_not_go_out_once_the_database_was_replaced() {
    let (mut dispatcher, context, directory, queue) = with_queue().await;
    dispatcher.accept(vec![claim(Commit, 1), claim(Commit, 2)], [None; 2], context);
    std::fs::rename(directory.path().join("queue.db"), directory.path().join("old.db")).unwrap();
    let (unsent, error) = *dispatcher.send(&credentials(), queue.files(), context).unwrap_err();
    assert!(matches!(error, QueueError::Replaced(_)), "{error}");
    assert_eq!(unsent.change.unwrap().cause, Some(RowCause::DatabaseMovedUnsent));
    assert_eq!((dispatcher.in_flight(), dispatcher.held().collect::<Vec<_>>()), (0, vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_commit_departs_after_the_marker_has_its_number() {
    let (mut dispatcher, context, _directory, queue) = with_queue().await;
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let runtime = RuntimeDirectories::of_process(|name| (name == "RUNTIME_DIRECTORY").then(|| memory.path().into()));
    dispatcher.marker = Some(runtime.create(queue.files(), "this").unwrap());
    dispatcher.accept(vec![claim(Commit, 1)], [None; 2], context);
    dispatcher.send(&credentials(), queue.files(), context).unwrap();
    dispatcher.marker = None;
    let departures = runtime.departures(queue.files());
    assert!(!departures.exclude("this", 1) && departures.exclude("this", 2));
}

/// A dispatcher whose first slot is open, and a queue.
async fn with_queue() -> (Dispatcher, Context, TempDir, Queue) {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = queue(directory.path()).await;
    let (dispatcher, context) = dispatcher();
    tokio::time::advance(Duration::from_secs(2)).await;
    (dispatcher, context, directory, queue)
}

fn credentials() -> Arc<Credentials> {
    Arc::new(Credentials { secret_id: "id".to_owned(), secret_key: "k".to_owned().into(), token: None })
}
