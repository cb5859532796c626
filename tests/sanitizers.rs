//! That the sanitizers are on: each planted mistake of tests/c/planted.c is
//! found. For a library that was built with one, which takes a nightly
//! toolchain: `.ci/sanitizers`.

mod harness;
use harness::{c_program, misbehave, sanitizer};

/// The mistakes, by what finds them, and how that is said.
const PLANTED: [(&str, &str, &str); 5] = [
    ("address", "a_read_after_free", "AddressSanitizer: heap-use-after-free"),
    ("address", "a_length_beyond_the_text", "AddressSanitizer: heap-buffer-overflow"),
    ("address", "a_leak", "LeakSanitizer: detected memory leaks"),
    ("thread", "two_threads_set_one", "ThreadSanitizer: data race"),
    ("", "an_overflow", "signed integer overflow"),
];

#[test]
fn each_planted_mistake_is_found() {
    let Some(kind) = sanitizer() else { return };
    let mine = |by: &str| by.is_empty() || by == kind;
    for (_, name, wanted) in PLANTED.into_iter().filter(|(by, ..)| mine(by)) {
        let out = c_program("planted").arg(name).args(misbehave(&["echo-loop"])).run();
        assert!(!out.status.success(), "{name} went unnoticed");
        assert!(out.stderr.contains(wanted), "{name}:\n{}", out.stderr);
        // Where the library is to blame or deceived, its own code is named.
        let is_inside = ["a_length_beyond_the_text", "two_threads_set_one"].contains(&name);
        assert!(!is_inside || out.stderr.contains("leash::"), "{name}:\n{}", out.stderr);
        out.assert_nothing_left();
    }
}
