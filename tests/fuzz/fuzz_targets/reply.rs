//! The parser of the API's replies. The whole input is the body of a reply with HTTP status 200; then its first two bytes are
//! the status, and the rest is the body.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    properties::reply(200, input);
    if let Some((http_status, body)) = input.split_first_chunk() {
        properties::reply(u16::from_be_bytes(*http_status), body);
    }
});
