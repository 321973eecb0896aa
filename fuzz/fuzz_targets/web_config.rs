//! Feeds the target `web_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::web_config(input));
