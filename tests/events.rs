//! What arrives unasked, and how a C host learns of it.

mod harness;
use harness::{c_program, c_programs, misbehave, scenario, scenario_of};

#[track_caller]
fn run(name: &str, steps: &[&str]) {
    scenario("events", name, &misbehave(steps));
}

#[test]
fn open_comes_before_everything_a_hasty_server_says() {
    let hasty = r#"echo '{"method":"hello"}'; echo hello >&2; exec cat"#;
    scenario("events", "open_comes_before_everything", &["sh", "-c", hasty].map(str::to_owned));
}

#[test]
fn a_request_may_have_an_id_of_any_type() {
    let ids = [
        "0",
        "-1",
        "1",
        "7",
        r#""""#,
        r#""a b""#,
        r#""\u00e9\"""#,
        "1.50",
        "1e3",
        "12345678901234567890",
        "null",
    ];
    let steps: Vec<_> = ids.iter().map(|id| format!("ask:{id}:roots/list")).collect();
    run("ids_are_echoed_as_they_came", &steps.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_request_is_answered_once_even_by_being_freed() {
    run("requests_are_answered_once", &["ask:1:x"; 5]);
}

#[test]
fn a_reply_after_close_says_so() {
    run("a_reply_after_close_is_refused", &["ask:1:x"]);
}

#[test]
fn a_server_may_ask_before_it_answers() {
    run(
        "a_server_may_ask_before_it_answers",
        &["request", "ask:1:y", r#"send:{"id":1,"result":"done"}"#],
    );
}

#[test]
fn a_notification_has_its_method_and_params() {
    let params = r#"{"x":1.0,"y":12345678901234567890,"z":"\u00e9"}"#;
    let first = format!(r#"send:{{"params":{params},"method":"a\u00e9\/\u0000\ud800"}}"#);
    run("notifications_have_method_and_params", &[&first, "notify:bare"]);
}

#[test]
fn noise_costs_no_call() {
    run("noise_costs_no_call", &["noise", "echo-loop"]);
}

#[test]
fn noise_is_shown_up_to_four_kilobytes() {
    let late = format!(r#"send:{{"id":1,"result":"{}"}}"#, "x".repeat(5000));
    run("noise_is_cut", &["endless:10000", "raw:\\n", &late, "notify:after"]);
}

#[test]
fn what_is_no_message_is_noise() {
    let lines = [
        "1",
        "{}",
        "null",
        "[]",
        "true",
        "\"text\"",
        r#"{"method":1}"#,
        r#"{"id":1}"#,
        r#"{"id":{},"method":"x"}"#,
        r#"{"id":[1],"method":"x"}"#,
        r#"{"id":"a\qb","method":"x"}"#,
        "{\"id\":\"a\tb\",\"method\":\"x\"}",
        r#"{"method":"x","result":1}"#,
        r#"{"method":"x""#,
        r#"{"method":"x"}}"#,
        r#"{"method":"x","method":"x"}"#,
        r#"{"method":"\x"}"#,
        r#"{"id":1,"result":1}"#,
        r#"{"id":null,"error":{"code":1,"message":"x"}}"#,
        r#"{"id":-1,"error":{"code":-32600,"message":"x"}}"#,
        r#"{"id":"1","result":1}"#,
        r#"{"result":1}"#,
    ];
    let mut steps: Vec<_> = lines.iter().map(|line| format!("print:{line}")).collect();
    // Not UTF-8, and a raw NUL: both inside of what would be a message.
    steps.push(r#"raw:{"method":"a\xff"}\n{"method":"a\x00"}\n"#.to_owned());
    steps.push("notify:end".to_owned());
    for program in c_programs("events") {
        let program = program.env("LINES_OF_NOISE", (lines.len() + 2).to_string());
        let steps: Vec<_> = steps.iter().map(String::as_str).collect();
        scenario_of(program, "what_is_no_message_is_noise", &misbehave(&steps));
    }
}

#[test]
fn noise_between_content_length_messages_is_told() {
    let odd = r#"raw:content-length:14\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{"method":"c"}"#;
    let steps = ["lsp", "notify:a", "print:Starting up...", "notify:b", odd, "send:[]", "notify:d"];
    run("noise_between_lsp_messages", &steps);
}

#[test]
fn a_broken_content_length_ends_the_connection() {
    for header in ["Content-Length: x", "Content-Length: -1", "Content-Type: x"] {
        let broken = format!("raw:{header}\\r\\n\\r\\n{{}}");
        run("a_broken_header_ends_it", &["lsp", "recv", &broken]);
    }
}

#[test]
fn headers_without_end_end_the_connection() {
    let endless = format!("raw:Content-Length: 2\\r\\nX: {}", "y".repeat(9000));
    run("a_broken_header_ends_it", &["lsp", "recv", &endless]);
}

#[test]
fn batches_are_taken_apart() {
    let batch = concat!(
        r#"print:[{"id":2,"result":[1,2]},{"method":"n"},{"id":"q","method":"m"},5,"#,
        r#"{"id":1,"error":{"code":4,"message":"x"}}]"#
    );
    let steps = ["recv:2", batch, "stderr-recv", "recv", "print:[]", "print:[1,2]"];
    run("batches_are_taken_apart", &steps);
}

#[test]
fn stderr_comes_in_lines_and_long_ones_in_pieces() {
    let lines = r"printf 'one\r\n\nb\377d \000 nul\n%040000d\nno newline' 0 >&2; exec 2>&-; cat";
    scenario("events", "stderr_comes_in_lines", &["sh", "-c", lines].map(str::to_owned));
}

#[test]
fn a_line_of_stderr_is_cut_only_where_it_must_be() {
    let lines = r"exec 3>&1 >&2; printf '%016384d\n' 0; printf '%016383d\r' 0; sleep 0.1; echo
        printf '\342\202\254%.0s' $(seq 8000); echo; echo end; exec >&3; cat";
    scenario("events", "long_lines_stay_whole_and_text", &["sh", "-c", lines].map(str::to_owned));
}

#[test]
fn the_oldest_lines_of_stderr_are_dropped_and_counted() {
    run("old_lines_are_dropped_and_counted", &["stderr-flood:20000", "echo-loop"]);
}

#[test]
fn stderr_can_be_discarded() {
    run("stderr_can_be_discarded", &["stderr:unheard", "echo-loop"]);
}

#[test]
fn stderr_can_be_the_hosts_own() {
    let server = misbehave(&["stderr:overheard", "echo-loop"]);
    let out = scenario_of(c_program("events"), "stderr_can_be_the_hosts", &server);
    assert!(out.stderr.contains("overheard\n"), "{}", out.stderr);
}

#[test]
fn the_descriptor_is_readable_exactly_while_there_is_something() {
    run("fd_is_readable_exactly_while_there_is_something", &["echo-loop"]);
}

#[test]
fn an_event_loop_sees_every_event() {
    run("an_event_loop_sees_every_event", &["flood:20000"]);
}

#[test]
fn each_wake_counts_for_one_poll() {
    run("each_wake_counts_for_one_poll", &["echo-loop"]);
}

#[test]
fn a_signal_handler_can_wake_a_poll() {
    run("a_signal_handler_can_wake", &[]);
}

#[test]
fn a_wake_that_a_poll_has_taken_is_not_heard_again() {
    // Two threads that take turns, which valgrind lets wait for each other.
    let program = c_program("events").never_under_valgrind();
    scenario_of(program, "a_wake_that_was_taken_is_not_heard_again", &misbehave(&[]));
}

#[test]
fn a_signal_interrupts_every_wait() {
    run("a_signal_interrupts_every_wait", &["ignore-term", "ignore-eof"]);
}

#[test]
fn each_event_goes_to_one_thread() {
    run("each_event_goes_to_one_thread", &["flood:20000", "exit:0"]);
}
