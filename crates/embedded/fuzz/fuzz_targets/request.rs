//! Bytes behind a request's length: the decoder follows the walk to the same byte or refuses, and batches are judged.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    evenkeel_embedded::fuzzing::request(bytes);
});
