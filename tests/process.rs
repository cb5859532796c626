//! What is left of a server: nothing. Servers are small shell scripts; who of
//! them is alive is read from /proc by a marker in the environment, not by name.

use std::ffi::CString;
use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use leash::process::{Command, Exit, Pipes, Report, Server, Stage, Stderr, Teardown, launch};
use leash::sys::io::{Woken, read_append, wait_readable, write_quietly};

/// Longer than anything here should ever take.
const SOON: Duration = Duration::from_secs(10);
/// What is "at once" even on a busy machine: no grace was sat out. The matrix
/// tells how long it really takes.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A grace that a test is not meant to use up.
const LONG: Duration = Duration::from_secs(60);
/// A grace that a test waits for.
const SHORT: Duration = Duration::from_millis(150);

// ---- fixtures

/// A marker that nobody else has, as an environment entry.
fn marker() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("LEASH_TEST={}-{count}", std::process::id())
}

/// The living processes that carry `marker`, the guard among them.
fn marked(marker: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let env = fs::read(entry.path().join("environ")).unwrap_or_default();
        if env.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Wait until `done`, which nothing announces.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        wait_readable([], Some(Instant::now() + Duration::from_millis(2))).unwrap();
    }
}

fn nothing_left(marker: &str) {
    eventually("survivors", || marked(marker).is_empty());
}

struct Leash {
    server: Server,
    pipes: Pipes,
    marker: String,
    started: Option<i32>,
}

fn strings(list: &[&str]) -> Vec<CString> {
    list.iter().map(|text| CString::new(*text).unwrap()).collect()
}

fn command(argv: &[&str], marker: &str) -> Command {
    Command {
        argv: strings(argv),
        env: strings(&["PATH=/bin:/usr/bin", marker]),
        cwd: None,
        stderr: Stderr::Discard,
        exit_after: LONG,
        kill_after: LONG,
    }
}

fn start(argv: &[&str], change: impl FnOnce(&mut Command)) -> Leash {
    let marker = marker();
    let mut command = command(argv, &marker);
    change(&mut command);
    let (server, pipes) = launch(&command).unwrap();
    let mut leash = Leash { server, pipes, marker, started: None };
    match leash.report() {
        Report::Started { pid } => leash.started = Some(pid),
        other => panic!("{other:?}"),
    }
    leash
}

fn shell(script: &str, change: impl FnOnce(&mut Command)) -> Leash {
    start(&["/bin/sh", "-c", script], change)
}

/// A script that says `ready` when it is set up.
fn ready(script: &str, change: impl FnOnce(&mut Command)) -> Leash {
    let mut leash = shell(script, change);
    assert_eq!(leash.line(), "ready");
    leash
}

/// For a server that dies of SIGKILL alone.
fn short(command: &mut Command) {
    command.exit_after = SHORT;
    command.kill_after = SHORT;
}

/// For one that dies of SIGTERM, however long that takes on a busy machine.
fn soon_terminated(command: &mut Command) {
    command.exit_after = SHORT;
}

fn next(server: &mut Server) -> Report {
    let deadline = Some(Instant::now() + SOON);
    loop {
        if let Some(report) = server.next_report() {
            return report;
        }
        let woken = wait_readable([Some(server.as_fd())], deadline).unwrap();
        assert_ne!(woken, Woken::Timeout, "no report");
    }
}

impl Leash {
    fn report(&mut self) -> Report {
        next(&mut self.server)
    }

    fn pid(&self) -> i32 {
        self.started.unwrap()
    }

    /// The next line of stdout.
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = Vec::with_capacity(1);
            let deadline = Some(Instant::now() + SOON);
            let woken = wait_readable([Some(self.pipes.stdout.as_fd())], deadline).unwrap();
            assert_ne!(woken, Woken::Timeout, "no line");
            assert_ne!(read_append(&self.pipes.stdout, &mut byte).unwrap(), 0, "end");
            line.append(&mut byte);
        }
        line.pop();
        String::from_utf8(line).unwrap()
    }

    fn gone(&mut self) -> Teardown {
        gone(&mut self.server)
    }

    /// Close stdin and the leash; nothing may be left.
    fn close(mut self) -> Teardown {
        drop(self.pipes.stdin);
        let teardown = end(&mut self.server);
        // The guard says its last word a moment before it ends.
        nothing_left(&self.marker);
        teardown
    }
}

fn end(server: &mut Server) -> Teardown {
    server.close();
    let teardown = gone(server);
    assert_eq!(teardown.left, 0);
    teardown
}

/// The last report, after any number of `Exited`.
fn gone(server: &mut Server) -> Teardown {
    loop {
        match next(server) {
            Report::Exited(_) => {}
            Report::Gone(teardown) => return teardown,
            other => panic!("{other:?}"),
        }
    }
}

// ---- an orderly end

#[test]
fn a_server_that_obeys_ends_at_once() {
    let mut leash = start(&["cat"], |_| {});
    assert_eq!(write_quietly(&leash.pipes.stdin, &[std::io::IoSlice::new(b"hello\n")]).unwrap(), 6);
    assert_eq!(leash.line(), "hello");
    let begin = Instant::now();
    let teardown = leash.close();
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    let expected = Teardown { exit: Some(Exit::Code(0)), stage: Stage::Exited, killed: 0, left: 0 };
    assert_eq!(teardown, expected);
}

#[test]
fn the_exit_of_the_server_is_told_once_and_before_the_end() {
    let mut leash = shell("exit 3", |_| {});
    assert!(matches!(leash.report(), Report::Exited(Exit::Code(3))));
    leash.server.close();
    assert!(matches!(
        leash.report(),
        Report::Gone(Teardown { exit: Some(Exit::Code(3)), stage: Stage::Exited, .. })
    ));
    assert!(leash.server.next_report().is_none());
    nothing_left(&leash.marker);
}

#[test]
fn a_server_that_ignores_end_of_file_gets_sigterm() {
    let leash = ready("echo ready; exec sleep 300", soon_terminated);
    let teardown = leash.close();
    assert_eq!(teardown.stage, Stage::Term);
    assert_eq!(teardown.exit, Some(Exit::Signal(libc::SIGTERM)));
    assert_eq!(teardown.killed, 0);
}

#[test]
fn a_server_that_ignores_sigterm_is_killed() {
    let leash = ready("trap '' TERM; echo ready; while :; do sleep 300; done", short);
    let begin = Instant::now();
    let teardown = leash.close();
    assert!(begin.elapsed() < 2 * SHORT + AT_ONCE, "{:?}", begin.elapsed());
    assert_eq!(teardown.stage, Stage::Kill);
    assert_eq!(teardown.exit, Some(Exit::Signal(libc::SIGKILL)));
    assert_eq!(teardown.killed, 2, "the shell and its sleep");
}

#[test]
fn a_kill_does_not_wait() {
    let mut leash = ready("trap '' TERM; echo ready; while :; do sleep 300; done", |_| {});
    let begin = Instant::now();
    leash.server.kill();
    assert_eq!(leash.gone().stage, Stage::Kill);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    nothing_left(&leash.marker);
}

#[test]
fn a_kill_cuts_a_close_short() {
    let mut leash = ready("trap '' TERM; echo ready; while :; do sleep 300; done", |_| {});
    leash.server.close();
    leash.server.kill();
    assert_eq!(leash.gone().stage, Stage::Kill);
    nothing_left(&leash.marker);
}

#[test]
fn dropping_the_leash_is_enough() {
    let leash = ready("trap '' TERM; echo ready; sleep 300 & wait", short);
    let marker = leash.marker.clone();
    drop(leash);
    nothing_left(&marker);
}

// ---- descendants that left the group

#[test]
fn what_a_server_leaves_behind_ends_soon_after_it() {
    let leash = ready("setsid sleep 300 & sleep 300 & echo ready; cat", |_| {});
    let begin = Instant::now();
    let teardown = leash.close();
    assert!(begin.elapsed() < 2 * AT_ONCE, "{:?}", begin.elapsed());
    assert_eq!(teardown.exit, Some(Exit::Code(0)));
    assert_eq!(teardown.stage, Stage::Term);
}

#[test]
fn a_grandchild_in_a_session_of_its_own_ends() {
    let script =
        "setsid sh -c 'trap \"\" TERM HUP; echo ready; while :; do sleep 300; done' & wait";
    let teardown = ready(script, short).close();
    assert_eq!(teardown.stage, Stage::Kill);
}

#[test]
fn a_double_forked_daemon_ends() {
    let script = "(setsid sh -c 'trap \"\" TERM; (sleep 300 &) ; echo ready; sleep 300' &); cat";
    let teardown = ready(script, short).close();
    assert_ne!(teardown.stage, Stage::Exited);
}

#[test]
fn a_launcher_that_exits_leaves_its_server_running() {
    let mut leash = ready("exec 3<&0; cat <&3 & echo ready; exit 0", |_| {});
    assert!(matches!(leash.report(), Report::Exited(Exit::Code(0))));
    write_quietly(&leash.pipes.stdin, &[std::io::IoSlice::new(b"still here\n")]).unwrap();
    assert_eq!(leash.line(), "still here");
    assert_eq!(leash.close().stage, Stage::Exited);
}

#[test]
fn a_server_that_replaces_what_is_killed_ends() {
    let script = "trap '' TERM; i=0; while [ $i -lt 20 ]; do
        setsid sh -c 'trap \"\" TERM; while :; do sh -c \"sleep 300\"; done' & i=$((i+1)); done
        echo ready; while :; do sh -c 'sleep 300'; done";
    let teardown = ready(script, short).close();
    assert_eq!(teardown.stage, Stage::Kill);
    assert!(teardown.killed >= 22, "{teardown:?}");
}

#[test]
fn a_tree_of_500_ends() {
    let script = "i=0; while [ $i -lt 50 ]; do
        setsid sh -c 'j=0; while [ $j -lt 9 ]; do sleep 300 & j=$((j+1)); done; wait' &
        i=$((i+1)); done; echo ready; exec sleep 300";
    let leash = ready(script, soon_terminated);
    eventually("the tree", || marked(&leash.marker).len() > 500);
    let teardown = leash.close();
    assert_eq!(teardown.stage, Stage::Term);
}

#[test]
fn a_stopped_server_ends() {
    let leash = ready("echo ready; kill -STOP $$; sleep 300", soon_terminated);
    let stat = format!("/proc/{}/stat", leash.pid());
    eventually("the stop", || fs::read_to_string(&stat).unwrap().contains(") T "));
    let teardown = leash.close();
    assert_eq!(teardown.exit, Some(Exit::Signal(libc::SIGTERM)));
}

#[test]
fn orphans_leave_no_zombies_beside_a_server_that_goes_on() {
    let mut leash =
        shell("i=0; while [ $i -lt 50 ]; do (: &) ; i=$((i+1)); done; echo ready; cat", |_| {});
    assert_eq!(leash.line(), "ready");
    let guard = parent(leash.pid());
    let children = format!("/proc/{guard}/task/{guard}/children");
    eventually("the orphans", || {
        fs::read_to_string(&children).unwrap().split_whitespace().count() == 1
    });
    leash.close();
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("PPid:")).unwrap();
    line[5..].trim().parse().unwrap()
}

// ---- what cannot be started

fn refused(argv: &[&str], change: impl FnOnce(&mut Command)) -> leash::error::Error {
    let marker = marker();
    let mut command = command(argv, &marker);
    change(&mut command);
    let error = match launch(&command) {
        Err(error) => error,
        Ok((mut server, _pipes)) => match next(&mut server) {
            Report::Failed(error) => error,
            other => panic!("{other:?}"),
        },
    };
    nothing_left(&marker);
    error
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = marker().replace('=', "-");
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0).unwrap();
        folder
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_program_that_does_not_exist() {
    let error = refused(&["no-such-program", "secret"], |_| {});
    assert_eq!(error.os_error(), libc::ENOENT);
    assert_eq!(error.text(), "cannot start \"no-such-program\": No such file or directory");
    let error = refused(&["/no/such/program"], |_| {});
    assert_eq!(error.text(), "cannot start \"program\": No such file or directory");
    assert_eq!(refused(&[""], |_| {}).os_error(), libc::ENOENT);
}

#[test]
fn a_program_that_may_not_be_executed() {
    let folder = Folder::new();
    let file = folder.file("x", "#!/bin/sh\n", 0o644);
    let error = refused(&[&file], |_| {});
    assert_eq!(error.os_error(), libc::EACCES);
    assert_eq!(error.text(), "cannot start \"x\": Permission denied");
    // Permission is complained of even if a later folder has nothing.
    let path = format!("PATH={}:/nowhere", folder.text());
    let error = refused(&["x"], |command| command.env = strings(&[&path]));
    assert_eq!(error.os_error(), libc::EACCES);
}

#[test]
fn a_file_that_is_no_program_is_not_given_to_a_shell() {
    let folder = Folder::new();
    let file = folder.file("x", "echo hello\n", 0o755);
    let error = refused(&[&file], |_| {});
    assert_eq!(error.os_error(), libc::ENOEXEC);
    assert_eq!(error.text(), "cannot start \"x\": Exec format error");
}

#[test]
fn a_working_directory_that_does_not_exist_has_its_own_sentence() {
    let error = refused(&["cat"], |command| command.cwd = Some(c"/no/where".into()));
    assert_eq!(error.os_error(), libc::ENOENT);
    assert_eq!(
        error.text(),
        "cannot start \"cat\": its working directory: No such file or directory"
    );
}

#[test]
fn arguments_that_are_too_long() {
    let long = "x".repeat(200_000);
    let error = refused(&["cat", &long], |_| {});
    assert_eq!(error.os_error(), libc::E2BIG);
    assert_eq!(error.text(), "cannot start \"cat\": Argument list too long");
}

#[test]
fn the_path_counts_from_the_working_directory() {
    let folder = Folder::new();
    folder.file("x", "#!/bin/sh\npwd -P; cat", 0o755);
    let there = fs::canonicalize(&folder.0).unwrap();
    for argv in ["x", "./x"] {
        let mut leash = start(&[argv], |command| {
            command.cwd = Some(CString::new(folder.text()).unwrap());
            command.env[0] = c"PATH=/nowhere::/bin".into();
        });
        assert_eq!(leash.line(), there.to_str().unwrap());
        leash.close();
    }
}

// ---- what the server gets

#[test]
fn a_server_inherits_nothing_that_it_should_not_have() {
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l; \
        ps -o sid= -o pgid= $$; echo $$; env | grep -c LEASH_ID; cat";
    // A descriptor of the host's that is not close-on-exec.
    let null = fs::File::open("/dev/null").unwrap();
    let _leaked = nix::unistd::dup(&null).unwrap();
    let mut leash = shell(script, |_| {});
    assert_eq!(leash.line(), "SigBlk:\t0000000000000000");
    assert_eq!(leash.line(), "SigIgn:\t0000000000000000");
    assert_eq!(leash.line(), "4", "0, 1, 2, and the folder that ls reads");
    let ids = leash.line();
    let pid = leash.line();
    assert_eq!(pid, leash.pid().to_string());
    assert!(ids.split_whitespace().all(|id| id == pid), "{ids} {pid}");
    assert_eq!(leash.line(), "1");
    leash.close();
}

#[test]
fn the_server_waits_on_its_stdio_but_the_host_does_not() {
    let mut leash = shell("sleep 0.05; read line; echo $line; cat", |_| {});
    let mut buffer = Vec::with_capacity(8);
    let early = read_append(&leash.pipes.stdout, &mut buffer).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    write_quietly(&leash.pipes.stdin, &[std::io::IoSlice::new(b"late\n")]).unwrap();
    assert_eq!(leash.line(), "late");
    leash.close();
}

#[test]
fn stderr_is_a_pipe_of_ours_if_asked_for() {
    let leash = shell("echo oops >&2; cat", |command| command.stderr = Stderr::Pipe);
    let stderr = leash.pipes.stderr.as_ref().unwrap();
    wait_readable([Some(stderr.as_fd())], Some(Instant::now() + SOON)).unwrap();
    let mut buffer = Vec::with_capacity(16);
    read_append(stderr, &mut buffer).unwrap();
    assert_eq!(buffer, b"oops\n");
    leash.close();
}

// ---- the host

#[test]
fn a_host_that_waits_for_any_child_meets_nobody() {
    run_host("wait", |_| {});
}

#[test]
fn a_host_that_ignores_sigchld_is_served() {
    run_host("ignore", |_| {});
}

#[test]
fn a_host_without_standard_descriptors_is_served() {
    run_host("closed", |_| {});
}

#[test]
fn a_host_that_is_a_subreaper_keeps_no_zombie() {
    run_host("subreaper", |_| {});
}

#[test]
fn a_host_that_is_killed_leaves_nothing() {
    run_host("killed", |status| {
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn a_host_that_is_killed_while_it_launches_leaves_nothing() {
    let marker = marker();
    for step in 0..40 {
        let mut host = host(
            std::process::Command::new(std::env::current_exe().unwrap()),
            "launching",
            &marker,
        );
        let mut host = host.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = host.stdout.take().unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"launching now\n") {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            text.extend(byte);
        }
        let moment = Duration::from_micros(100 * step);
        // Not for something to happen: to meet another moment of the launch.
        std::thread::sleep(moment);
        host.kill().unwrap();
        host.wait().unwrap();
    }
    nothing_left(&marker);
}

#[test]
fn a_host_that_is_pid_1_keeps_no_zombie() {
    run_contained("pid 1", ":");
}

#[test]
fn a_system_that_executes_no_nameless_files_is_served_all_the_same() {
    let before = helper_folders();
    run_contained("pid 1", "echo 2 >/proc/sys/vm/memfd_noexec");
    let left: Vec<_> = helper_folders().into_iter().filter(|one| !before.contains(one)).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn helper_folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let names =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("libleash-"));
    names.map(|entry| entry.path()).collect()
}

#[test]
fn without_proc_everything_ends_all_the_same() {
    // Twice: the namespace's own, and the one below it.
    run_contained("no proc", "umount -l /proc; umount -l /proc");
}

/// Run this test program again as a host that does `what`.
fn run_host(what: &str, check: impl FnOnce(std::process::ExitStatus)) {
    let host = std::process::Command::new(std::env::current_exe().unwrap());
    let (status, marker, log) = run(host, what);
    if what != "killed" {
        assert!(status.success(), "{status}: {log}");
    }
    check(status);
    nothing_left(&marker);
}

/// The same, as PID 1 of a namespace of its own that `prepare` has changed.
/// Only root may do that; for others this test says nothing.
fn run_contained(what: &str, prepare: &str) {
    let contained = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", script]);
        command
    };
    let possible = contained(prepare).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("not permitted here");
        return;
    }
    let mut host = contained(&format!("{prepare}; exec \"$0\" \"$@\""));
    host.arg(std::env::current_exe().unwrap());
    let (status, marker, log) = run(host, what);
    assert!(status.success(), "{status}: {log}");
    nothing_left(&marker);
}

/// `program`, which is this test program, as a host that does `what`.
fn host(mut program: std::process::Command, what: &str, marker: &str) -> std::process::Command {
    program
        .args(["--exact", "host_process", "--ignored", "--nocapture", "--test-threads=1"])
        .env("LEASH_HOST", what)
        .env("LEASH_HOST_MARKER", marker)
        .process_group(0)
        .stdin(Stdio::null());
    program
}

fn run(program: std::process::Command, what: &str) -> (std::process::ExitStatus, String, String) {
    let marker = marker();
    let log = Folder::new();
    let file = fs::File::create(log.0.join("log")).unwrap();
    let mut host = host(program, what, &marker);
    host.stdout(file.try_clone().unwrap()).stderr(file);
    let status = host.status().unwrap();
    let text = fs::read_to_string(log.0.join("log")).unwrap();
    (status, marker, text)
}

#[test]
#[ignore = "the host that other tests start"]
fn host_process() {
    let Ok(what) = std::env::var("LEASH_HOST") else {
        return;
    };
    let marker = std::env::var("LEASH_HOST_MARKER").unwrap();
    match what.as_str() {
        "wait" => wait_for_any(&marker),
        "ignore" => ignore_children(&marker),
        "closed" => close_standard(&marker),
        "subreaper" => {
            nix::sys::prctl::set_child_subreaper(true).unwrap();
            adopt(&marker);
        }
        "pid 1" => {
            assert_eq!(std::process::id(), 1);
            adopt(&marker);
        }
        "no proc" => go_without_proc(&marker),
        "killed" => die(&marker),
        "launching" => launch_for_ever(&marker),
        other => panic!("{other}"),
    }
}

fn hosted(script: &str, marker: &str, change: impl FnOnce(&mut Command)) -> Leash {
    let mut command = command(&["/bin/sh", "-c", script], marker);
    change(&mut command);
    let (server, pipes) = launch(&command).unwrap();
    let mut leash = Leash { server, pipes, marker: marker.to_owned(), started: None };
    match leash.report() {
        Report::Started { pid } => leash.started = Some(pid),
        other => panic!("{other:?}"),
    }
    leash
}

fn no_children() {
    use nix::sys::wait::{WaitPidFlag, waitpid};
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    assert_eq!(waitpid(None, Some(flags)), Err(nix::errno::Errno::ECHILD));
}

fn wait_for_any(marker: &str) {
    let leash = hosted("cat", marker, |_| {});
    no_children();
    leash.close();
    no_children();
}

fn ignore_children(marker: &str) {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    set_action(Signal::SIGCHLD, &ignore);
    let mut leash = hosted("sh -c 'exit 5'; echo $?; cat", marker, |_| {});
    assert_eq!(leash.line(), "5", "the server's own children are waited for");
    assert_eq!(leash.close().stage, Stage::Exited);
}

#[allow(unsafe_code, reason = "a disposition, not a handler")]
fn set_action(signal: nix::sys::signal::Signal, action: &nix::sys::signal::SigAction) {
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::sigaction(signal, action) }.unwrap();
}

fn close_standard(marker: &str) {
    for fd in 0..3 {
        nix::unistd::close(fd).unwrap();
    }
    for stderr in [Stderr::Inherit, Stderr::Pipe, Stderr::Discard] {
        let mut command =
            command(&["/bin/sh", "-c", "echo ok >&2; readlink /proc/self/fd/2; cat"], marker);
        command.stderr = stderr;
        let (server, pipes) = launch(&command).unwrap();
        assert!(pipes.stdin.as_raw_fd() > 2 && pipes.stdout.as_raw_fd() > 2);
        let mut leash = Leash { server, pipes, marker: marker.to_owned(), started: None };
        assert!(matches!(leash.report(), Report::Started { .. }));
        let target = leash.line();
        assert_eq!(target == "/dev/null", stderr != Stderr::Pipe, "{target}");
        leash.close();
    }
}

fn go_without_proc(marker: &str) {
    assert!(fs::metadata("/proc/self").is_err());
    assert_eq!(start_and_close("cat", marker, |_| {}).exit, Some(Exit::Code(0)));
    let stubborn = "trap '' TERM; sleep 300 & while :; do sleep 300; done";
    let teardown = start_and_close(stubborn, marker, short);
    assert_eq!(teardown.stage, Stage::Kill);
    assert_eq!(teardown.exit, Some(Exit::Signal(libc::SIGKILL)));
    let scattered =
        "(setsid sh -c 'trap \"\" TERM; sleep 300; sleep 300' &); setsid sleep 300 & cat";
    let teardown = start_and_close(scattered, marker, short);
    assert_eq!((teardown.stage, teardown.left), (Stage::Kill, 0), "{teardown:?}");
}

fn start_and_close(script: &str, marker: &str, change: impl FnOnce(&mut Command)) -> Teardown {
    let Leash { mut server, pipes, .. } = hosted(script, marker, change);
    drop(pipes.stdin);
    end(&mut server)
}

fn adopt(marker: &str) {
    for _ in 0..3 {
        hosted("cat", marker, |_| {}).close();
        no_children();
    }
    // One that is dropped in the middle is reaped later.
    drop(hosted("cat", marker, |_| {}));
    nothing_left(marker);
    hosted("cat", marker, |_| {}).close();
    no_children();
}

fn launch_for_ever(marker: &str) {
    let script = "trap '' TERM; setsid sleep 300 & while :; do sleep 300; done";
    let mut command = command(&["/bin/sh", "-c", script], marker);
    command.exit_after = SHORT;
    command.kill_after = SHORT;
    println!("launching now");
    let mut launched = Vec::new();
    loop {
        launched.push(launch(&command).unwrap());
    }
}

fn die(marker: &str) {
    let mut leash = hosted(
        "setsid sh -c 'trap \"\" TERM HUP; echo ready; sleep 300' & trap '' TERM; sleep 300",
        marker,
        short,
    );
    assert_eq!(leash.line(), "ready");
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL).unwrap();
}

// ---- the guard

#[test]
fn when_the_guard_is_killed_the_host_sweeps() {
    let mut leash = ready("setsid sleep 300 & (setsid sleep 300 &); echo ready; sleep 300", |_| {});
    let guard = nix::unistd::Pid::from_raw(parent(leash.pid()));
    nix::sys::signal::kill(guard, nix::sys::signal::SIGKILL).unwrap();
    assert!(matches!(leash.report(), Report::Lost));
    let mut swept = None;
    eventually("the sweep", || {
        swept = leash.server.sweep();
        swept.is_some()
    });
    let swept = swept.unwrap();
    assert_eq!(swept.exit, None);
    assert_eq!(swept.stage, Stage::Kill);
    assert!(swept.killed >= 2 && swept.left == 0, "{swept:?}");
    nothing_left(&leash.marker);
}

#[test]
fn the_guard_hears_no_signal_that_can_be_blocked() {
    let mut leash = ready("echo ready; cat", |_| {});
    let guard = nix::unistd::Pid::from_raw(parent(leash.pid()));
    use nix::sys::signal::Signal;
    for signal in
        [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGSEGV]
    {
        nix::sys::signal::kill(guard, signal).unwrap();
    }
    write_quietly(&leash.pipes.stdin, &[std::io::IoSlice::new(b"on\n")]).unwrap();
    assert_eq!(leash.line(), "on");
    assert_eq!(leash.close().stage, Stage::Exited);
}
