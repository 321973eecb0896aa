//! Feeds the target `csv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::csv(input));
