//! The sizes of tests and benchmarks: bounded by default; a script in `tests/soak` or a user can change them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::str::FromStr;

/// The size of a test: the environment variable `FAULTS_…`, or its default.
pub(crate) fn test_size<T: FromStr>(name: &str, default: T) -> T {
    number(&format!("FAULTS_{name}")).unwrap_or(default)
}

/// The size of a benchmark: the environment variable `BENCH_…`, or its default.
pub(crate) fn bench_size<T: FromStr>(name: &str, default: T) -> T {
    number(&format!("BENCH_{name}")).unwrap_or(default)
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} isn't a valid number: {text}")))
}

/// The seed of a random test: `FAULTS_SEED`, or a new one. It is printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = test_size("SEED", new_seed());
    println!("FAULTS_SEED={seed}");
    seed
}

/// A random seed.
pub(crate) fn new_seed() -> u64 {
    RandomState::new().hash_one(0)
}
