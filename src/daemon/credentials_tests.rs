//! Credentials over time: refreshed early, kept as long as they are good, and asked for again. The clock is the test's, and
//! jumps to the next timer while everything waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::credentials::{CredentialSource, CredentialStore, RefreshResult};
use crate::cause::PauseCause;
use crate::clock;
use crate::tencent::{Credentials, CredentialsError, Found, Source};

const HOUR: Duration = Duration::from_secs(3600);

/// What a source answers, one after the other; the last for ever.
#[derive(Clone)]
enum Answer {
    /// Keys of this name, good for this long.
    Keys(&'static str, Option<Duration>),
    Down,
    Gone,
    /// Whatever comes next, after this long.
    Slow(Duration),
}

/// A source by a script, and when it was asked.
#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self { answers, asked: Arc::default() }
    }

    fn source(&self) -> CredentialSource {
        let script = self.clone();
        CredentialSource::new(move || {
            let script = script.clone();
            async move {
                script.asked.lock().unwrap().push(clock::now().instant);
                loop {
                    match script.next() {
                        Answer::Slow(wait) => sleep(wait).await,
                        Answer::Keys(name, lifetime) => return Ok(found(name, lifetime)),
                        Answer::Down => return Err(down()),
                        Answer::Gone => return Err(gone()),
                    }
                }
            }
        })
    }

    fn next(&self) -> Answer {
        let mut answers = self.answers.lock().unwrap();
        let last = answers.len() == 1;
        if last { answers.front().cloned() } else { answers.pop_front() }.expect("the script has an answer")
    }

    /// The waits between the askings, in seconds.
    fn waits(&self) -> Vec<u64> {
        let asked = self.asked.lock().unwrap();
        asked.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).collect()
    }
}

fn credentials(name: &str) -> Credentials {
    Credentials { secret_id: name.to_owned(), secret_key: "k".to_owned().into(), token: None }
}

fn found(name: &str, lifetime: Option<Duration>) -> Found {
    let expires = lifetime.map(|lifetime| clock::now().instant + lifetime);
    Found { expires, ..Found::lasting(credentials(name), Source::Role("role".to_owned())) }
}

fn down() -> CredentialsError {
    CredentialsError::Unreachable("it is down".to_owned())
}

fn gone() -> CredentialsError {
    CredentialsError::NotFound { looked_at: Vec::new(), advice: "none".to_owned() }
}

async fn keys(script: &Script) -> CredentialStore {
    CredentialStore::obtain(script.source()).await.unwrap()
}

fn in_use(keys: &CredentialStore) -> Option<String> {
    keys.in_use(clock::now().instant).map(|credentials| credentials.secret_id.clone())
}

/// Keeps the keys as the loop does, until something is answered.
async fn next(keys: &mut CredentialStore) -> RefreshResult {
    loop {
        let now = clock::now().instant;
        keys.refresh_if_due(now, false, []);
        let due = keys.next_wakeup(now);
        tokio::select! {
            news = keys.refreshed() => return news,
            () = sleep_until(due.unwrap_or(now + HOUR * 24)) => assert!(due.is_some(), "nothing is due for a day"),
        }
    }
}

fn failed(repeated: bool) -> RefreshResult {
    RefreshResult::Failed { why: down().to_string(), repeated }
}

#[tokio::test(start_paused = true)]
async fn temporary_keys_are_replaced_five_minutes_before_they_expire() {
    let script = Script::new([Answer::Keys("first", Some(HOUR * 2)), Answer::Keys("second", Some(HOUR))]);
    let mut keys = keys(&script).await;
    assert_eq!(in_use(&keys).as_deref(), Some("first"));
    assert_eq!(next(&mut keys).await, RefreshResult::Changed);
    assert_eq!((in_use(&keys).as_deref(), script.waits()), (Some("second"), vec![7200 - 300]));
    assert_eq!(next(&mut keys).await, RefreshResult::Unchanged { recovered: false });
    assert_eq!(script.waits(), [6900, 3600 - 300]);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_before_are_used_while_the_answer_is_waited_for() {
    let minute = Duration::from_secs(60);
    let script =
        Script::new([Answer::Keys("first", Some(HOUR)), Answer::Slow(minute), Answer::Keys("second", Some(HOUR))]);
    let mut keys = keys(&script).await;
    sleep(HOUR - minute * 5).await;
    keys.refresh_if_due(clock::now().instant, false, []);
    tokio::select! {
        biased;
        news = keys.refreshed() => panic!("{news:?} came before its time"),
        () = sleep(minute / 2) => assert_eq!(in_use(&keys).as_deref(), Some("first")),
    }
    assert_eq!((keys.refreshed().await, in_use(&keys).as_deref()), (RefreshResult::Changed, Some("second")));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_tried_again_at_growing_intervals_and_the_keys_are_used_until_they_expire() {
    let script = Script::new([Answer::Keys("first", Some(HOUR)), Answer::Down]);
    let mut keys = keys(&script).await;
    let expiry = clock::now().instant + HOUR;
    assert_eq!(next(&mut keys).await, failed(false));
    while clock::now().instant < expiry {
        assert_eq!((in_use(&keys).as_deref(), keys.missing(clock::now().instant)), (Some("first"), None));
        assert_eq!(next(&mut keys).await, failed(true));
    }
    assert_eq!(script.waits()[..9], [3300, 1, 2, 4, 8, 16, 32, 60, 60]);
    let why = Some(down().to_string().into());
    assert_eq!(keys.missing(clock::now().instant), Some(PauseCause::CredentialsExpired { why }));
    assert!(in_use(&keys).is_none());
}

#[tokio::test(start_paused = true)]
async fn keys_are_no_good_from_the_moment_at_which_they_expire_and_that_moment_is_due() {
    let script = Script::new([Answer::Keys("first", Some(HOUR)), Answer::Slow(HOUR), Answer::Down]);
    let mut keys = keys(&script).await;
    let expiry = clock::now().instant + HOUR;
    keys.refresh();
    assert_eq!(keys.next_wakeup(clock::now().instant), Some(expiry));
    sleep_until(expiry - Duration::from_millis(1)).await;
    assert!(in_use(&keys).is_some());
    sleep_until(expiry).await;
    assert_eq!(keys.missing(clock::now().instant), Some(PauseCause::CredentialsExpired { why: None }));
    assert!(in_use(&keys).is_none());
    assert_eq!(keys.next_wakeup(clock::now().instant), None);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_at_the_start_is_asked_again_until_it_answers() {
    let script =
        Script::new([Answer::Down, Answer::Down, Answer::Gone, Answer::Down, Answer::Keys("first", Some(HOUR))]);
    let mut keys = keys(&script).await;
    let why = Some(down().to_string().into());
    assert_eq!(keys.missing(clock::now().instant), Some(PauseCause::NoCredentials { why }));
    assert_eq!(next(&mut keys).await, failed(true));
    assert_eq!(next(&mut keys).await, RefreshResult::Failed { why: gone().to_string(), repeated: false });
    assert_eq!(next(&mut keys).await, failed(false));
    assert_eq!(next(&mut keys).await, RefreshResult::Changed);
    assert_eq!((in_use(&keys).as_deref(), script.waits()), (Some("first"), vec![1, 2, 4, 8]));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_missing_at_the_start_are_an_error() {
    let script = Script::new([Answer::Gone]);
    assert!(matches!(CredentialStore::obtain(script.source()).await, Err(CredentialsError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_gives_keys_which_expire_soon_is_asked_at_growing_intervals() {
    let soon = Some(Duration::from_secs(250));
    let script = Script::new([Answer::Keys("old", soon), Answer::Keys("old", soon), Answer::Keys("new", Some(HOUR))]);
    let mut keys = keys(&script).await;
    assert_eq!(next(&mut keys).await, RefreshResult::Unchanged { recovered: false });
    assert_eq!(next(&mut keys).await, RefreshResult::Changed);
    assert_eq!(script.waits(), [1, 2]);
    assert_eq!(keys.next_wakeup(clock::now().instant), Some(clock::now().instant + HOUR - Duration::from_secs(300)));
}

#[tokio::test(start_paused = true)]
async fn lasting_keys_are_asked_for_on_request_and_kept_when_there_are_no_others() {
    let script = Script::new([
        Answer::Keys("first", None),
        Answer::Gone,
        Answer::Gone,
        Answer::Keys("first", None),
        Answer::Keys("second", None),
    ]);
    let mut keys = keys(&script).await;
    let expected = [
        RefreshResult::Failed { why: gone().to_string(), repeated: false },
        RefreshResult::Failed { why: gone().to_string(), repeated: true },
        RefreshResult::Unchanged { recovered: true },
    ];
    for news in expected {
        assert_eq!(keys.next_wakeup(clock::now().instant), None);
        keys.refresh();
        assert_eq!((keys.refreshed().await, in_use(&keys).as_deref()), (news, Some("first")));
    }
    keys.refresh();
    assert_eq!((keys.refreshed().await, in_use(&keys).as_deref()), (RefreshResult::Changed, Some("second")));
}

#[tokio::test(start_paused = true)]
async fn an_open_question_is_not_asked_twice() {
    let script = Script::new([Answer::Keys("first", None), Answer::Slow(HOUR), Answer::Keys("second", None)]);
    let mut keys = keys(&script).await;
    keys.refresh();
    tokio::select! {
        biased;
        news = keys.refreshed() => panic!("{news:?} came before its time"),
        () = sleep(HOUR / 2) => keys.refresh(),
    }
    let before = clock::now().instant;
    assert_eq!(keys.refreshed().await, RefreshResult::Changed);
    assert_eq!((clock::now().instant - before, script.waits().len()), (HOUR / 2, 1));
}

#[tokio::test(start_paused = true)]
async fn another_source_takes_over_when_it_has_answered_with_keys() {
    let (old, new) =
        (Script::new([Answer::Keys("old", None)]), Script::new([Answer::Slow(HOUR), Answer::Keys("new", None)]));
    let mut keys = keys(&old).await;
    keys.replace(new.source());
    assert_eq!(in_use(&keys).as_deref(), Some("old"));
    assert_eq!((keys.refreshed().await, in_use(&keys).as_deref()), (RefreshResult::Changed, Some("new")));
    keys.refresh();
    assert_eq!(keys.refreshed().await, RefreshResult::Unchanged { recovered: false });
    assert_eq!((old.asked.lock().unwrap().len(), new.asked.lock().unwrap().len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn another_source_that_has_no_keys_changes_nothing() {
    for answer in [Answer::Gone, Answer::Down] {
        let (old, new) = (Script::new([Answer::Keys("old", None)]), Script::new([answer]));
        let mut keys = keys(&old).await;
        keys.replace(new.source());
        assert!(matches!(keys.refreshed().await, RefreshResult::SuccessorFailed(_)));
        assert_eq!((in_use(&keys).as_deref(), keys.missing(clock::now().instant)), (Some("old"), None));
        keys.refresh();
        assert_eq!(keys.refreshed().await, RefreshResult::Unchanged { recovered: false });
        assert_eq!((old.asked.lock().unwrap().len(), new.asked.lock().unwrap().len()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn another_source_comes_before_an_answer_of_the_one_of_before() {
    let (old, new) = (Script::new([Answer::Down]), Script::new([Answer::Keys("new", None)]));
    let mut keys = keys(&old).await;
    keys.refresh();
    keys.replace(new.source());
    assert_eq!((next(&mut keys).await, in_use(&keys).as_deref()), (RefreshResult::Changed, Some("new")));
    assert_eq!(keys.next_wakeup(clock::now().instant), None);
}

#[tokio::test(start_paused = true)]
async fn debug_shows_no_secret() {
    let secret = "canaryKey0123456789";
    let credentials = || Credentials {
        secret_id: "id".to_owned(),
        secret_key: secret.to_owned().into(),
        token: Some(secret.to_owned().into()),
    };
    let keys = CredentialStore::obtain(CredentialSource::of(credentials())).await.unwrap();
    let source = CredentialSource::of(credentials());
    let shown = format!("{keys:?} {keys:#?} {source:?} {}", keys.describe(clock::now().instant));
    assert!(!shown.contains(secret), "{shown}");
}
