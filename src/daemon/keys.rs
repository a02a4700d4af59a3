//! The keys: those in use, where others come from, and when to ask for them. Asking takes its time beside the loop, as a
//! turn at the [desk](super::desk) does: while the keys in use are good, no request waits for others.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{self, rough};
use crate::tencent::{Credentials, CredentialsError, Found, Source};

/// Temporary keys that are good for no longer are replaced, as the vendor's own tools do it.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);
/// The wait after the first answer that was of no use. It doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How the reasons begin for which there are no good keys.
pub(super) const EXPIRED: &str = "the temporary keys expired, and there are no new ones";
pub(super) const NO_KEYS: &str = "there are no credentials";

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

    /// A source that has these for ever.
    #[must_use]
    pub fn of(credentials: Credentials) -> Self {
        Self::new(move || std::future::ready(Ok(Found::lasting(credentials.clone(), Source::Caller))))
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

/// The keys in hand.
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

/// An answer that is waited for.
struct Errand {
    asking: Asking,
    /// The source that is asked, if it is to replace the one of before.
    successor: Option<CredentialSource>,
}

/// What an answer brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The keys in use, as before; perhaps after answers that were of no use.
    Same { recovered: bool },
    /// Other keys than before.
    Changed,
    /// No keys, for this reason; perhaps the same as last time.
    Failed { why: String, repeated: bool },
    /// The source that was to replace the one of before has none. The one of before stays.
    Unfit(String),
}

/// The keys.
pub(super) struct Keys {
    source: CredentialSource,
    held: Option<Held>,
    errand: Option<Errand>,
    /// When to ask again by itself.
    ask_at: Option<Instant>,
    /// The wait after the next answer that is of no use.
    wait: Duration,
    answered_at: Instant,
    /// Why the last answer had no keys.
    failure: Option<String>,
}

impl Keys {
    /// Asks a source for the first time. If it can't be asked at present, there are no keys yet.
    ///
    /// # Errors
    /// When there are none, and won't be without somebody's doing.
    pub(super) async fn obtain(source: CredentialSource) -> Result<Self, CredentialsError> {
        let answer = source.ask().await;
        let now = clock::now().instant;
        let mut keys =
            Self { source, held: None, errand: None, ask_at: None, wait: FIRST_WAIT, answered_at: now, failure: None };
        match answer {
            Err(error) if !error.is_passing() => Err(error),
            answer => {
                keys.take(answer, now);
                Ok(keys)
            }
        }
    }

    /// The keys to sign with; none if there are no good ones.
    pub(super) fn in_use(&self, now: Instant) -> Option<&Arc<Credentials>> {
        self.held.as_ref().filter(|held| held.are_good(now)).map(|held| &held.credentials)
    }

    /// Where the keys in hand come from.
    pub(super) fn source(&self) -> Option<&Source> {
        self.held.as_ref().map(|held| &held.source)
    }

    /// How long the keys in hand are good; none for lasting ones.
    pub(super) fn good_for(&self, now: Instant) -> Option<Duration> {
        self.held.as_ref()?.expires.map(|at| at.saturating_duration_since(now))
    }

    /// Why there are no good keys, if there are none.
    pub(super) fn why_none(&self, now: Instant) -> Option<String> {
        let why = self.failure.as_deref().unwrap_or("the answer with new ones is being waited for");
        match &self.held {
            Some(held) if held.are_good(now) => None,
            Some(_) => Some(format!("{EXPIRED}: {why}")),
            None => Some(format!("{NO_KEYS}: {why}")),
        }
    }

    /// When the last answer came.
    pub(super) fn answered_at(&self) -> Instant {
        self.answered_at
    }

    /// When something about the keys is due by itself: asking, or their expiry.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let ask = self.ask_at.filter(|_| self.errand.is_none());
        let expiry = self.held.as_ref().and_then(|held| held.expires).filter(|at| now < *at);
        ask.into_iter().chain(expiry).min()
    }

    /// Asks, if it is time to.
    pub(super) fn ask_if_due(&mut self, now: Instant) {
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask();
        }
    }

    /// Asks, unless an answer is being waited for.
    pub(super) fn ask(&mut self) {
        if self.errand.is_none() {
            self.errand = Some(Errand { asking: self.source.ask(), successor: None });
        }
    }

    /// Asks another source, which replaces the one of before as soon as it has answered with keys. Until then, and if it
    /// has none, everything stays as it is.
    pub(super) fn replace(&mut self, successor: CredentialSource) {
        self.errand = Some(Errand { asking: successor.ask(), successor: Some(successor) });
    }

    /// Waits for the answer that was asked for; for ever, if none was. Cancelling this loses nothing.
    pub(super) fn answered(&mut self) -> impl Future<Output = News> {
        std::future::poll_fn(|context| self.poll_answered(context))
    }

    fn poll_answered(&mut self, context: &mut Context<'_>) -> Poll<News> {
        let Some(errand) = &mut self.errand else {
            return Poll::Pending;
        };
        let Poll::Ready(answer) = errand.asking.as_mut().poll(context) else {
            return Poll::Pending;
        };
        let successor = self.errand.take().and_then(|errand| errand.successor);
        let now = clock::now().instant;
        Poll::Ready(match (successor, answer) {
            (Some(_), Err(error)) => News::Unfit(error.to_string()),
            (Some(successor), answer) => {
                self.source = successor;
                self.take(answer, now)
            }
            (None, answer) => self.take(answer, now),
        })
    }

    fn take(&mut self, answer: Answer, now: Instant) -> News {
        self.answered_at = now;
        match answer {
            Ok(found) => self.take_keys(found, now),
            Err(error) => {
                let why = error.to_string();
                let repeated = self.failure.replace(why.clone()).is_some_and(|before| before == why);
                let lasting = self.held.as_ref().is_some_and(|held| held.expires.is_none());
                // Lasting keys need no others by themselves.
                self.ask_at = if lasting { None } else { Some(now + self.longer_wait()) };
                News::Failed { why, repeated }
            }
        }
    }

    fn take_keys(&mut self, found: Found, now: Instant) -> News {
        let recovered = self.failure.take().is_some();
        let same = self.held.as_ref().is_some_and(|held| held.credentials.is_same(&found.credentials));
        let credentials = Arc::new(found.credentials);
        self.held = Some(Held { credentials, source: found.source, expires: found.expires });
        let refresh_at = found.expires.map(|at| at.checked_sub(REFRESH_BEFORE).unwrap_or(now));
        self.ask_at = match refresh_at {
            // They will be replaced where they come from, and are not yet.
            Some(at) if at <= now => Some(now + self.longer_wait()),
            later_or_never => {
                self.wait = FIRST_WAIT;
                later_or_never
            }
        };
        if same { News::Same { recovered } } else { News::Changed }
    }

    /// The wait of this time; that of next time is twice as long.
    fn longer_wait(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST_WAIT);
        wait
    }

    /// What the log says of the keys in hand: where they come from, and how long they are good.
    pub(super) fn describe(&self, now: Instant) -> String {
        let source = self.source().map(ToString::to_string).unwrap_or_default();
        match self.good_for(now) {
            Some(left) => format!("{source}, good for another {}", rough(left)),
            None => source,
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("held", &self.held).field("failure", &self.failure).finish_non_exhaustive()
    }
}
