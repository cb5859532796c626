#![no_main]

use std::panic::catch_unwind;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let server = std::env::var("LEASH_FUZZ_SERVER").expect("the path of examples/misbehave");
    let done = catch_unwind(|| {
        leash_fuzz::api::run(&server, data);
        leash_fuzz::api::count_descriptors();
    });
    // The library's panic hook prints nothing.
    if let Err(panic) = done {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        eprintln!("{:?}", text.or(panic.downcast_ref().copied()));
        std::process::abort();
    }
});
