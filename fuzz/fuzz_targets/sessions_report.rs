//! Feeds the target `sessions_report`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::sessions_report(input));
