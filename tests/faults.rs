//! A machine on which one system call fails, each in turn: see tests/c/faults.c.
//! Of calls that a session makes often, the first ones; with `LEASH_FAULTS=all`
//! every one.

use std::env;
use std::time::Duration;

mod harness;
use harness::{Program, c_program, misbehave, scenario_of};

/// A server that asks, tells, and writes to stderr, before it echoes.
const STEPS: [&str; 4] = ["stderr:line", "ask:1:x", "notify:n", "echo-loop"];

fn program() -> Program {
    let mut program = c_program("faults").never_under_valgrind().timeout(Duration::from_secs(1200));
    if env::var_os("LEASH_FAULTS").is_none() {
        program = program.env("POINTS", "2");
    }
    program
}

#[test]
fn each_failing_call_of_a_process_is_told_and_leaves_nothing() {
    let out = scenario_of(program(), "each_point", &misbehave(&STEPS));
    print!("{}", out.stdout);
}

#[test]
#[cfg(feature = "websocket")]
fn each_failing_call_of_a_websocket_is_told_and_leaves_nothing() {
    let (_server, url) = harness::misbehave_ws(&["upgrade", "echo-loop"]);
    let out = scenario_of(program().env("URL", url), "each_point", &[]);
    print!("{}", out.stdout);
}

// ---- Memory: tests/c/memory.c -----------------------------------------------

#[track_caller]
fn without_memory(name: &str, steps: &[&str]) {
    let points = if env::var_os("LEASH_FAULTS").is_none() { "40" } else { "2000" };
    let program = c_program("memory").never_under_valgrind().env("POINTS", points);
    let out = scenario_of(program.timeout(Duration::from_secs(1200)), name, &misbehave(steps));
    print!("{}", out.stdout);
}

#[test]
fn without_memory_a_process_ends_in_order_or_goes_on() {
    without_memory("each_request_fails", &["echo-loop"]);
}

#[test]
fn a_large_message_without_memory_is_refused() {
    without_memory("large_requests_fail", &["sleep-forever"]);
}

#[test]
fn a_large_answer_without_memory_ends_the_connection() {
    without_memory("a_large_answer_finds_no_memory", &["request", "big:20000000"]);
}
