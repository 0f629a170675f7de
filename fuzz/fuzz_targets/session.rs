#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ehlo_fuzz::session(input));
