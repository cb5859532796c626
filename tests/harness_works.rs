//! The harness itself: a test that cannot fail proves nothing.

use std::time::Duration;

mod harness;
use harness::{Mark, c_program, c_programs, example, misbehave, peer};

#[test]
fn a_program_runs_in_every_build() {
    let mut ran = 0;
    for program in c_programs("trivial") {
        let out = program.arg("hello").run();
        out.assert_success();
        assert_eq!(out.stdout, "2 hello\n");
        out.assert_nothing_left();
        ran += 1;
    }
    assert_eq!(ran, harness::builds().len());
}

#[test]
#[should_panic(expected = "did not end within")]
fn a_program_that_hangs_is_a_failure() {
    c_program("trivial").args(["", "sleep 60"]).timeout(Duration::from_millis(200)).run();
}

/// Leave that running, in a session of its own.
fn leaving(command: &str) -> String {
    format!("setsid {command} >/dev/null 2>&1 &")
}

#[test]
#[should_panic(expected = "1 left after")]
fn a_process_in_a_session_of_its_own_is_found() {
    let out = c_program("trivial").args(["", &leaving("sleep 60")]).run();
    out.assert_success();
    out.mark.assert_nothing_left(Duration::from_millis(300));
}

#[test]
#[should_panic(expected = "1 left after")]
fn a_process_without_environment_is_found_by_its_arguments() {
    let mark = Mark::new();
    let leave = format!("env -i tail -f /dev/null {}", mark.value());
    let out = c_program("trivial").args(["", &leaving(&leave)]).run();
    out.assert_success();
    mark.assert_nothing_left(Duration::from_millis(300));
}

#[test]
fn the_example_servers_are_built() {
    assert!(example("demo_server").exists());
    let argv = misbehave(&["exit:7"]);
    let status = std::process::Command::new(&argv[0]).args(&argv[1..]).status();
    assert_eq!(status.expect("it starts").code(), Some(7));
}

#[test]
fn a_real_server_has_a_command_line() {
    let Some(codex) = peer("codex") else { return };
    assert!(codex.argv[0].ends_with("bin/codex"));
    assert!(codex.env[0].starts_with("CODEX_HOME="));
    assert!(codex.folder.is_dir());
}
