//! Servers that say too much, read too little, or never answer.

use std::fs;
use std::time::Duration;

mod harness;
use harness::{Program, c_program, is_watched, misbehave, scenario_of, work};

/// In one build: most of these take a second, or much memory.
#[track_caller]
fn run(name: &str, steps: &[&str]) {
    run_server(name, &misbehave(steps));
}

#[track_caller]
fn run_server(name: &str, server: &[String]) {
    scenario_of(program(), name, server);
}

/// What watches a program needs memory of its own.
fn program() -> Program {
    let program = c_program("limits");
    if is_watched() { program.env("UNCOUNTED", "1") } else { program }
}

/// So much that valgrind would take minutes.
#[track_caller]
fn run_fast(name: &str, steps: &[&str]) {
    let program = program().never_under_valgrind();
    scenario_of(program.timeout(Duration::from_secs(120)), name, &misbehave(steps));
}

#[test]
fn a_batch_waits_for_the_host() {
    let part = r#"{"method":"m","params":[0]},1,"#;
    let batch = format!("[{}{{\"id\":1,\"result\":2}}]\n", part.repeat(200_000));
    let path = work().join("batch.json");
    fs::write(&path, batch).expect("the batch can be written");
    let file = format!("file:{}", path.display());
    run_fast("a_batch_waits_for_the_host", &["request", &file, "notify:after", "exit:0"]);
}

#[test]
fn what_a_server_wrote_before_it_failed_waits_for_the_host() {
    run("last_words_wait_for_the_host", &["flood:1000", "exit:1"]);
}

#[test]
fn what_has_gone_past_an_unread_event_holds_no_memory() {
    run_fast("what_has_gone_past_holds_no_memory", &["stderr-flood:3000000", "echo-loop"]);
}

#[test]
fn a_result_of_300_mb_arrives_whole() {
    run_fast("a_big_result_arrives_whole", &["request", "big:314572800", "echo-loop"]);
}

#[test]
fn a_large_result_leaves_no_memory_behind() {
    run("a_big_result_leaves_no_memory", &["request", "big:40000000"]);
}

#[test]
fn unread_messages_hold_no_more_memory_than_their_size() {
    let round = ["request", "big:60000000", "flood:1:1200000"];
    run("unread_messages_hold_no_more_than_their_size", &round.repeat(8));
}

#[test]
fn a_result_over_the_limit_ends_the_connection() {
    run_fast("too_big_by_default", &["request", "big:314572800"]);
}

#[test]
fn a_line_that_never_ends_ends_the_connection() {
    run_fast("too_big_by_default", &["request", "endless:314572800", "sleep-forever"]);
}

#[test]
fn a_content_length_over_the_limit_ends_the_connection() {
    run_fast("too_big_by_header", &["lsp", "request", "big:314572800"]);
}

#[test]
fn the_limit_of_a_message_is_exact_both_ways() {
    run("max_message_is_exact", &["request", "big:1000", "request", "big:1001"]);
}

#[test]
fn a_server_that_never_reads_blocks_nobody() {
    run("a_server_that_never_reads", &["never-read"]);
}

#[test]
fn a_server_that_reads_late_gets_everything() {
    run("a_late_reader_gets_everything", &["count-loop"]);
}

#[test]
fn a_flood_waits_for_the_host_and_loses_nothing() {
    run_fast("a_flood_waits_for_the_host", &["flood:300000", "echo-loop"]);
}

#[test]
fn a_flood_is_bounded_in_bytes_too() {
    run("a_flood_is_bounded_in_bytes", &["flood:5000:10000"]);
}

#[test]
fn one_message_always_fits_an_empty_queue() {
    run("one_message_always_fits", &["flood:3:100000"]);
}

#[test]
fn a_close_amid_a_flood_counts_what_it_discards() {
    run("a_close_amid_a_flood", &["flood:50000"]);
}

#[test]
fn a_peer_that_only_asks_cannot_fill_the_memory() {
    let line = r#"{"id":1,"method":"a-request-without-any-sense-behind-it"}"#;
    let argv = ["sh".to_owned(), "-c".to_owned(), format!("yes '{line}'")];
    run_server("a_peer_that_only_asks", &argv);
}

#[test]
fn a_deadline_holds_while_the_server_talks_without_end() {
    let line = r#"{"method":"a-notification"}"#;
    let argv = ["sh".to_owned(), "-c".to_owned(), format!("yes '{line}'")];
    run_server("a_deadline_holds_amid_a_flood", &argv);
}

#[test]
fn a_large_call_stays_in_one_piece_while_others_send() {
    run("a_large_call_stays_in_one_piece", &["sleep:100", "echo-loop"]);
}

#[test]
fn a_large_call_waits_for_a_server_that_talks_first() {
    run("a_large_call_to_a_server_that_talks", &["flood:3000:2000", "echo-loop"]);
}

#[test]
fn a_large_call_that_was_given_up_goes_whole() {
    run("a_large_call_is_finished_without_its_caller", &["echo-loop"]);
}

#[test]
fn a_large_call_ends_with_its_connection() {
    run("a_large_call_ends_with_its_connection", &["never-read"]);
}

#[test]
fn a_large_call_ends_with_its_server() {
    run("a_large_call_to_a_server_that_goes", &["sleep:100", "exit:3"]);
}

#[test]
fn sixty_four_threads_get_their_own_answers() {
    run("many_threads_call_at_once", &["echo-loop"]);
}
