//! The parser of credentials files.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::credentials_file(input));
