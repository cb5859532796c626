#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let server = std::env::var("LEASH_FUZZ_SERVER").expect("the path of examples/misbehave");
    leash_fuzz::api::run(&server, data);
    leash_fuzz::api::count_descriptors();
});
