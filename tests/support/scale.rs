//! How large a test is: a bounded form by default, and a long one when a script under `tests/long` asks for it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::str::FromStr;

/// The number that the environment's variable `FAULTS_…` gives, or the default of the bounded form.
pub(crate) fn scale<T: FromStr>(name: &str, bounded: T) -> T {
    let variable = format!("FAULTS_{name}");
    match std::env::var(&variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no such number: {text}")),
        Err(_) => bounded,
    }
}

/// The seed of a random test, from `FAULTS_SEED` or a new one; printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = scale("SEED", RandomState::new().hash_one(0));
    println!("FAULTS_SEED={seed}");
    seed
}
