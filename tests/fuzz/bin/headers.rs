#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leash_fuzz::headers::run(data));
