//! Feeds the target `token_claims`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::token_claims(input));
