//! What a host sees is the same over stdio and over a WebSocket: one suite of
//! tests, tests/c/transports.c, over both.

mod harness;

use std::process::Command;

use harness::{Program, Started, c_programs, example, misbehave};

/// What a forked copy cannot free is a leak to valgrind, and it is too slow for
/// a signal to come in the middle of a wait.
fn fit_for_valgrind(program: Program, case: &str) -> Program {
    match case {
        "forks" | "interrupts" => program.never_under_valgrind(),
        _ => program,
    }
}

/// Run the case over both, against the same script.
#[track_caller]
fn over_both(case: &str, script: &[&str]) {
    let server = misbehave(script);
    for program in c_programs("transports") {
        println!("over stdio");
        let out = fit_for_valgrind(program, case).arg(case).args(&server).run();
        out.assert_success();
        out.assert_nothing_left();
    }
    if cfg!(feature = "websocket") {
        let mut command = Command::new(example("misbehave_ws"));
        command.arg("upgrade").arg(format!("exec:{}", server[0])).args(&server[1..]);
        let (_server, url) = Started::with_first_line(command);
        for program in c_programs("transports") {
            println!("over {url}");
            fit_for_valgrind(program, case).arg(case).arg(&url).run().assert_success();
        }
    }
}

#[test]
fn answers_find_their_calls() {
    over_both("calls", &["echo-loop"]);
}

#[test]
fn the_server_may_ask() {
    let script = [r#"notify:hello:{"x":1}"#, "ask:\"q\":question", "ask:2:question", "echo-loop"];
    over_both("asks", &script);
}

#[test]
fn calls_end_at_their_deadline_or_when_given_up() {
    over_both("late", &["request", "request", "sleep:300", "reply:1", "echo-loop"]);
}

#[test]
fn the_descriptor_tells_what_poll_would() {
    over_both("fd", &["request", "reply:1", "sleep:100", "exit:0"]);
}

#[test]
fn a_signal_or_a_wake_ends_a_wait() {
    over_both("interrupts", &["recv:1000"]);
}

#[test]
fn a_full_queue_is_told_and_loses_nothing() {
    over_both("full", &["flood:3000", "echo-loop"]);
}

#[test]
fn a_server_that_goes_ends_every_call() {
    over_both("goes", &["request", "exit:0"]);
}

#[test]
fn a_forked_copy_keeps_nothing_open() {
    over_both("forks", &["echo-loop"]);
}

#[test]
fn a_close_answers_what_is_pending() {
    over_both("closes", &["echo-loop"]);
}

#[test]
fn a_host_without_standard_descriptors_may_print() {
    over_both("bare", &["echo-loop"]);
}

#[cfg(feature = "websocket")]
#[test]
fn websocketd_carries_servers_of_stdio() {
    use harness::{BUILDS, c_program, compile, free_port, peer, root, wait_for_port};
    let Some(websocketd) = peer("websocketd") else { return };
    let start = |server: &[String]| {
        let port = free_port();
        let mut command = Command::new(websocketd.program());
        command.args(["--address=127.0.0.1".to_owned(), format!("--port={port}")]);
        command.arg("--loglevel=fatal").args(server);
        let started = Started::new(command);
        wait_for_port(port);
        (started, format!("ws://127.0.0.1:{port}/"))
    };
    let demo = example("demo_server").into_os_string().into_string().expect("UTF-8");
    let (_demo, url) = start(&[demo]);
    let quickstart = root().join("examples/quickstart.c");
    let out = Program::new(compile(&quickstart, BUILDS[0])).arg(&url).run();
    out.assert_success();
    let expected = "line 1\nline 2\nline 3\nexit code: 3\nclosed: the connection was closed\n";
    assert_eq!(out.stdout, expected);

    let (_echo, url) = start(&misbehave(&["echo-loop"]));
    for case in ["calls", "forks", "closes"] {
        let program = fit_for_valgrind(c_program("transports"), case);
        program.arg(case).arg(&url).run().assert_success();
    }
}
