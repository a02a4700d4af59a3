//! Keeping the keys: asking for others when they are needed, and what follows from the answers.

use std::future::ready;
use std::time::Duration;

use tokio::time::Instant;

use super::Until;
use super::ending::Unsent;
use super::gate::Fault;
use super::keys::News;
use super::lane::Lane;
use super::worker::Worker;
use crate::clock::{Now, rough};
use crate::logging::LogEvent;

/// While the queue is paused, others may be replacing the keys: they are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Worker {
    /// Asks for keys where it is time to, in every round, before anything is sent. What is answered without waiting, as
    /// it is from a file, is in use at once.
    pub(super) async fn tend_keys(&mut self, now: Now) {
        if self.exit.deadline.is_some() {
            return;
        }
        self.keys.ask_if_due(now.instant);
        if self.may_have_been_replaced(now.instant) {
            self.keys.ask();
        }
        let news = tokio::select! {
            biased;
            news = self.keys.answered() => Some(news),
            () = ready(()) => None,
        };
        if let Some(news) = news {
            self.after_answer(news, now);
        }
        self.notice_lack(now);
    }

    /// Whether to look for other keys, since the queue is paused: now and then, and before each probe. Where there are no
    /// keys at all, they are asked for as it is.
    fn may_have_been_replaced(&self, now: Instant) -> bool {
        let answered_at = self.keys.answered_at();
        let lanes = [&self.commits, &self.reads];
        let paused = self.control.paused || lanes.iter().any(|lane| lane.gate.fault().is_some());
        let probes = lanes.iter().filter_map(|lane| lane.gate.next_probe()).any(|at| answered_at < at && at <= now);
        self.keyless_since.is_none() && (probes || paused && now >= answered_at + LOOK_EVERY)
    }

    pub(super) fn after_answer(&mut self, news: News, now: Now) {
        match news {
            News::Same { recovered: false } => {}
            News::Same { recovered: true } => {
                tracing::info!("the credentials can be had again, and are those of before");
            }
            News::Changed => {
                tracing::info!("the credentials were replaced: they come from {}", self.keys.describe(now.instant));
                for lane in [&mut self.commits, &mut self.reads] {
                    if is_about_keys(lane.gate.fault()) {
                        lane.gate.probe_now(now.instant);
                    }
                }
            }
            News::Failed { repeated: true, .. } => {}
            News::Failed { why, repeated: false } => match (self.keys.in_use(now.instant), self.keyless_since) {
                (Some(_), _) => tracing::warn!("{why}; the credentials of before are used on{}", self.until(now)),
                (None, Some(_)) => tracing::warn!("still without credentials: {why}"),
                // The pause that follows tells it.
                (None, None) => {}
            },
            News::Unfit(why) => {
                tracing::warn!("the new settings give no credentials, and those of before are used on: {why}");
            }
        }
    }

    fn until(&self, now: Now) -> String {
        let left = self.keys.good_for(now.instant);
        left.map(|left| format!(", for the {} that they are good", rough(left))).unwrap_or_default()
    }

    /// Pauses while there are no good keys.
    fn notice_lack(&mut self, now: Now) {
        match (self.keys.why_none(now.instant), self.keyless_since) {
            (Some(why), None) => {
                self.keyless_since = Some(now.instant);
                tracing::warn!(
                    event = LogEvent::Paused.as_str(),
                    why,
                    "paused: {why}. It asks again by itself, at growing intervals up to a minute; or run: certcommit resume",
                );
                self.give_back_ready(now, Unsent::Paused);
                if self.exit.until == Until::Empty {
                    self.exit.refused = Some(why);
                    self.begin_stop(now, "it can't go on");
                }
            }
            (None, Some(since)) => {
                self.keyless_since = None;
                let paused_s = now.instant.duration_since(since).as_secs();
                tracing::info!(
                    event = LogEvent::Resumed.as_str(),
                    paused_s,
                    "resumed after {paused_s} s: there are credentials"
                );
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Why a lane is paused, and what to do about its keys if it is for them.
    pub(super) fn advised(&self, lane: &Lane) -> Option<String> {
        let why = lane.gate.why()?;
        let refused = matches!(lane.gate.fault(), Some(Fault::Account(code)) if is_of_keys(code));
        let advice = self.keys.source().and_then(|source| source.replacing()).filter(|_| refused);
        Some(advice.map_or_else(|| why.to_owned(), |advice| format!("{why}; {advice}")))
    }
}

/// Whether other keys may end a fault: they may be of an account, or have permissions, that these haven't.
fn is_about_keys(fault: Option<&Fault>) -> bool {
    matches!(fault, Some(Fault::Account(_) | Fault::Denied(_)))
}

/// Whether a code refuses the keys, and not the account or the clock.
fn is_of_keys(code: &str) -> bool {
    code.starts_with("AuthFailure.") && code != "AuthFailure.SignatureExpire"
}
