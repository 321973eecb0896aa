//! Feeds the target `devices`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::devices(input));
