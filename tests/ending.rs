//! How connections end, by themselves and by the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod harness;
use harness::{Mark, c_program, c_tool, is_watched, misbehave, scenario, scenario_of};

#[track_caller]
fn run(name: &str, steps: &[&str]) {
    scenario("ending", name, &misbehave(steps));
}

const LAST_WORDS: [&str; 3] = ["recv:2", "notify:last-words", "stderr:last words"];

#[test]
fn a_failing_exit_is_told_with_its_status() {
    run("exits_with_status_3", &[&LAST_WORDS[..], &["exit:3"]].concat());
}

#[test]
fn an_exit_that_closes_stdout_is_told_too() {
    run("exits_with_status_0", &[&LAST_WORDS[..], &["exit:0"]].concat());
}

#[test]
fn a_crash_is_told_with_its_signal() {
    run("dies_of_a_signal", &[&LAST_WORDS[..], &["abort"]].concat());
}

#[test]
fn a_closed_stdout_is_the_end() {
    run("closes_its_stdout", &[&LAST_WORDS[..], &["close-stdout"]].concat());
}

#[test]
fn a_closed_stdin_is_the_end() {
    run("closes_its_stdin", &["close-stdin", "notify:closed", "sleep-forever"]);
}

#[test]
fn a_crash_ends_it_though_a_helper_holds_stdout() {
    run("a_helper_holds_stdout", &["sh:setsid sleep 300 2>&1 &", "recv", "exit:3"]);
}

#[test]
fn a_server_outlives_its_launcher() {
    let server = misbehave(&["notify:up", "echo-loop"]);
    let quoted: Vec<_> = server.iter().map(|item| format!("'{item}'")).collect();
    let launch = format!("exec 3<&0; {} <&3 & exit 0", quoted.join(" "));
    let argv = ["sh".to_owned(), "-c".to_owned(), launch];
    scenario("ending", "a_launcher_leaves_the_server", &argv);
}

#[test]
fn a_server_that_ignores_eof_gets_sigterm() {
    run("needs_sigterm", &["ignore-eof", "notify:ready"]);
}

#[test]
fn a_server_that_ignores_sigterm_gets_sigkill() {
    run("needs_sigkill", &["ignore-eof", "ignore-term", "notify:ready"]);
}

/// The one case that is told, not hidden. It takes a root who can become nobody.
#[test]
fn a_server_that_became_another_user_is_told() {
    if fs::metadata("/proc/self").expect("Linux").uid() != 0 {
        return eprintln!("SKIPPED a server of another user: it takes root");
    }
    let folder = std::env::temp_dir().join(Mark::new().value());
    let server = folder.join("other");
    fs::create_dir(&folder).expect("a temporary folder");
    fs::copy(c_tool("other"), &server).expect("a folder of ours");
    for (path, mode) in [(&folder, 0o755), (&server, 0o4755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }
    let argv = server.to_str().expect("UTF-8");
    let program = c_program("ending").never_under_valgrind();
    let out = program.arg("a_server_of_another_user_is_told").arg(argv).run();
    let mut left = out.mark.carriers();
    // The guard goes as soon as it has seen its host's end.
    let deadline = Instant::now() + Duration::from_secs(20);
    while left.len() > 1 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        left = out.mark.carriers();
    }
    for one in &left {
        let _ = kill(Pid::from_raw(one.pid), Signal::SIGKILL);
    }
    let _ = fs::remove_dir_all(&folder);
    out.assert_success();
    if out.stdout == "same\n" {
        return eprintln!("SKIPPED a server of another user: {} has nosuid", folder.display());
    }
    let pids: Vec<_> = left.iter().map(|left| left.pid.to_string()).collect();
    assert_eq!(pids, [out.stdout.trim()]);
    out.assert_nothing_left();
}

#[test]
fn a_signal_handler_ends_connecting() {
    run("a_signal_ends_connecting", &["echo-loop"]);
}

#[cfg(feature = "websocket")]
#[test]
fn a_signal_handler_ends_dialling() {
    let (_server, url) = harness::misbehave_ws(&["stall"]);
    let program = c_program("ending").env("URL", url);
    scenario_of(program, "a_signal_ends_connecting", &[]);
}

#[test]
fn a_close_makes_all_threads_return() {
    run("a_close_makes_all_threads_return", &["recv:1000"]);
}

#[test]
fn free_alone_is_enough() {
    run("free_alone_is_enough", &["recv"]);
}

#[test]
fn what_was_sent_before_the_close_arrives() {
    let count = "sleep 0.1; wc -l >&2".to_owned();
    scenario("ending", "what_was_sent_arrives", &["sh".to_owned(), "-c".to_owned(), count]);
}

#[test]
fn a_guard_that_a_debugger_holds_is_reaped_in_the_end() {
    run_with_debugger("a_held_guard_is_reaped", &misbehave(&["echo-loop"]));
}

#[test]
fn a_helper_that_is_slow_to_die_is_told_in_time() {
    let helper = "sleep 300 >/dev/null 2>&1 &
        echo \"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"method\\\":\\\"helper\\\",\\\"params\\\":[$!]}\"
        cat >/dev/null";
    run_with_debugger("a_held_helper_is_told", &["sh", "-c", helper].map(str::to_owned));
}

#[track_caller]
fn run_with_debugger(name: &str, server: &[String]) {
    let out = scenario_of(c_program("ending").never_under_valgrind(), name, server);
    if out.stdout.contains("no debugger") {
        eprintln!("SKIPPED {name}: ptrace(2) is not permitted here");
    }
}

#[test]
fn a_thousand_connections_leave_no_thread_descriptor_or_child() {
    let cycles = if is_watched() { "50" } else { "1000" };
    let program = c_program("ending").env("CYCLES", cycles);
    let server = misbehave(&["echo-loop"]);
    scenario_of(program, "a_thousand_connections_leave_nothing", &server);
}
