//! The learned limit: how many requests a second the server grants, if fewer than our cap.
//!
//! The server limits a count per second. So a count is learned, and the window of departures enforces it, like our own
//! cap. When a request is refused for its rate, the requests that departed in the second before it, and were not
//! refused, are what the server let through; from then on that many are allowed. AIMD and CUBIC lower the pace by a
//! factor and raise it slowly, which wastes part of the grant between two refusals. Near a limit of three, varying
//! delays would get such a pace refused; the window and its guard prevent that.
//!
//! The server's limit may rise again, so one more is tried from time to time. If that is refused, it cost a request or
//! two, and the previous count applies again. If it is granted, the limit did rise, and the cap itself is tried next:
//! what the server lets through then is the new count, up to the cap. Growing steps would find it later, with as many
//! refusals.
//!
//! When a second request is refused, with nothing granted in between, the server's second may be used up, so nothing is
//! sent for one window. Further refusals mean that the count is wrong: each halves it, down to a request every two
//! seconds. So a burst of refusals costs few requests, and the first grant ends it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::departure_window::SECOND;

/// Each refusal adds a debt of this many grants. One more than a known count is tried only once the debt is paid. So
/// fewer than two in a hundred are refused, whatever the limit and however late refusals become known.
const GRANTS_PER_REFUSAL: u32 = 60;
/// Nor is one more tried more often than this: a refused request takes the place of one that would be granted.
const TRIAL_INTERVAL: Duration = Duration::from_secs(8);
/// A count that is higher, or guessed by halving, is known once it was granted for this many seconds.
const PROOF_SECONDS: f64 = 2.0;
/// A single refusal that the count doesn't explain is attributed to network delay; a second one within this time isn't.
const GLITCH: Duration = Duration::from_secs(10);
/// Refusals are remembered this long: another one, which departed within a second of them, may become known late.
const REFUSALS_REMEMBERED: Duration = Duration::from_secs(10);
/// The fewest requests a second: a rise of the limit must still be noticed. The circuit breaker does the slower
/// probing.
const FLOOR: f64 = 0.5;

/// How many requests a second are allowed.
#[derive(Debug)]
pub(super) struct LearnedLimit {
    cap: f64,
    learned: Option<Learned>,
    /// When the refused requests departed.
    refused: VecDeque<Instant>,
    /// Grants that are owed before more is tried.
    debt: u32,
}

/// A count below the cap.
#[derive(Debug, Clone, Copy)]
struct Learned {
    /// Requests a second: a whole number, or a fraction below one.
    pace: f64,
    /// When it was set. Requests that departed earlier tell nothing about it.
    since: Instant,
    /// Requests that departed since then and were not refused.
    granted: u32,
    /// Refusals with nothing granted in between.
    streak: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It is known. `glitch` is the time of a refusal that it doesn't explain.
    Holding { glitch: Option<Instant> },
    /// It was guessed.
    Guessing,
    /// It is a trial of more than `base`, which was granted.
    Trying { base: f64 },
}

impl LearnedLimit {
    pub(super) fn new(cap: f64) -> Self {
        Self { cap, learned: None, refused: VecDeque::new(), debt: 0 }
    }

    /// Changes the cap; what was learned of the server's limit stays.
    pub(super) fn set_cap(&mut self, cap: f64) {
        self.cap = cap;
    }

    /// Whether several were refused with nothing granted in between. Then the next one must wait for a window.
    pub(super) fn is_exhausted(&self) -> bool {
        self.learned.is_some_and(|learned| learned.streak > 1)
    }

    /// Requests a second.
    pub(super) fn pace(&self) -> f64 {
        self.learned.map_or(self.cap, |learned| learned.pace.min(self.cap))
    }

    /// Tries more if it is time to.
    pub(super) fn advance(&mut self, now: Instant) {
        let Some(learned) = self.learned else {
            return;
        };
        let base = learned.pace;
        let is_proven = learned.granted >= proof(base);
        let more = match learned.phase {
            Phase::Holding { .. } if self.debt == 0 && now >= learned.since + TRIAL_INTERVAL => one_more(base),
            Phase::Guessing if is_proven => one_more(base),
            Phase::Trying { .. } if is_proven => self.cap,
            Phase::Holding { .. } | Phase::Guessing | Phase::Trying { .. } => return,
        };
        self.learned = (base < self.cap).then(|| {
            let phase = Phase::Trying { base };
            Learned { pace: more.min(self.cap), since: now, granted: 0, streak: 0, phase }
        });
    }

    /// A request that departed then was not refused for its rate.
    pub(super) fn granted(&mut self, departed: Instant) {
        if let Some(learned) = self.learned.as_mut().filter(|learned| departed >= learned.since) {
            learned.granted = learned.granted.saturating_add(1);
            learned.streak = 0;
            self.debt = self.debt.saturating_sub(1);
        }
    }

    /// A request that departed then was refused for its rate. `before` is how many departed in the second before it, if
    /// known.
    pub(super) fn refused(&mut self, departed: Instant, before: Option<usize>, now: Instant) {
        self.forget(now);
        let refused_before = self.refused.iter().filter(|at| **at < departed && departed < **at + SECOND).count();
        self.refused.push_back(departed);
        let let_through = before.and_then(|before| u32::try_from(before.saturating_sub(refused_before)).ok());
        let learned = self.learned.unwrap_or_else(|| Learned::cap(self.cap, departed));
        // Requests that were in flight when the count changed tell nothing about the new one.
        let learned = if departed >= learned.since {
            learned.refused(let_through.map_or(learned.pace, f64::from), now)
        } else {
            learned
        };
        self.learned = Some(learned);
        // A debt that takes longer than a minute to pay would hide a rise of the limit.
        self.debt = GRANTS_PER_REFUSAL.saturating_add(self.debt).min(GRANTS_PER_REFUSAL * count(learned.pace));
    }

    fn forget(&mut self, now: Instant) {
        while self.refused.front().is_some_and(|at| *at + REFUSALS_REMEMBERED < now) {
            self.refused.pop_front();
        }
    }
}

impl Learned {
    /// The cap, as if it had been learned long ago.
    fn cap(cap: f64, since: Instant) -> Self {
        Self { pace: cap, since, granted: 0, streak: 0, phase: Phase::Holding { glitch: None } }
    }

    /// After a refusal; `let_through` is what was granted in the second before it.
    fn refused(self, let_through: f64, now: Instant) -> Self {
        let streak = self.streak + 1;
        let set = |pace: f64, phase| Self { pace: pace.max(FLOOR), since: now, granted: 0, streak, phase };
        let hold = |pace| set(pace, Phase::Holding { glitch: None });
        let guess = |pace| set(pace, Phase::Guessing);
        match self.phase {
            _ if streak > 2 => guess(halved(self.pace)),
            // The server's second may be used up.
            _ if streak == 2 && let_through >= self.pace => Self { streak, ..self },
            _ if streak == 2 && let_through < 1.0 => guess(halved(self.pace)),
            Phase::Trying { base } if base < 1.0 => guess(base),
            Phase::Trying { base } => hold(let_through.min(self.pace - 1.0).max(base)),
            // Another client of the account used it up, and may be done soon.
            Phase::Holding { .. } | Phase::Guessing if let_through < 1.0 => guess(FLOOR),
            Phase::Holding { .. } | Phase::Guessing if let_through < self.pace => hold(let_through),
            Phase::Guessing => guess(self.pace - 1.0),
            Phase::Holding { glitch: Some(at), .. } if now < at + GLITCH => hold(self.pace - 1.0),
            Phase::Holding { .. } => Self { streak, phase: Phase::Holding { glitch: Some(now) }, ..self },
        }
    }
}

/// How many grants prove a pace.
fn proof(pace: f64) -> u32 {
    count(PROOF_SECONDS * pace)
}

/// One more; from a fraction, one.
fn one_more(pace: f64) -> f64 {
    if pace < 1.0 { 1.0 } else { pace + 1.0 }
}

/// Half as many, as a whole number while it is at least one.
fn halved(pace: f64) -> f64 {
    if pace >= 2.0 { (pace / 2.0).floor() } else { pace / 2.0 }
}

/// A pace as a count; at least one, since a slower pace is kept by spacing.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 20")]
pub(super) fn count(pace: f64) -> u32 {
    pace.clamp(1.0, f64::from(u32::MAX)) as u32
}
