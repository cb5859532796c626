//! Threads of a host that send and receive over one plain WebSocket by
//! themselves, and the library's thread where none does: tests/c/turns.c.
#![cfg(feature = "websocket")]

mod harness;
use harness::{Program, c_program, misbehave_ws, scenario_of};

#[track_caller]
fn run(name: &str, steps: &[&str]) {
    run_program(c_program("turns"), name, steps);
}

/// So much that valgrind would take minutes.
#[track_caller]
fn run_fast(name: &str, steps: &[&str]) {
    run_program(c_program("turns").never_under_valgrind(), name, steps);
}

#[track_caller]
fn run_program(program: Program, name: &str, steps: &[&str]) {
    let steps: Vec<_> = ["upgrade"].iter().chain(steps).copied().collect();
    let (_server, url) = misbehave_ws(&steps);
    scenario_of(program, name, &[url]);
}

#[test]
fn many_threads_share_one() {
    run_fast("many_threads_share_one", &["echo-loop"]);
}

#[test]
fn large_messages_go_both_ways() {
    run_fast("large_messages_both_ways", &["echo-loop"]);
}

#[test]
fn answers_come_in_order() {
    run_fast("answers_come_in_order", &["echo-loop"]);
    run_fast("corked_answers_come_in_order", &["echo-loop"]);
}

#[test]
fn one_leads_and_another_is_answered() {
    run(
        "one_leads_and_another_is_answered",
        &["request", "request", "reply:2", "sleep:1100", "echo-loop"],
    );
}

#[test]
fn who_leads_is_interrupted() {
    let steps = ["request", "request", "sleep:600", "reply:2", "echo-loop"];
    run("who_leads_is_interrupted", &steps);
}

#[test]
fn a_deadline_holds_in_a_flood() {
    run_fast("a_deadline_holds_in_a_flood", &["request", "flood:100000000:10"]);
}

#[test]
fn our_pings_are_answered_whoever_reads() {
    run("our_pings_are_answered", &["echo-loop"]);
    run("missing_pongs_are_seen_while_led", &["deaf-loop"]);
}

#[test]
fn its_pings_are_answered_whoever_reads() {
    let told = r#"text:{"method":"ponged"}"#;
    let steps =
        ["request", "ping", "reply:1", "sleep:100", "ping", told, "sleep:300", "ping", told];
    run("its_pings_are_answered", &steps);
}

#[test]
fn a_loop_needs_no_waiting_thread() {
    run("a_loop_needs_no_waiting_thread", &["echo-loop"]);
}

#[test]
fn a_close_ends_a_crowd() {
    run_fast("a_close_ends_a_crowd", &["echo-loop"]);
}

#[test]
fn an_answer_before_an_end_counts() {
    run("an_answer_before_a_close_counts", &["request", "reply:1", "close:1001"]);
    run("an_answer_before_an_end_counts", &["request", "reply:1", "fin"]);
}
