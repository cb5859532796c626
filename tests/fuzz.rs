//! What the fuzzers found, and what they begin with, as an ordinary test: see
//! docs/reliability.md for how to run them.
#![cfg(all(feature = "websocket", feature = "environments"))]

mod harness;

#[path = "fuzz/targets/lib.rs"]
#[allow(dead_code, reason = "the fuzzers use a little more")]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Run a target over each file of tests/fuzz/corpus/NAME.
fn replay(name: &str, run: impl Fn(&[u8])) {
    let folder = harness::root().join("tests/fuzz/corpus").join(name);
    let files = files(&folder);
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in &files {
        let data = fs::read(file).expect("a file of the repository");
        let done = catch_unwind(AssertUnwindSafe(|| run(&data)));
        assert!(done.is_ok(), "{}", file.display());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the repository");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn framing_is_what_a_reader_of_the_whole_stream_finds() {
    replay("framing", targets::framing::run);
}

#[test]
fn messages_are_what_serde_json_makes_of_them() {
    replay("message", targets::message::run);
}

#[test]
fn calls_end_once_whatever_the_peer_answers() {
    replay("session", targets::session::run);
}

#[test]
fn headers_tokens_and_urls_are_checked_and_not_told() {
    replay("headers", targets::headers::run);
}

#[test]
fn any_text_as_environments_is_taken_or_refused() {
    replay("environments", targets::environments::run);
}

#[test]
fn any_calls_in_any_order_keep_the_ledger() {
    let server = harness::misbehave(&[]).remove(0);
    replay("api", |data| targets::api::run(&server, data));
}
