//! Another Rust library in the same program, with a runtime of its own.

use std::collections::HashMap;
use std::panic;

/// Allocates, unwinds and formats, so that all of the runtime is linked.
#[unsafe(no_mangle)]
pub extern "C" fn other_works() -> bool {
    panic::set_hook(Box::new(|_| {}));
    let words: HashMap<_, _> = (0..100).map(|n| (format!("{n}"), n)).collect();
    let caught = panic::catch_unwind(|| assert!(words.is_empty(), "{}", words.len()));
    words["42"] == 42 && caught.is_err()
}
