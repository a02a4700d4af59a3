//! How large a test is: a bounded form by default, and a long one when a script under `tests/soak` asks for it. And how
//! large a benchmark is: its full form by default, and another when somebody asks for it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::str::FromStr;

/// The number that the environment's variable `FAULTS_…` gives, or the default of the bounded form.
pub(crate) fn test_size<T: FromStr>(name: &str, bounded: T) -> T {
    number(&format!("FAULTS_{name}")).unwrap_or(bounded)
}

/// The number that the environment's variable `BENCH_…` gives, or the default of the full form.
pub(crate) fn bench_size<T: FromStr>(name: &str, full: T) -> T {
    number(&format!("BENCH_{name}")).unwrap_or(full)
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no such number: {text}")))
}

/// The seed of a random test, from `FAULTS_SEED` or a new one; printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = test_size("SEED", new_seed());
    println!("FAULTS_SEED={seed}");
    seed
}

/// A seed that nobody chose.
pub(crate) fn new_seed() -> u64 {
    RandomState::new().hash_one(0)
}
