//! The Rust API, as a program sees it.

mod harness;

use std::os::fd::AsFd;
use std::time::Duration;

use harness::{Mark, SWEPT, example};
use leash::{CallError, Code, Connection, Event, Exit, Options, Outcome, Stage, Stderr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// More than a busy machine needs.
const LONG: Duration = Duration::from_secs(30);

/// A server that does these steps.
struct Server {
    connection: Connection,
    mark: Mark,
}

impl Server {
    fn new(steps: &[&str]) -> Self {
        let mark = Mark::new();
        let options = Options::new().env(Mark::NAME, mark.value()).unwrap();
        let program = example("misbehave").into_os_string().into_string().unwrap();
        let argv = [program.as_str()].into_iter().chain(steps.iter().copied());
        Self { connection: Connection::launch(argv, &options, LONG).unwrap(), mark }
    }

    #[track_caller]
    fn next(&self) -> Event {
        self.connection.poll(LONG).unwrap().expect("an event in time")
    }

    fn let_go(self) {
        drop(self.connection);
        self.mark.assert_nothing_left(SWEPT);
    }
}

#[track_caller]
fn code(outcome: &Outcome) -> Code {
    match outcome {
        Err(CallError::Failed(error)) => error.code(),
        other => panic!("it is no failure: {other:?}"),
    }
}

#[test]
fn a_call_gives_what_the_server_wrote() {
    let server = Server::new(&["echo-loop"]);
    let json = r#"{"a":1.10,"a":[],"é":"😀"}"#;
    assert_eq!(server.connection.call("echo", json, LONG).unwrap().as_str(), json);
    assert_eq!(server.connection.call("echo", None, None).unwrap().as_str(), "null");
    assert_eq!(code(&server.connection.call("echo", "no json", LONG)), Code::Invalid);
    server.let_go();
}

#[test]
fn a_refusal_is_told_from_a_silence() {
    let server = Server::new(&["recv", "error:-32001:not now", "never-read"]);
    let Err(CallError::Refused(refusal)) = server.connection.call("a", None, LONG) else {
        panic!("it was refused");
    };
    assert_eq!((refusal.code(), refusal.message()), (Some(-32001), "not now"));
    assert_eq!((refusal.data(), refusal.to_string().as_str()), (None, "not now"));
    let silence = server.connection.call("b", None, Duration::from_millis(1));
    assert_eq!(code(&silence), Code::Timeout);
    server.let_go();
}

#[test]
fn a_submitted_call_is_waited_for_polled_or_cancelled() {
    let server = Server::new(&["shuffle:2", "never-read"]);
    let connection = &server.connection;
    let [first, second] = ["[1]", "[2]"].map(|n| connection.submit("m", n, None).unwrap());
    assert_eq!(connection.wait(first, LONG).unwrap().expect("in time").unwrap().as_str(), "[1]");
    assert!(matches!(server.next(), Event::Open));
    assert!(matches!(server.next(), Event::Response(call, Ok(_)) if call == second));
    assert_eq!(connection.wait(first, LONG).unwrap_err().code(), Code::State);

    let third = connection.submit("m", None, LONG).unwrap();
    assert!(connection.wait(third, Duration::ZERO).unwrap().is_none());
    connection.cancel(third).unwrap();
    let Event::Response(call, outcome) = server.next() else { panic!("it has ended") };
    assert_eq!((call, code(&outcome)), (third, Code::Cancelled));
    assert_eq!(connection.submit("m", None, Duration::ZERO).unwrap_err().code(), Code::Invalid);
    server.let_go();
}

#[test]
fn a_request_is_answered_refused_or_dropped() {
    let steps = ["ask:1:first", "ask:\"x\":second", "ask:3:third"];
    let server = Server::new(&steps);
    assert!(matches!(server.next(), Event::Open));
    let mut answers = Vec::new();
    while answers.len() < 3 {
        match server.next() {
            Event::Request(request) => match request.method() {
                "first" => {
                    assert_eq!(request.reply("{").unwrap_err().code(), Code::Invalid);
                    request.reply("[true]").unwrap();
                    assert_eq!(request.reply("1").unwrap_err().code(), Code::State);
                }
                "second" => {
                    assert_eq!(request.id(), "\"x\"");
                    request.refuse(7, "never", "[1]").unwrap();
                }
                _ => drop(request),
            },
            Event::Notification(note) => {
                assert_eq!(note.method(), "reply");
                answers.push(note.params().unwrap().to_owned());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answers[0], r#"{"result":[true]}"#);
    for (answer, member) in [(1, r#""code":7"#), (1, r#""message":"never""#), (2, "-32603")] {
        assert!(answers[answer].contains(member), "{answers:?}");
    }
    server.let_go();
}

#[test]
fn what_could_not_be_started_at_once_is_the_last_event() {
    let argv = ["/nonexistent/server"];
    let connection = Connection::launch(argv, &Options::new(), Duration::ZERO).unwrap();
    let event = connection.poll(LONG).unwrap().expect("an event in time");
    let Event::Closed(closed) = event else { panic!("{event:?}") };
    let error = closed.error.unwrap();
    assert_eq!((error.code(), error.os_error()), (Code::Connect, libc::ENOENT));
    assert_eq!(error.text(), "cannot start \"server\": No such file or directory");
}

#[test]
fn events_end_with_how_the_server_ended() {
    let server = Server::new(&["stderr:why", "exit:3"]);
    let events: Vec<_> = server.connection.events().map(Result::unwrap).collect();
    let told =
        events.iter().any(|e| matches!(e, Event::Stderr { line, dropped: 0 } if line == "why"));
    let Some(Event::Closed(closed)) = events.last() else { panic!("{events:?}") };
    let teardown = closed.teardown.expect("it had a process");
    assert!(told, "{events:?}");
    assert_eq!(
        (teardown.exit, teardown.stage, teardown.left),
        (Some(Exit::Code(3)), Stage::Exited, 0)
    );
    assert_eq!(closed.error.as_ref().map(leash::Error::code), Some(Code::Closed));
    assert_eq!(server.connection.poll(LONG).unwrap_err().code(), Code::Closed);
    server.let_go();
}

#[test]
fn an_event_loop_is_told_by_the_descriptor() {
    let server = Server::new(&["recv", "notify:here"]);
    assert!(matches!(server.next(), Event::Open));
    server.connection.notify("go", None).unwrap();
    let mut watched = [PollFd::new(server.connection.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut watched, PollTimeout::from(30_000_u16)).unwrap(), 1);
    let event = server.connection.poll(Duration::ZERO).unwrap();
    assert!(matches!(event, Some(Event::Notification(note)) if note.method() == "here"));
    server.connection.wake();
    assert_eq!(server.connection.poll(LONG).unwrap_err().code(), Code::Interrupted);
    assert!(server.connection.pid().is_some());
    server.connection.close(LONG).unwrap();
    server.let_go();
}

#[test]
fn options_that_cannot_be_are_refused() {
    let second = Duration::from_secs(1);
    let good = Options::new().env("A", "b=c").unwrap().env_remove("HOME").unwrap();
    let good = good.cwd("/").unwrap().exit_after(second).unwrap().stderr(Stderr::Inherit);
    assert!(good.max_message(1 << 20).is_ok());
    for bad in [
        Options::new().env("A=", "b"),
        Options::new().env("", "b"),
        Options::new().env_remove("A=b"),
        Options::new().header("a b", "c"),
        Options::new().bearer("two words"),
        Options::new().max_message(0),
        Options::new().kill_after(Duration::MAX),
    ] {
        assert_eq!(bad.map(drop).unwrap_err().code(), Code::Invalid);
    }
    let unreachable = Connection::launch(["/nonexistent/server"], &Options::new(), LONG);
    let error = unreachable.map(drop).unwrap_err();
    assert_eq!((error.code(), error.os_error()), (Code::Connect, 2));
}

#[test]
fn what_is_shown_for_debugging_holds_no_payload() {
    let server = Server::new(&["notify:n:{\"k\":\"hunter2\"}", "echo-loop"]);
    let result = server.connection.call("echo", "[\"hunter2\"]", LONG);
    let shown = format!("{:?} {:?} {result:?}", server.next(), server.next());
    assert!(shown.contains("Notification") && !shown.contains("hunter2"), "{shown}");
    server.let_go();
}

#[test]
#[allow(unsafe_code, reason = "fork")]
fn a_forked_copy_is_told_and_leaves_the_server_alone() {
    let server = Server::new(&["echo-loop"]);
    // SAFETY: the copy uses the library, which answers without a lock, and the
    // allocator, which glibc keeps usable after fork; then it is replaced.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let outcome = server.connection.call("echo", None, LONG);
            let good = matches!(outcome, Err(CallError::Failed(e)) if e.code() == Code::Forked);
            drop(server.connection);
            // SAFETY: as above; nothing of the test runner runs at the exit.
            unsafe { nix::libc::_exit(i32::from(!good)) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    }
    assert_eq!(server.connection.call("echo", "[1]", LONG).unwrap().as_str(), "[1]");
    server.let_go();
}
