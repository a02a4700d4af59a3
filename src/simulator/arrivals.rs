//! What arrived at the server, and how fast.

use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When its last byte arrived.
    pub at: Instant,
    /// `X-TC-Action`.
    pub action: String,
    /// The certificate's ID, if it names one.
    pub certificate_id: Option<String>,
    /// `VerifyType`, if it names one.
    pub verify_type: Option<String>,
    /// The reply: `ok`, an error code, or the name of the fault.
    pub answer: String,
    /// The number of its connection, from 1.
    pub connection: u64,
}

impl Arrival {
    /// Whether it asks for a commit, by either action.
    #[must_use]
    pub fn is_commit(&self) -> bool {
        self.action == super::request::COMMIT || self.action == super::request::ORDER_SUBMIT
    }

    /// Whether it asks for the statuses of several certificates.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.action == super::request::LIST
    }

    /// Whether it asks for a read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.action == super::request::DESCRIBE
    }
}

/// The most arrivals in any sliding second, which includes its start and excludes its end. The times must be sorted.
#[must_use]
pub fn worst_second(times: &[Instant]) -> usize {
    let mut first = 0;
    let mut worst = 0;
    for (index, at) in times.iter().enumerate() {
        while times.get(first).is_some_and(|begin| at.duration_since(*begin) >= SECOND) {
            first += 1;
        }
        worst = worst.max(index + 1 - first);
    }
    worst
}

/// Arrivals per second, from the first to the last; 0 for fewer than two. The times must be sorted.
#[must_use]
pub fn rate(times: &[Instant]) -> f64 {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0.0 };
    let span = last.duration_since(*first).as_secs_f64();
    let gaps = u32::try_from(times.len() - 1).unwrap_or(u32::MAX);
    if span > 0.0 { f64::from(gaps) / span } else { 0.0 }
}

/// Arrivals in each second since the first. The times must be sorted.
#[must_use]
pub fn per_second(times: &[Instant]) -> Vec<usize> {
    let mut counts = Vec::new();
    let Some(first) = times.first() else { return counts };
    for at in times {
        let Ok(second) = usize::try_from(at.duration_since(*first).as_secs()) else { break };
        if counts.len() <= second {
            counts.resize(second + 1, 0);
        }
        if let Some(count) = counts.get_mut(second) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_millis(millis: &[u64]) -> Vec<Instant> {
        let begin = crate::clock::now().instant;
        millis.iter().map(|after| begin + Duration::from_millis(*after)).collect()
    }

    #[test]
    fn the_worst_second_includes_its_start_and_excludes_its_end() {
        assert_eq!(worst_second(&[]), 0);
        assert_eq!(worst_second(&at_millis(&[0])), 1);
        assert_eq!(worst_second(&at_millis(&[0, 999])), 2);
        assert_eq!(worst_second(&at_millis(&[0, 1000])), 1);
        assert_eq!(worst_second(&at_millis(&[0, 1, 1000, 1001])), 2);
    }

    #[test]
    fn the_worst_second_starts_anywhere() {
        assert_eq!(worst_second(&at_millis(&[0, 600, 900, 1100, 1500, 1600, 3000])), 4);
        assert_eq!(worst_second(&at_millis(&[0, 0, 0, 5000])), 3);
    }

    #[test]
    fn the_rate_counts_the_gaps() {
        assert!((rate(&at_millis(&[0, 50, 100, 150, 200])) - 20.0).abs() < 1e-9);
        assert!(rate(&[]).abs() < f64::EPSILON && rate(&at_millis(&[0])).abs() < f64::EPSILON);
        assert!(rate(&at_millis(&[7, 7])).abs() < f64::EPSILON);
    }

    #[test]
    fn counts_by_second_show_the_empty_seconds_too() {
        assert_eq!(per_second(&[]), Vec::<usize>::new());
        assert_eq!(per_second(&at_millis(&[0, 999, 1000, 3500])), [2, 1, 0, 1]);
    }
}
