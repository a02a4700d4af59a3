//! The parser of the configuration: file and environment.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::configuration(input));
