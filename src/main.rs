//! The certcommit binary.
fn main() {}
