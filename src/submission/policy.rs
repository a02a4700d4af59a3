//! The policies: the backoff between tries, and the waits before readbacks.

use std::time::Duration;

/// The limits of the retries of one submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The most tries of one submission, including the first.
    pub max_tries: u32,
    /// The longest wait after the first failure.
    pub initial_backoff: Duration,
    /// The longest wait after any failure.
    pub max_backoff: Duration,
}

impl RetryPolicy {
    /// The wait after this many failures in succession: exponential, with full jitter.
    ///
    /// `dice` is a random number in `0.0..1.0`. The result lies in `0..=min(max, initial * 2^(failures-1))`.
    #[must_use]
    pub fn backoff(&self, failures: u32, dice: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.initial_backoff.saturating_mul(1 << doublings).min(self.max_backoff);
        ceiling.mul_f64(dice.clamp(0.0, 1.0))
    }
}

/// The waits of the in-doubt protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyPolicy {
    /// From a commit of unknown outcome to the first readback that counts if it shows no order: the commit may still take
    /// effect.
    pub settle: Duration,
    /// From signing a commit to the readback that may allow another one. A signature is valid for 300 s, and lost packets are
    /// sent again: more than both together is safe.
    pub resend_after: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RetryPolicy =
        RetryPolicy { max_tries: 8, initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(300) };

    #[test]
    fn the_backoff_doubles_up_to_its_maximum() {
        let longest: Vec<u64> = (1..=10).map(|failures| POLICY.backoff(failures, 1.0).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(POLICY.backoff(u32::MAX, 1.0), POLICY.max_backoff);
        assert_eq!(POLICY.backoff(0, 1.0), POLICY.initial_backoff);
    }

    proptest! {
        #[test]
        fn the_jitter_is_full_and_never_exceeds_the_maximum(failures in 0u32..100, dice in 0.0f64..1.0) {
            let wait = POLICY.backoff(failures, dice);
            let longest = POLICY.backoff(failures, 1.0);
            prop_assert!(wait <= longest && longest <= POLICY.max_backoff);
            let expected = longest.as_secs_f64() * dice;
            prop_assert!((wait.as_secs_f64() - expected).abs() < 1e-6);
        }
    }
}
