//! The examples do their jobs, with the servers that they are for.
//!
//! examples/hello.c and the quickstarts have tests of their own (quickstart.rs,
//! cpp.rs, and those of the Python package).

mod harness;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use harness::{
    Library, Output, Peer, Program, SWEPT, Started, free_port, library, misbehave, peer, root,
    wait_for_port, work,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

// ---- Programs ---------------------------------------------------------------

/// `examples/FILE`, compiled with the libraries that pkg-config knows by these
/// names; `None` when one of them is not installed.
#[track_caller]
fn compiled(file: &str, packages: &[(&str, &str)]) -> Option<Program> {
    static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let program = work().join(format!("example-{}", file.replace('.', "-")));
    if compiled.contains(&program) {
        return Some(Program::new(program));
    }
    let source = root().join("examples").join(file);
    let mut flags = Vec::new();
    for &(package, debian) in packages {
        let Some(of_package) = pkg_config(package) else {
            harness::skip(package, &format!("apt-get install pkg-config {debian}"));
            return None;
        };
        flags.extend(of_package);
    }
    let mut compiler = match source.extension().and_then(|ending| ending.to_str()) {
        Some("cpp") => command("CXX", "c++", &["-std=c++17", "-fPIC"]),
        _ => command("CC", "cc", &["-std=c99", "-D_POSIX_C_SOURCE=200809L"]),
    };
    compiler.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-pthread"]);
    for folder in ["include", "bindings/cpp"] {
        compiler.arg("-I").arg(root().join(folder));
    }
    compiler.arg(source).arg(library(Library::Shared)).args(flags);
    compiler.arg(format!("-Wl,-rpath,{}", work().display())).arg("-o").arg(&program);
    let out = compiler.output().expect("a compiler is installed");
    assert!(out.status.success(), "{compiler:?}\n{}", String::from_utf8_lossy(&out.stderr));
    compiled.insert(program.clone());
    Some(Program::new(program))
}

fn command(variable: &str, default: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os(variable).unwrap_or_else(|| default.into()));
    command.args(arguments);
    command
}

fn pkg_config(package: &str) -> Option<Vec<String>> {
    let out = Command::new("pkg-config").args(["--cflags", "--libs", package]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    // Warnings in foreign headers are not ours.
    let flags = text.split_whitespace().map(|flag| match flag.strip_prefix("-I") {
        Some(folder) => format!("-isystem{folder}"),
        None => flag.to_owned(),
    });
    out.status.success().then(|| flags.collect())
}

/// `examples/FILE` in Python, with the package as it lies in the sources.
fn python(file: &str) -> Program {
    let found = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("python3"))
        .find(|python| python.exists());
    Program::new(found.expect("python3 is installed"))
        .arg(root().join("examples").join(file))
        .env("PYTHONPATH", root().join("bindings/python/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LEASH_LIBRARY", library(Library::Shared))
        .never_under_valgrind()
}

/// Run it with a server's argv. It must leave nothing.
#[track_caller]
fn run(program: Program, server: &Peer) -> Output {
    let mut program = program.args(&server.argv);
    for variable in &server.env {
        let (name, value) = variable.split_once('=').expect("NAME=value");
        program = program.env(name, value);
    }
    let out = program.run();
    out.assert_nothing_left();
    out
}

#[track_caller]
fn assert_has(out: &Output, texts: &[&str]) {
    for text in texts {
        assert!(out.stdout.contains(text), "no {text:?} in\n{}\n{}", out.stdout, out.stderr);
    }
}

#[test]
fn each_is_short_enough_to_be_read() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()) {
        let ending = entry.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        // A load to measure, and not to learn from.
        let is_fleet = entry.file_stem().is_some_and(|name| name == "fleet");
        if ["c", "cpp", "py"].contains(&ending) && !is_fleet {
            let lines = fs::read_to_string(&entry).unwrap().lines().count();
            assert!(lines < 100, "{} has {lines} lines", entry.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "these are not the examples: {seen}");
}

#[test]
fn without_arguments_they_say_what_they_want() {
    let fleet = compiled("fleet.c", &[]).expect("it needs nothing else");
    for program in [fleet, python("fleet.py"), python("diagnostics.py")] {
        let out = program.run();
        assert_eq!((out.status.code(), &*out.stdout), (Some(64), ""), "{}", out.stderr);
        assert!(out.stderr.starts_with("usage: "), "{}", out.stderr);
    }
}

// ---- Jobs -------------------------------------------------------------------

#[test]
fn a_tool_is_called_and_its_question_answered() {
    let Some(program) = compiled("mcp_tool.cpp", &[]) else { return };
    let Some(server) = peer("mcp-server-everything") else { return };
    let program = program.args(["trigger-sampling-request", r#"{"prompt":"a joke"}"#]);
    let out = run(program, &server);
    out.assert_success();
    assert_has(
        &out,
        &["the server asks: sampling/createMessage ", "a joke", "result: {", "1, 2, 3"],
    );
}

#[test]
fn a_tool_call_of_bad_json_is_refused_before_it_is_sent() {
    let Some(program) = compiled("mcp_tool.cpp", &[]) else { return };
    let Some(server) = peer("mcp-server-everything") else { return };
    let out = run(program.args(["echo", "{"]), &server);
    assert_eq!(out.status.code(), Some(1));
    assert!(out.stderr.contains("params"), "{}", out.stderr);
}

#[test]
fn a_language_server_finds_what_is_wrong_with_a_file() {
    let Some(server) = peer("ruff") else { return };
    let file = server.folder.join("wrong.py");
    fs::write(&file, "import os\nx = 1\nif x == None:\n    pass\n").unwrap();
    let out = run(python("diagnostics.py").arg(&file).arg("python"), &server);
    assert_eq!(out.status.code(), Some(1), "{}\n{}", out.stdout, out.stderr);
    assert_has(&out, &["wrong.py:1:8: `os` imported but unused"]);

    fs::write(&file, "x = 1\n").unwrap();
    let out = run(python("diagnostics.py").arg(&file).arg("python"), &server);
    out.assert_success();
    assert_eq!(out.stdout, "");
}

#[test]
fn an_agent_is_met() {
    let Some(server) = peer("codex-acp") else { return };
    let out = run(python("acp_agent.py"), &server);
    out.assert_success();
    assert_has(
        &out,
        &["agent: codex-acp ", "protocol 1", "takes: text", "log in: ", "no session: "],
    );
}

#[test]
fn commands_run_at_once_in_asyncio() {
    let Some(server) = peer("codex") else { return };
    let out = run(python("asyncio_commands.py"), &server);
    out.assert_success();
    assert_has(&out, &["count: 3\n", "greet: good-bye\n", "fail: oops\n"]);
    assert_has(&out, &["exit codes: count 0 greet 0 fail 3\n"]);
}

#[test]
fn a_command_runs_in_a_glib_loop() {
    let Some(program) = compiled("glib.c", &[("glib-2.0", "libglib2.0-dev")]) else { return };
    let Some(server) = peer("codex") else { return };
    // GLib keeps some of its memory to the end, and valgrind asks about it.
    let out = run(program.never_under_valgrind(), &server);
    out.assert_success();
    assert_has(&out, &["process/output ", "process/exited {", "\"exitCode\":3"]);
    assert_has(&out, &["the connection was closed; the loop turned all the while: yes\n"]);
}

#[test]
fn fifty_calls_are_in_flight_in_a_libuv_loop() {
    let Some(program) = compiled("uv.c", &[("libuv", "libuv1-dev")]) else { return };
    let Some(server) = peer("deltachat-rpc-server") else { return };
    let out = run(program.args(["sleep", "[0.1]"]), &server);
    out.assert_success();
    for call in 1..=50 {
        assert_has(&out, &[&format!("call {call}: null\n")]);
    }
    let (_, ticks) = out.stdout.rsplit_once("answered 50, ticks ").expect("it says so last");
    assert!(ticks.trim().parse::<u32>().unwrap() > 1, "the loop stood still: {}", out.stdout);
}

#[test]
fn tools_are_listed_in_a_qt_loop() {
    let Some(program) = compiled("qt.cpp", &[("Qt5Core", "qtbase5-dev")]) else { return };
    let Some(server) = peer("mcp-server-everything") else { return };
    let out = run(program.never_under_valgrind(), &server);
    out.assert_success();
    assert_has(&out, &["echo: ", "get-sum: "]);
}

#[test]
fn a_loop_ends_when_the_server_cannot_be_started() {
    let Some(program) = compiled("glib.c", &[("glib-2.0", "libglib2.0-dev")]) else { return };
    let out = program.arg("/nonexistent/server").never_under_valgrind().run();
    assert_eq!(out.status.code(), Some(1));
    assert_has(&out, &["cannot start \"server\": No such file or directory"]);
}

// ---- A download -------------------------------------------------------------

#[test]
fn a_file_is_fetched_by_aria2_and_the_bar_moves() {
    let Some(program) = compiled("download.c", &[]) else { return };
    let Some(aria2) = peer("aria2c") else { return };
    let port = free_port();
    let mut command = Command::new(aria2.program());
    command.args(["--no-conf", "--enable-rpc", "--disable-ipv6", "--enable-dht=false", "--quiet"]);
    command.arg(format!("--rpc-listen-port={port}"));
    let _aria2 = Started::new(command);
    wait_for_port(port);

    let file = slow_file();
    let out = program
        .arg(format!("http://{file}/file"))
        .arg(&aria2.folder)
        .arg(format!("ws://127.0.0.1:{port}/jsonrpc"))
        .run();
    out.assert_success();
    assert!(out.stdout.ends_with("of 1000 KB\ndone\n"), "{}", out.stdout);
    let last = format!("\r[{}] 1000 of 1000 KB", "#".repeat(40));
    assert_has(&out, &["\r[", &last]);
    let drawn = out.stdout.split('\r').filter(|bar| !bar.contains(&last[1..])).count();
    assert!(drawn > 1, "the bar did not move: {}", out.stdout);
    let fetched = fs::metadata(aria2.folder.join("file")).unwrap();
    assert_eq!(fetched.len(), 1_000_000);
}

/// A web server that takes half a second over its one file of 1 MB. Where it
/// listens.
fn slow_file() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || drop(serve(client)));
        }
    });
    address
}

fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut request = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(client, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n")?;
    for _ in 0..10 {
        client.write_all(&[b'x'; 100_000])?;
        thread::sleep(Duration::from_millis(50));
    }
    client.shutdown(std::net::Shutdown::Write)?;
    client.read_to_end(&mut Vec::new()).map(drop)
}

// ---- A supervisor -----------------------------------------------------------

/// A supervisor that runs: what it says, line by line.
struct Supervisor {
    started: Started,
    lines: mpsc::Receiver<String>,
}

impl Supervisor {
    fn start(server: &[String]) -> Self {
        let program = compiled("supervisor.c", &[]).expect("it needs nothing");
        let mut command = Command::new(program.path());
        command.args(server).stdout(Stdio::piped());
        let mut started = Started::new(command);
        let out = BufReader::new(started.child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line).ok())
        });
        Self { started, lines }
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("it has something to say")
    }

    /// The number and pid of a server that it says it has started.
    #[track_caller]
    fn start_line(&self) -> (u32, i32) {
        let line = self.line();
        let words: Vec<_> = line.split([' ', ':', ',']).filter(|word| !word.is_empty()).collect();
        let ["server", number, "started", "pid", pid] = words[..] else {
            panic!("want a start, got {line:?}");
        };
        (number.parse().unwrap(), pid.parse().unwrap())
    }

    /// End it as Ctrl-C would, and see that nothing is left.
    #[track_caller]
    fn end(mut self) {
        let pid = i32::try_from(self.started.child.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
        let last = self.lines.iter().last();
        assert_eq!(last.as_deref(), Some("all have ended"));
        assert!(self.started.child.wait().unwrap().success());
        self.started.mark.assert_nothing_left(SWEPT);
    }
}

#[test]
fn the_supervisor_starts_again_what_dies() {
    let Some(server) = peer("deltachat-rpc-server") else { return };
    // Ten of them cannot share a folder of accounts: each makes its own.
    let script =
        format!("DC_ACCOUNTS_PATH={}/$$ exec {}", server.folder.display(), server.program());
    let argv = ["sh", "-c", &script].map(str::to_owned);
    let supervisor = Supervisor::start(&argv);
    let started: Vec<_> = (0..10).map(|_| supervisor.start_line()).collect();
    let (number, pid) = started[4];
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert_eq!(
        supervisor.line(),
        format!("server {number}: \"sh\" was killed by signal 9 (SIGKILL)")
    );
    let (again, other) = supervisor.start_line();
    assert_eq!(again, number);
    assert_ne!(other, pid);
    supervisor.end();
}

#[test]
fn the_supervisor_waits_longer_for_who_dies_often() {
    let supervisor = Supervisor::start(&misbehave(&["exit:3"]));
    let began = std::time::Instant::now();
    let mut starts = 0;
    while starts < 40 {
        starts += usize::from(supervisor.line().contains("started"));
    }
    // Four rounds of ten: after 100, 200 and 400 ms.
    assert!(began.elapsed() > Duration::from_millis(600), "it does not wait");
    supervisor.end();
}
