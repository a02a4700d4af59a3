//! What the CA makes of the orders, on a schedule. Pure.

use std::ops::Range;
use std::time::Duration;

use super::fault::dice;

/// A CA's schedule: each order gets a time in which the CA decides, and one of these ends.
#[derive(Debug, Clone)]
pub struct Issuance {
    /// How long the CA takes.
    pub takes: Range<Duration>,
    /// The fraction of the orders that the CA refuses.
    pub refused: f64,
    /// The fraction that waits for a confirmation letter which nobody uploads.
    pub letter_missing: f64,
}

const APPROVED: i64 = 1;
const REVIEWING: i64 = 0;
const UNAPPROVED: i64 = 2;
const LETTER_NEEDED: i64 = 8;

impl Issuance {
    /// The status of an order that is so old, and the server's words about it. After the commit, a letter is needed; somebody
    /// uploads it halfway, or nobody does.
    pub(super) fn status(&self, seed: u64, certificate_id: &str, age: Duration) -> (i64, Option<&'static str>) {
        let throw = dice(seed, certificate_id, 0);
        let Range { start, end } = self.takes;
        let takes = start + end.saturating_sub(start).mul_f64(dice(seed, certificate_id, u64::MAX));
        if throw < self.letter_missing || age < takes / 2 {
            return (LETTER_NEEDED, Some("waiting for the confirmation letter"));
        }
        if age < takes {
            return (REVIEWING, Some("in review"));
        }
        if throw < self.letter_missing + self.refused {
            return (UNAPPROVED, Some("the organization could not be reached by telephone"));
        }
        (APPROVED, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn statuses(issuance: &Issuance, age: Duration) -> Vec<i64> {
        (0..1_000).map(|number| issuance.status(7, &format!("c{number}"), age).0).collect()
    }

    #[test]
    fn orders_wait_for_a_letter_are_reviewed_and_end_in_about_their_proportions() {
        let issuance = Issuance { takes: 10 * SECOND..20 * SECOND, refused: 0.1, letter_missing: 0.05 };
        let count = |age: u32, status| statuses(&issuance, age * SECOND).iter().filter(|one| **one == status).count();
        assert_eq!(count(4, LETTER_NEEDED), 1_000);
        assert!((900..1_000).contains(&count(10, REVIEWING)));
        assert!((30..70).contains(&count(20, LETTER_NEEDED)) && (70..130).contains(&count(20, UNAPPROVED)));
        assert_eq!(count(20, LETTER_NEEDED) + count(20, UNAPPROVED) + count(20, APPROVED), 1_000);
        assert_eq!(statuses(&issuance, 20 * SECOND), statuses(&issuance, 2_000 * SECOND), "an end is final");
    }
}
