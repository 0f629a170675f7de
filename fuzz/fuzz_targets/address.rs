#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| ehlo_fuzz::address(input));
