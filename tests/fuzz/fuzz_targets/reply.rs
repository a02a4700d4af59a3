//! The reader of the API's replies. The first two bytes are the HTTP status; the rest is read as the API's own, too.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    properties::reply(200, input);
    if let Some((http_status, body)) = input.split_first_chunk() {
        properties::reply(u16::from_be_bytes(*http_status), body);
    }
});
