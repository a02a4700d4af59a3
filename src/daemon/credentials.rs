//! The credentials: those in use, their source, and when to ask it for others. The source answers beside the loop: while the
//! credentials in use are good, no request waits.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::pause_log::{log_paused, log_resumed};
use crate::cause::{Incident, KeySource, PauseCause, Probes, Quote};
use crate::clock::{self, Now, rough};
use crate::tencent::{Credentials, CredentialsError, Found, Source};

/// Temporary credentials are replaced this long before they expire, as in the vendor's own tools.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);
/// The wait after the first answer without credentials. It doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// While the queue is paused, an operator may be replacing the credentials: the source is asked this often.
const ASK_IN_PAUSE_EVERY: Duration = Duration::from_secs(5);

type Answer = Result<Found, CredentialsError>;
type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Where the daemon gets its credentials.
pub struct CredentialSource(Box<dyn Fn() -> Asking + Send + Sync>);

impl CredentialSource {
    /// A source that is asked by calling `find`.
    pub fn new<F>(find: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(find())))
    }

    /// A source that always has these.
    #[must_use]
    pub fn of(credentials: Credentials) -> Self {
        Self::new(move || ready(Ok(Found::lasting(credentials.clone(), Source::Caller))))
    }

    fn ask(&self) -> Asking {
        (self.0)()
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialSource")
    }
}

/// The credentials in use.
#[derive(Debug)]
struct Held {
    credentials: Arc<Credentials>,
    source: Source,
    /// None for lasting ones.
    expires: Option<Instant>,
}

impl Held {
    fn are_good(&self, now: Instant) -> bool {
        self.expires.is_none_or(|at| now < at)
    }
}

/// A question to a source that has not been answered.
struct Refresh {
    asking: Asking,
    /// The source that is asked, if it may replace the present one.
    successor: Option<CredentialSource>,
}

/// The answer of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefreshResult {
    /// The credentials in use, perhaps after answers without any.
    Unchanged { recovered: bool },
    /// Other credentials.
    Changed,
    /// None, for this reason, perhaps the same as last time.
    Failed { why: String, repeated: bool },
    /// None from the source that would have replaced the present one, which stays.
    SuccessorFailed(String),
}

/// The credentials of the daemon.
pub(super) struct CredentialStore {
    source: CredentialSource,
    held: Option<Held>,
    refresh: Option<Refresh>,
    /// When to ask again.
    ask_at: Option<Instant>,
    /// The wait after the next answer without credentials.
    wait: Duration,
    answered_at: Instant,
    /// Why the last answer had none.
    failure: Option<String>,
    /// Whether, since when and why there are no good ones.
    missing: Option<Missing>,
}

/// There are no good credentials.
#[derive(Debug)]
struct Missing {
    since: Instant,
    cause: PauseCause,
    /// How often the source had none since.
    failed: u32,
}

impl CredentialStore {
    /// Asks a source for the first time. If it doesn't respond, there are no credentials yet.
    ///
    /// # Errors
    /// When there are none, and won't be without an operator.
    pub(super) async fn obtain(source: CredentialSource) -> Result<Self, CredentialsError> {
        let answer = source.ask().await;
        let now = clock::now().instant;
        let mut store = Self {
            source,
            held: None,
            refresh: None,
            ask_at: None,
            wait: FIRST_WAIT,
            answered_at: now,
            failure: None,
            missing: None,
        };
        match answer {
            Err(error) if !error.is_passing() => Err(error),
            answer => {
                store.take(answer, now);
                Ok(store)
            }
        }
    }

    /// The credentials to sign with; none if there are none, or they expired.
    pub(super) fn in_use(&self, now: Instant) -> Option<&Arc<Credentials>> {
        self.held.as_ref().filter(|held| held.are_good(now)).map(|held| &held.credentials)
    }

    /// Where the credentials in use come from, for the operator who replaces them.
    pub(super) fn key_source(&self) -> KeySource {
        match self.held.as_ref().map(|held| &held.source) {
            Some(Source::Systemd(_)) => KeySource::Systemd,
            Some(Source::Environment) => KeySource::Environment,
            Some(Source::File(path)) => KeySource::File { path: Quote::new(&path.display().to_string()) },
            Some(Source::Role(name)) => KeySource::Role { name: Quote::new(name) },
            Some(Source::Caller) | None => KeySource::Caller,
        }
    }

    /// Why there are no good credentials, if there are none.
    pub(super) fn missing(&self, now: Instant) -> Option<PauseCause> {
        let why = self.failure.as_deref().map(Quote::new);
        match &self.held {
            Some(held) if held.are_good(now) => None,
            Some(_) => Some(PauseCause::CredentialsExpired { why }),
            None => Some(PauseCause::NoCredentials { why }),
        }
    }

    /// Whether the credentials were lost since the last call: why. Logs that, and when they are available again.
    pub(super) fn just_lost(&mut self, now: Instant) -> Option<PauseCause> {
        match (self.missing.take(), self.missing(now)) {
            (None, Some(cause)) => {
                log_paused(&cause.clone().into(), None);
                self.missing = Some(Missing { since: now, cause: cause.clone(), failed: 0 });
                return Some(cause);
            }
            (Some(missing), Some(cause)) => self.missing = Some(Missing { cause, ..missing }),
            (Some(Missing { since, cause, .. }), None) => log_resumed(&cause, now.duration_since(since)),
            (None, None) => {}
        }
        None
    }

    /// Whether there are none, as of the last [`just_lost`](Self::just_lost).
    pub(super) fn are_missing(&self) -> bool {
        self.missing.is_some()
    }

    /// Why and since when there are none, and how often the source had none.
    pub(super) fn incident(&self, now: Now) -> Option<Incident> {
        let Missing { since, failed, .. } = self.missing.as_ref()?;
        let last = (*failed > 0).then(|| now.at(self.answered_at));
        let probes = Probes { failed: *failed, last, next: self.ask_at.map(|at| now.at(at)) };
        Some(Incident { probes, ..Incident::new(self.missing(now.instant)?, Some(now.at(*since))) })
    }

    /// When the source is to be asked, or the credentials expire.
    pub(super) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let ask = self.ask_at.filter(|_| self.refresh.is_none());
        let expiry = self.held.as_ref().and_then(|held| held.expires).filter(|at| now < *at);
        ask.into_iter().chain(expiry).min()
    }

    /// Asks the source if that is due. In a pause, also every few seconds and before each probe, since an operator may have
    /// replaced the credentials; where there are none, the source is being asked anyway.
    pub(super) fn refresh_if_due(&mut self, now: Instant, paused: bool, probes: impl IntoIterator<Item = Instant>) {
        let is_due = self.ask_at.is_some_and(|at| at <= now);
        let probe_due = probes.into_iter().any(|at| self.answered_at < at && at <= now);
        let may_be_replaced = probe_due || paused && now >= self.answered_at + ASK_IN_PAUSE_EVERY;
        if is_due || may_be_replaced && !self.are_missing() {
            self.refresh();
        }
    }

    /// Asks the source, unless a question is open.
    pub(super) fn refresh(&mut self) {
        if self.refresh.is_none() {
            self.refresh = Some(Refresh { asking: self.source.ask(), successor: None });
        }
    }

    /// Asks another source, which replaces the present one as soon as it answers with credentials. Until then, and if it has
    /// none, nothing changes.
    pub(super) fn replace(&mut self, successor: CredentialSource) {
        self.refresh = Some(Refresh { asking: successor.ask(), successor: Some(successor) });
    }

    /// Waits for the answer to the open question; for ever, if there is none. Cancelling this loses nothing.
    pub(super) fn refreshed(&mut self) -> impl Future<Output = RefreshResult> {
        std::future::poll_fn(|context| self.poll_refreshed(context))
    }

    /// The answer, if it is there without waiting, as from a file.
    pub(super) async fn refreshed_at_once(&mut self) -> Option<RefreshResult> {
        tokio::select! {
            biased;
            result = self.refreshed() => Some(result),
            () = ready(()) => None,
        }
    }

    fn poll_refreshed(&mut self, context: &mut Context<'_>) -> Poll<RefreshResult> {
        let Some(refresh) = &mut self.refresh else {
            return Poll::Pending;
        };
        let Poll::Ready(answer) = refresh.asking.as_mut().poll(context) else {
            return Poll::Pending;
        };
        let successor = self.refresh.take().and_then(|refresh| refresh.successor);
        let now = clock::now().instant;
        Poll::Ready(match (successor, answer) {
            (Some(_), Err(error)) => RefreshResult::SuccessorFailed(error.to_string()),
            (Some(successor), answer) => {
                self.source = successor;
                self.take(answer, now)
            }
            (None, answer) => self.take(answer, now),
        })
    }

    fn take(&mut self, answer: Answer, now: Instant) -> RefreshResult {
        self.answered_at = now;
        match answer {
            Ok(found) => self.take_found(found, now),
            Err(error) => {
                let why = error.to_string();
                if let Some(missing) = &mut self.missing {
                    missing.failed = missing.failed.saturating_add(1);
                }
                let repeated = self.failure.replace(why.clone()).is_some_and(|before| before == why);
                let lasting = self.held.as_ref().is_some_and(|held| held.expires.is_none());
                // Lasting credentials don't have to be replaced.
                self.ask_at = if lasting { None } else { Some(now + self.longer_wait()) };
                RefreshResult::Failed { why, repeated }
            }
        }
    }

    fn take_found(&mut self, found: Found, now: Instant) -> RefreshResult {
        let recovered = self.failure.take().is_some();
        let same = self.held.as_ref().is_some_and(|held| held.credentials.is_same(&found.credentials));
        let credentials = Arc::new(found.credentials);
        self.held = Some(Held { credentials, source: found.source, expires: found.expires });
        let refresh_at = found.expires.map(|at| at.checked_sub(REFRESH_BEFORE).unwrap_or(now));
        self.ask_at = match refresh_at {
            // The source will replace them, and hasn't yet.
            Some(at) if at <= now => Some(now + self.longer_wait()),
            later_or_never => {
                self.wait = FIRST_WAIT;
                later_or_never
            }
        };
        if same { RefreshResult::Unchanged { recovered } } else { RefreshResult::Changed }
    }

    /// The next wait; the one after it is twice as long.
    fn longer_wait(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST_WAIT);
        wait
    }

    /// Logs an answer.
    pub(super) fn log(&self, result: &RefreshResult, now: Instant) {
        match result {
            RefreshResult::Unchanged { recovered: false } | RefreshResult::Failed { repeated: true, .. } => {}
            RefreshResult::Unchanged { recovered: true } => {
                tracing::info!("the credentials are available again, unchanged");
            }
            RefreshResult::Changed => {
                tracing::info!("the credentials were replaced: they come from {}", self.describe(now));
            }
            RefreshResult::Failed { why, repeated: false } if self.in_use(now).is_some() => {
                let left = self.good_for(now);
                let until = left.map(|left| format!(", for the {} that they are good", rough(left)));
                tracing::warn!("{why}; the previous credentials stay in use{}", until.unwrap_or_default());
            }
            RefreshResult::Failed { why, repeated: false } if self.are_missing() => {
                tracing::warn!("still without credentials: {why}");
            }
            // The pause that follows says so.
            RefreshResult::Failed { .. } => {}
            RefreshResult::SuccessorFailed(why) => {
                tracing::warn!("the new settings give no credentials; the previous ones stay in use: {why}");
            }
        }
    }

    /// How long the credentials in use are good; none for lasting ones.
    fn good_for(&self, now: Instant) -> Option<Duration> {
        self.held.as_ref()?.expires.map(|at| at.saturating_duration_since(now))
    }

    /// Where the credentials in use come from, and how long they are good, for people. Empty if there are none.
    pub(super) fn describe(&self, now: Instant) -> String {
        let source = self.held.as_ref().map(|held| held.source.to_string()).unwrap_or_default();
        match self.good_for(now) {
            Some(left) => format!("{source}, good for another {}", rough(left)),
            None => source,
        }
    }

    /// Whether there are none, not even expired ones.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none()
    }
}

impl fmt::Debug for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialStore")
            .field("held", &self.held)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
