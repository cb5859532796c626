//! LEASH_TRACE: what it tells, what it never tells, and that it harms nobody.

mod harness;

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use harness::{BUILDS, Program, c_program, compile, example, misbehave, root, scenario_of, work};

/// A path that nothing has.
fn fresh(name: &str) -> PathBuf {
    let path = work().join(format!("trace-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// The quickstart, with a trace in that file. Its limits are for people, and
/// too short for nine of it under valgrind.
fn quickstart(trace: &PathBuf) -> Program {
    let program = Program::new(compile(&root().join("examples/quickstart.c"), BUILDS[0]));
    program.env("LEASH_TRACE", trace).never_under_valgrind()
}

/// What the lines say, without whose and when; each begins with both.
#[track_caller]
fn lines(trace: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(trace).expect("a trace was written");
    let _ = fs::remove_file(trace);
    let said = |line: &str| {
        let (who, rest) = line.split_once(' ').expect("a space");
        assert!(who.ends_with(".1"), "not the first connection: {line}");
        let (time, text) = rest.trim_start().split_once(' ').expect("a space");
        assert!(time.parse::<f64>().is_ok(), "no time: {line}");
        text.to_owned()
    };
    text.lines().map(said).collect()
}

/// That these come in this order, with others in between.
#[track_caller]
fn assert_in_order(lines: &[String], beginnings: &[&str]) {
    let mut rest = lines.iter();
    for wanted in beginnings {
        let found = rest.any(|line| line.starts_with(wanted));
        assert!(found, "no {wanted:?} where it should be in\n{}", lines.join("\n"));
    }
}

#[test]
fn it_tells_the_life_of_a_connection() {
    let trace = fresh("life");
    quickstart(&trace).arg(example("demo_server")).run().assert_success();
    let mode = fs::metadata(&trace).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let lines = lines(&trace);
    assert_in_order(
        &lines,
        &[
            "libleash 0.1.0, to \"demo_server\", Unix time ",
            "open, pid ",
            "-> request initialize, id 1, 67 bytes",
            "<- answer, id 1, ",
            "-> notification initialized, 24 bytes",
            "-> request process/start, id 2, ",
            "<- answer, id 2, ",
            "<- notification process/closed, ",
            "closing: the connection was closed",
            "the guard is to end everything within 5s",
            "\"demo_server\" exited with status 0",
            "the guard is done: no signal was needed, killed 0, left 0",
            "closed",
        ],
    );
    let answer = lines.iter().find(|line| line.starts_with("<- answer, id 1")).unwrap();
    assert!(answer.contains(" bytes, after ") && answer.ends_with(" ms"), "{answer}");
}

#[test]
fn it_tells_requests_and_what_was_answered() {
    let trace = fresh("requests");
    let server = misbehave(&["ask:\"seven\":x", "ask:8:x", "ask:9:x", "ask:10:x", "ask:11:x"]);
    let program = c_program("events").env("LEASH_TRACE", &trace);
    scenario_of(program, "requests_are_answered_once", &server);
    assert_in_order(
        &lines(&trace),
        &[
            "<- request x, id \"seven\", ",
            "-> reply, id \"seven\", ",
            "<- request x, id 8, ",
            "-> reply, id 8, ",
            "-> refusal -9223372036854775808, id 9, ",
            "-> refusal -32601, id 10, ",
            "-> refusal -32603, id 11, ",
        ],
    );
}

#[test]
fn it_tells_a_server_that_had_to_be_killed() {
    let trace = fresh("killed");
    let server = misbehave(&["ignore-term", "recv", "error:-1:no", "never-read"]);
    let out = quickstart(&trace).args(server).run();
    assert_eq!(out.status.code(), Some(1));
    let lines = lines(&trace);
    let done = "the guard is done: SIGKILL was needed, killed 1, left 0";
    assert_in_order(&lines, &["<- error -1, id 1, ", "closing: ", done, "closed"]);
}

#[test]
fn it_holds_no_secret() {
    let trace = fresh("secrets");
    let reply = "reply:{\"payload\":\"s3cret-result\"}";
    let server = misbehave(&[
        "print:s3cret-noise",
        "stderr:s3cret-stderr",
        "recv",
        reply,
        "notify:tell:{\"x\":\"s3cret-params\"}",
        "recv:2",
        "error:-5:s3cret-message",
    ]);
    let program = quickstart(&trace).args(server).arg("s3cret-argument");
    program.env("TOKEN", "s3cret-variable").run();
    let text = fs::read_to_string(&trace).unwrap();
    assert!(text.contains("<- notification tell, "), "{text}");
    for told in ["<- noise, 12 bytes", "<- stderr, 13 bytes", "<- error -5, id 2, "] {
        assert!(text.contains(told), "no {told:?} in {text}");
    }
    assert!(!text.contains("s3cret") && !text.contains("line $i"), "{text}");
    let _ = fs::remove_file(trace);
}

#[cfg(feature = "websocket")]
#[test]
fn it_tells_of_a_websocket_and_names_no_path() {
    let trace = fresh("websocket");
    let (_server, url) = harness::misbehave_ws(&["upgrade", "request", "close:1001"]);
    let out = quickstart(&trace).arg(format!("{url}/s3cret?token=s3cret")).run();
    assert_eq!(out.status.code(), Some(1));
    let lines = lines(&trace);
    let to = format!("libleash 0.1.0, to {url}, ");
    let closing = format!("closing: the connection ended: {url} closed the connection: 1001");
    assert_in_order(&lines, &[&to, "open", "-> request initialize, id 1", &closing, "closed"]);
    assert!(!lines.concat().contains("s3cret"), "{}", lines.join("\n"));
}

#[test]
fn a_peers_names_stay_on_their_line() {
    let trace = fresh("names");
    let server = misbehave(&["recv", r#"send:{"method":"a\nclosed\u001b[2J"}"#, "error:-1:no"]);
    quickstart(&trace).args(server).run();
    assert_in_order(&lines(&trace), &["<- notification a\\nclosed\\u{1b}[2J, "]);
}

#[test]
fn without_it_nothing_is_written_and_two_runs_share_a_file() {
    let trace = fresh("shared");
    let program = compile(&root().join("examples/quickstart.c"), BUILDS[0]);
    Program::new(program).env("LEASH_TRACE", "").arg(example("demo_server")).run().assert_success();
    assert!(!trace.exists());
    for _ in 0..2 {
        quickstart(&trace).arg(example("demo_server")).run().assert_success();
    }
    let begun = lines(&trace).iter().filter(|line| line.starts_with("libleash ")).count();
    assert_eq!(begun, 2);
}

#[test]
fn a_file_that_cannot_be_written_harms_nobody() {
    let fifo = fresh("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for trace in ["/nonexistent/trace", "/", "/dev/full", fifo.to_str().unwrap()] {
        quickstart(&trace.into()).arg(example("demo_server")).run().assert_success();
    }
    let _ = fs::remove_file(fifo);
}

#[test]
fn a_reader_who_leaves_does_not_kill_the_host() {
    let fifo = fresh("reader");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut options = File::options();
    let reader = options.read(true).custom_flags(nix::libc::O_NONBLOCK).open(&fifo).unwrap();
    let host = std::thread::spawn({
        let program = quickstart(&fifo).arg(example("demo_server"));
        move || program.run()
    });
    // Until the first line is there; from then on every write meets EPIPE.
    let mut set =
        [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&reader), nix::poll::PollFlags::POLLIN)];
    while nix::poll::poll(&mut set, nix::poll::PollTimeout::from(30_000u16)).unwrap() == 0 {}
    drop(reader);
    host.join().unwrap().assert_success();
    let _ = fs::remove_file(fifo);
}
