//! Feeds the target `graph_errors`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::graph_errors(input));
