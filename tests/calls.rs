//! Requests, notifications and their answers, as a C host sees them.

mod harness;
use harness::{Mark, c_program, misbehave, scenario, scenario_of};

#[track_caller]
fn run(name: &str, steps: &[&str]) {
    scenario("calls", name, &misbehave(steps));
}

#[test]
fn open_is_the_first_event_and_closed_the_last() {
    run("open_is_first_and_closed_is_last", &["echo-loop"]);
}

#[test]
fn what_is_sent_before_open_is_held() {
    run("calls_before_open_are_held", &["echo-loop"]);
}

#[test]
fn a_program_that_is_missing_is_told_by_closed_when_nobody_waited() {
    scenario("calls", "closed_without_open", &["/nonexistent/server".to_owned()]);
}

#[test]
fn payloads_arrive_byte_for_byte() {
    run("payloads_are_the_peers", &["echo-loop"]);
}

#[test]
fn payloads_arrive_byte_for_byte_one_at_a_time() {
    run("payloads_are_the_peers", &["byte-at-a-time", "echo-loop"]);
}

#[test]
fn payloads_arrive_byte_for_byte_over_content_length() {
    run("payloads_over_content_length", &["lsp", "echo-loop"]);
    run("payloads_over_content_length", &["lsp", "byte-at-a-time", "echo-loop"]);
}

#[test]
fn every_protocol_of_lines_can_call() {
    run("every_protocol_can_call", &["echo-loop"]);
}

#[test]
fn an_error_of_the_peer_has_its_code_message_and_data() {
    let answers = [
        r#""error":{"code":-32050,"message":"n\u00f6 \u0000","data":{"x":1.0,"y":12345678901234567890,"z":"\u00e9"}}"#,
        r#""error":{"message":"no such method","code":-32601}"#,
        r#""error":{"message":"no code"}"#,
        r#""error":{"code":1,"data":null}"#,
        r#""error":"just text""#,
        r#""error":null,"result":null"#,
    ];
    let mut steps = Vec::new();
    for (n, answer) in answers.iter().enumerate() {
        steps.extend(["recv".to_owned(), format!(r#"send:{{"id":{},{answer}}}"#, n + 1)]);
    }
    run("errors_have_code_message_and_data", &steps.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_response_tells_its_tag_and_call() {
    run("a_response_has_tag_call_and_seq", &["echo-loop"]);
}

#[test]
fn each_wait_gets_its_own_answer_in_any_order() {
    run("waits_are_out_of_order", &["shuffle:10"]);
}

#[test]
fn an_answer_that_came_before_the_wait_is_kept() {
    run("a_response_that_came_before_can_be_taken", &["echo-loop"]);
}

#[test]
fn a_call_is_waited_for_by_one_thread() {
    run("one_thread_waits_for_a_call", &["recv:2", r#"reply:["mine"]"#]);
}

#[test]
fn a_cancel_ends_the_wait_of_another_thread() {
    run("a_cancel_ends_another_threads_wait", &["recv"]);
}

const COPY: &str = "stderr-recv";
const LATE: &str = "reply:[]";

#[test]
fn a_cancel_over_json_rpc_tells_the_peer_nothing() {
    run("cancel_jsonrpc", &[COPY, COPY, COPY, LATE]);
}

#[test]
fn a_cancel_over_bare_json_rpc_tells_the_peer_nothing() {
    run("cancel_bare", &[COPY, COPY, COPY, LATE]);
}

#[test]
fn a_cancel_over_mcp_is_told_but_for_initialize() {
    run("cancel_mcp", &[COPY, COPY, COPY, COPY, LATE]);
}

#[test]
fn a_cancel_over_acp_is_told_but_for_initialize() {
    run("cancel_acp", &[COPY, COPY, COPY, COPY, LATE]);
}

#[test]
fn a_cancel_over_lsp_is_told_but_for_initialize() {
    run("cancel_lsp", &["lsp", COPY, COPY, COPY, COPY, LATE]);
}

#[test]
fn calls_end_at_their_deadlines() {
    run("deadlines_end_calls", &[COPY]);
}

#[test]
fn the_peer_hears_that_a_call_is_over() {
    run("deadlines_tell_the_peer", &[COPY, COPY, COPY, COPY, COPY]);
}

#[test]
fn notifications_are_sent_as_given() {
    run("notifications_are_sent_as_given", &[COPY, COPY, COPY]);
}

#[test]
fn corked_output_waits_for_a_flush() {
    let asks = r#"echo '{"id":1,"method":"a"}'; echo '{"id":2,"method":"b"}'; exec sleep 300"#;
    scenario("calls", "corked_output_waits_for_a_flush", &["sh", "-c", asks].map(str::to_owned));
}

#[test]
fn a_wait_of_nothing_does_not_sleep() {
    let program = c_program("calls").never_under_valgrind();
    scenario_of(program, "a_wait_of_nothing_does_not_sleep", &misbehave(&["recv", "recv"]));
}

/// Run a scenario whose server, `script`, tells by files in $FOLDER what it has done.
fn run_with_folder(name: &str, script: &str) {
    let folder = std::env::temp_dir().join(Mark::new().value());
    std::fs::create_dir(&folder).expect("a temporary folder");
    let program = c_program("calls").never_under_valgrind().env("FOLDER", &folder);
    scenario_of(program, name, &["sh", "-c", script].map(str::to_owned));
    std::fs::remove_dir_all(&folder).expect("ours");
}

const ANSWERS_WHEN_TOLD: &str = r#"read x; until [ -e "$FOLDER/go" ]; do sleep 0.01; done
    echo '{"jsonrpc":"2.0","id":1,"result":7}'; : >"$FOLDER/done"; exec cat >/dev/null"#;

#[test]
fn who_runs_late_has_what_came_in_time() {
    run_with_folder("who_runs_late_has_what_came_in_time", ANSWERS_WHEN_TOLD);
}

#[test]
fn who_runs_late_has_what_it_submitted() {
    run_with_folder("who_runs_late_has_what_it_submitted", ANSWERS_WHEN_TOLD);
}

#[test]
fn who_follows_one_that_runs_late_has_it_too() {
    let answers = r#"for i in 1 2 3 4; do read x; done; : >"$FOLDER/read"
        until [ -e "$FOLDER/go" ]; do sleep 0.01; done
        for i in 1 2 3 4; do echo "{\"jsonrpc\":\"2.0\",\"id\":$i,\"result\":7}"; done
        : >"$FOLDER/done"; exec cat >/dev/null"#;
    run_with_folder("who_follows_one_that_runs_late_has_it_too", answers);
}

#[test]
fn an_answer_in_time_counts_unread() {
    let answers = r#"n=0; many=; newline='
'
        while [ ${#many} -lt 3000 ]; do many=$many'{"jsonrpc":"2.0","method":"n"}'$newline; done
        while read x; do
            n=$((n + 1)); more=$many; [ $((n % 2)) = 1 ] || more=
            printf '{"jsonrpc":"2.0","id":%d,"result":7}\n%s' $n "$more"; : >"$FOLDER/$n"
        done"#;
    run_with_folder("an_answer_in_time_counts_unread", answers);
}
