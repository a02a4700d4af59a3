//! The allowance: how many requests a second the server lets us make, if it is fewer than our cap.
//!
//! The server's limit is a count per second. So it is learnt as a count, and kept as our own is: by the log of
//! departures. When a request is refused for its rate, what departed in the second before it and was not refused is just
//! what the server let through; that many are allowed from then on. A pace that is lowered by a factor and creeps up
//! again, as AIMD and CUBIC have it, gives away a part of the grant between two refusals, and near a limit of three it is
//! refused for a varying delay that the log of departures, with its guard, keeps away.
//!
//! The limit may rise again, so one more is tried from time to time. If that is refused, it costs a request or two, and
//! leads back at once to what was granted before. If it is granted, the limit did rise, and the cap itself is tried next:
//! what the server lets through then is the new count, or all of it. Larger and larger steps would find it out later, and
//! would be refused no less often.
//!
//! When a second request is refused, with nothing granted in between, the server's second may be used up: nothing goes out
//! for as long as one lasts. Further ones say that the count is wrong: it halves with each of them, down to a request every
//! two seconds. So a storm costs few requests, and the first grant ends it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Each refusal is a debt of so many grants. A count that is known is put to the test, with one more, when they are paid: so
/// fewer than two in a hundred are refused, whatever the limit and however late refusals are heard of.
const GRANTS_PER_REFUSAL: u32 = 60;
/// Nor is it put to the test more often than this: a refused request takes the place of one that would be granted.
const TEST_EVERY: Duration = Duration::from_secs(8);
/// A higher count is known once it was granted for so many seconds; so is one that was guessed, by halving.
const PROOF_SECONDS: f64 = 2.0;
/// A refusal that the count does not explain is taken for a delay on the way; a second one within this time is not.
const GLITCH: Duration = Duration::from_secs(10);
/// Refusals are remembered for as long as another one, that departed within a second of them, may be heard of.
const REMEMBERED: Duration = Duration::from_secs(10);
/// The fewest requests a second: it must still find out when the limit rises. To ask more seldom is the matter of pauses.
const FLOOR: f64 = 0.5;

/// How many requests a second are allowed.
#[derive(Debug)]
pub(super) struct LearnedLimit {
    cap: f64,
    learnt: Option<Learnt>,
    /// When requests departed that were refused.
    refused: VecDeque<Instant>,
    /// Grants that are owed before more is tried.
    debt: u32,
}

/// A count below the cap.
#[derive(Debug, Clone, Copy)]
struct Learnt {
    /// Requests a second: a whole number, or a fraction below one.
    pace: f64,
    /// Since when. What departed before says nothing about it.
    since: Instant,
    /// Requests that departed since then and were not refused.
    granted: u32,
    /// Refusals with nothing granted in between.
    streak: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It is known. A refusal that it does not explain came then.
    Holding { glitch: Option<Instant> },
    /// It was guessed.
    Guessing,
    /// It is a trial: of more than `base`, which was granted.
    Trying { base: f64 },
}

impl LearnedLimit {
    pub(super) fn new(cap: f64) -> Self {
        Self { cap, learnt: None, refused: VecDeque::new(), debt: 0 }
    }

    /// Sets another cap; what was learnt of the server's own limit stays.
    pub(super) fn set_cap(&mut self, cap: f64) {
        self.cap = cap;
    }

    /// Whether several were refused and nothing was granted in between: then the next one has to wait for a second.
    pub(super) fn is_exhausted(&self) -> bool {
        self.learnt.is_some_and(|learnt| learnt.streak > 1)
    }

    /// Requests a second.
    pub(super) fn pace(&self) -> f64 {
        self.learnt.map_or(self.cap, |learnt| learnt.pace.min(self.cap))
    }

    /// Tries more, if it is time to.
    pub(super) fn advance(&mut self, now: Instant) {
        let Some(learnt) = self.learnt else {
            return;
        };
        let base = learnt.pace;
        let is_proven = learnt.granted >= proof(base);
        let more = match learnt.phase {
            Phase::Holding { .. } if self.debt == 0 && now >= learnt.since + TEST_EVERY => one_more(base),
            Phase::Guessing if is_proven => one_more(base),
            Phase::Trying { .. } if is_proven => self.cap,
            Phase::Holding { .. } | Phase::Guessing | Phase::Trying { .. } => return,
        };
        self.learnt = (base < self.cap).then(|| {
            let phase = Phase::Trying { base };
            Learnt { pace: more.min(self.cap), since: now, granted: 0, streak: 0, phase }
        });
    }

    /// A request that departed then was not refused for its rate.
    pub(super) fn granted(&mut self, departed: Instant) {
        if let Some(learnt) = self.learnt.as_mut().filter(|learnt| departed >= learnt.since) {
            learnt.granted = learnt.granted.saturating_add(1);
            learnt.streak = 0;
            self.debt = self.debt.saturating_sub(1);
        }
    }

    /// A request that departed then was refused for its rate. `before` are the departures of the second before it, if that
    /// is known.
    pub(super) fn refused(&mut self, departed: Instant, before: Option<usize>, now: Instant) {
        self.forget(now);
        let refused_before =
            self.refused.iter().filter(|at| **at < departed && departed < **at + super::SECOND).count();
        self.refused.push_back(departed);
        let let_through = before.and_then(|before| u32::try_from(before.saturating_sub(refused_before)).ok());
        let learnt = self.learnt.unwrap_or_else(|| Learnt::cap(self.cap, departed));
        // What was on the way when the count last changed says nothing about the new one.
        let learnt = if departed >= learnt.since {
            learnt.refused(let_through.map_or(learnt.pace, f64::from), now)
        } else {
            learnt
        };
        self.learnt = Some(learnt);
        // A debt that takes longer than a minute to pay would hide that the limit has risen.
        self.debt = GRANTS_PER_REFUSAL.saturating_add(self.debt).min(GRANTS_PER_REFUSAL * super::count(learnt.pace));
    }

    fn forget(&mut self, now: Instant) {
        while self.refused.front().is_some_and(|at| *at + REMEMBERED < now) {
            self.refused.pop_front();
        }
    }
}

impl Learnt {
    /// The cap, as if it had been learnt and held for long.
    fn cap(cap: f64, since: Instant) -> Self {
        Self { pace: cap, since, granted: 0, streak: 0, phase: Phase::Holding { glitch: None } }
    }

    /// After a refusal, with what was let through in the second before it.
    fn refused(self, let_through: f64, now: Instant) -> Self {
        let streak = self.streak + 1;
        let set = |pace: f64, phase| Self { pace: pace.max(FLOOR), since: now, granted: 0, streak, phase };
        let hold = |pace| set(pace, Phase::Holding { glitch: None });
        let guess = |pace| set(pace, Phase::Guessing);
        match self.phase {
            _ if streak > 2 => guess(halved(self.pace)),
            // The second by the server's clock may be used up.
            _ if streak == 2 && let_through >= self.pace => Self { streak, ..self },
            _ if streak == 2 && let_through < 1.0 => guess(halved(self.pace)),
            Phase::Trying { base } if base < 1.0 => guess(base),
            Phase::Trying { base } => hold(let_through.min(self.pace - 1.0).max(base)),
            // Somebody else has used it up, and may be done soon.
            Phase::Holding { .. } | Phase::Guessing if let_through < 1.0 => guess(FLOOR),
            Phase::Holding { .. } | Phase::Guessing if let_through < self.pace => hold(let_through),
            Phase::Guessing => guess(self.pace - 1.0),
            Phase::Holding { glitch: Some(at), .. } if now < at + GLITCH => hold(self.pace - 1.0),
            Phase::Holding { .. } => Self { streak, phase: Phase::Holding { glitch: Some(now) }, ..self },
        }
    }
}

/// So many grants prove a pace.
fn proof(pace: f64) -> u32 {
    super::count(PROOF_SECONDS * pace)
}

/// One more; from a fraction, one.
fn one_more(pace: f64) -> f64 {
    if pace < 1.0 { 1.0 } else { pace + 1.0 }
}

/// Half as many, as a whole number while it is at least one.
fn halved(pace: f64) -> f64 {
    if pace >= 2.0 { (pace / 2.0).floor() } else { pace / 2.0 }
}
