//! What a C host may get wrong.

mod harness;
use harness::{Mark, c_programs, misbehave, scenario, scenario_of, work};

#[track_caller]
fn run(name: &str, steps: &[&str]) {
    scenario("input", name, &misbehave(steps));
}

/// The scenario gets an empty folder instead of a server.
#[track_caller]
fn run_in_folder(name: &str) {
    let folder = work().join(Mark::new().value());
    std::fs::create_dir_all(&folder).unwrap();
    let folder = folder.canonicalize().unwrap();
    scenario("input", name, &[folder.to_str().unwrap().to_owned()]);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A forked copy has lost the stacks of the other threads: what only they knew
/// is a leak to valgrind.
#[track_caller]
fn run_and_fork(name: &str, steps: &[&str]) {
    for program in c_programs("input") {
        scenario_of(program.never_under_valgrind(), name, &misbehave(steps));
    }
}

#[test]
fn null_is_refused_everywhere() {
    run("null_is_refused_everywhere", &["ask:1:x"]);
}

#[test]
fn a_program_that_cannot_start_says_why() {
    run_in_folder("programs_that_cannot_start");
}

#[test]
fn cwd_path_and_environment_are_the_childs() {
    run_in_folder("cwd_and_path_are_the_childs");
}

#[test]
fn params_must_be_an_array_or_object() {
    run("params_must_be_an_array_or_object", &["echo-loop"]);
}

#[test]
fn deep_nesting_is_no_crash() {
    run("deep_nesting_is_no_crash", &["echo-loop"]);
}

#[test]
fn options_out_of_range_change_nothing() {
    run("options_out_of_range", &["echo-loop"]);
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    run("options_that_do_not_fit", &["echo-loop"]);
}

#[test]
fn after_close_everything_says_so() {
    run("after_close_all_is_over", &["recv"]);
}

#[test]
fn what_a_host_closed_is_not_executed() {
    run("what_a_host_closed_is_not_executed", &["recv"]);
}

#[test]
fn every_function_refuses_a_forked_copy() {
    run_and_fork("a_forked_copy_is_refused", &["ask:1:x", "echo-loop"]);
}

#[test]
fn a_forked_copy_keeps_no_server_alive() {
    run_and_fork("a_forked_copy_keeps_nothing_open", &["echo-loop"]);
}

#[test]
fn a_program_that_the_host_runs_inherits_nothing() {
    run_and_fork("an_exec_inherits_nothing", &["echo-loop"]);
}

#[test]
fn errors_tell_no_secret() {
    run("errors_tell_no_secret", &["recv", "stderr:hunter2", "exit:3"]);
}
