//! Feeds the target `collection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::collection(input));
