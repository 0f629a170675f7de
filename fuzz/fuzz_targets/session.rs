#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Err(problem) = ehlo_fuzz::session(input) {
        panic!("{problem}");
    }
});
