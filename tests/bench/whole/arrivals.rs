//! Figures about the rate of arrivals.

use certcommit::simulator::{rate, worst_second};
use tokio::time::Instant;

use super::report::{Figure, percent};

/// The most commits that may arrive in any second.
const CAP: usize = 20;
const CAP_PER_SECOND: f64 = 20.0;

/// The used fraction of the limit, from the first arrival to the last.
pub(crate) fn use_of_the_limit(situation: &str, times: &[Instant]) -> Figure {
    let used = rate(times) / CAP_PER_SECOND;
    Figure::with_target(format!("use of the limit, {situation}"), percent(used), "at least 97 %", used >= 0.97)
}

/// The most arrivals in any sliding second.
pub(crate) fn worst_sliding_second(situation: &str, times: &[Instant]) -> Figure {
    let worst = worst_second(times);
    Figure::with_target(format!("worst sliding second, {situation}"), worst.to_string(), "at most 20", worst <= CAP)
}
