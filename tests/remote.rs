//! A server on another machine: ssh is the program that is launched. The other
//! machine is this one, by way of an OpenSSH server on loopback.
//!
//! What is printed with `--nocapture` is the table of docs/remote.md.

mod harness;
#[path = "remote/sshd.rs"]
mod sshd;

use std::process::Command;
use std::time::{Duration, Instant};

use harness::{
    BUILDS, Left, Mark, Program, SWEPT, Started, compile, example, free_port, misbehave, peer, root,
};
use leash::connection::{Connection, Event, Field, IntField, Kind, TextField};
use leash::error::{Code, Result};
use leash::options::Options;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sshd::{Sshd, far};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

/// What a server may do to stay: neither end-of-file nor SIGTERM ends it, and
/// then it has a daemon in a session of its own.
const STUBBORN: [&str; 4] =
    ["ignore-eof", "ignore-term", "sh:setsid sleep 300 >/dev/null 2>&1 &", "echo-loop"];

#[test]
fn the_quickstart_runs_a_command_over_there() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let mut servers = vec![vec![example("demo_server").to_str().unwrap().to_owned()]];
    let codex = peer("codex");
    servers.extend(codex.iter().map(|codex| {
        ["env".to_owned()].iter().chain(&codex.env).chain(&codex.argv).cloned().collect()
    }));
    for server in servers {
        let mark = Mark::new();
        let argv = sshd.ssh(&[], &far(&mark, &server));
        let quickstart = compile(&root().join("examples/quickstart.c"), BUILDS[0]);
        let out = Program::new(quickstart).args(argv).run();
        out.assert_success();
        let wanted = "line 1\nline 2\nline 3\nexit code: 3\nclosed: ";
        assert!(out.stdout.starts_with(wanted), "{}", out.stdout);
        assert!(out.stdout.contains("stage 0, killed 0, server's exit code 0\n"), "{}", out.stdout);
        out.assert_nothing_left();
        mark.assert_nothing_left(SWEPT);
    }
    row("closed", "CLOSED, the server's exit status", "end-of-file, and it ends");
}

// ---- The host is killed

/// Start a host in C that calls a server over ssh, kill it while it waits, and
/// see that nothing is left here. The mark is the far side's.
fn kill_a_host_of(sshd: &Sshd, server: &[String]) -> Mark {
    kill_a_host(sshd, server, str::to_owned)
}

/// The same with what else the far side's shell is told.
fn kill_a_host(sshd: &Sshd, server: &[String], told: impl Fn(&str) -> String) -> Mark {
    let mark = Mark::new();
    let mut host = Command::new(compile(&root().join("examples/hello.c"), BUILDS[0]));
    host.args(sshd.ssh(&[], &told(&far(&mark, server))));
    let mut host = Started::new(host);
    // It has no output yet, but its server runs, and is as stubborn as it will be.
    let is_stubborn = server.iter().any(|step| step == "ignore-eof");
    let runs = |command: &str| match is_stubborn {
        true => command.starts_with("sleep 300"),
        false => command.contains("misbehave"),
    };
    eventually("the server runs", || mark.carriers().iter().any(|one| runs(&one.command)));
    host.child.kill().unwrap();
    host.child.wait().unwrap();
    host.mark.assert_nothing_left(SWEPT);
    mark
}

#[test]
fn a_killed_host_leaves_nothing_on_either_side() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let mark = kill_a_host_of(&sshd, &misbehave(&["echo-loop"]));
    mark.assert_nothing_left(SWEPT);
    row("host killed", "nothing is left", "end-of-file, and it ends");
}

#[test]
fn what_ignores_the_end_of_a_line_stays_over_there() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let mark = kill_a_host_of(&sshd, &misbehave(&STUBBORN));
    // ssh is gone, and sshd has nobody to ask.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(mark.carriers().len(), 2, "{:?}", mark.carriers());
    row("host killed, stubborn server", "nothing is left", "it STAYS, with its daemon");
}

#[test]
fn a_shell_over_there_ends_the_servers_group() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let watch = |server: &str| format!("{{ cat; sleep 1; kill -KILL -- -$$; }} | {server}");
    let mark = kill_a_host(&sshd, &misbehave(&STUBBORN), watch);
    eventually("the group is killed", || mark.carriers().len() == 1);
    assert!(mark.carriers()[0].command.starts_with("sleep 300"), "{:?}", mark.carriers());
    row("the same under a shell's watch", "nothing is left", "SIGKILL; its daemon STAYS");
}

#[test]
fn a_leash_over_there_leaves_nothing_of_a_stubborn_server() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let leash_run = [example("leash_run").to_str().unwrap().to_owned()];
    let mark = kill_a_host_of(&sshd, &[&leash_run[..], &misbehave(&STUBBORN)].concat());
    mark.assert_nothing_left(SWEPT);
    row(
        "host killed, stubborn server under leash_run",
        "nothing is left",
        "SIGKILL after 4 s, and it is gone",
    );
}

// ---- The line

/// What ssh says of a connection that is gone: it depends on what it did then.
const LOST: [&str; 3] = [
    "Connection to 127.0.0.1 closed by remote host.",
    "client_loop: send disconnect: Broken pipe",
    "client_loop: send disconnect: Connection reset by peer",
];

/// A connection in which one call waits for an answer that will not come.
struct Waiting {
    connection: Connection,
    /// Of the server; ssh's command line has it, too.
    far: Mark,
}

impl Waiting {
    fn over(sshd: &Sshd, options: &[&str]) -> Self {
        let far_mark = Mark::new();
        let command = far(&far_mark, &misbehave(&["request", "reply:1", "request", "echo-loop"]));
        let connection = launch(&sshd.ssh(options, &command));
        assert_eq!(answer(&connection, SOON).unwrap(), "1");
        connection.submit("never", None, None, 7).unwrap();
        Self { connection, far: far_mark }
    }

    fn signal_ssh(&self, signal: Signal) {
        let pid = self.connection.int(Field::Pid).unwrap();
        kill(Pid::from_raw(pid as i32), signal).unwrap();
    }

    /// ssh ends, and so do the call and the connection; it says why on stderr.
    #[track_caller]
    fn ends_with(&self, last_words: &[&str]) {
        let (events, stderr) = story(&self.connection);
        let [open, response, closed] = &events[..] else { panic!("{events:?}") };
        assert_eq!(open, "open");
        assert_eq!(response, &format!("Response: the connection ended: {}", because(closed, 255)));
        assert!(stderr.len() == 1 && last_words.contains(&&*stderr[0]), "{stderr:?}");
    }
}

#[test]
fn a_line_that_is_cut_ends_the_connection() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let waiting = Waiting::over(&sshd, &[]);
    sshd.signal_sessions(Signal::SIGKILL);
    waiting.ends_with(&LOST);
    waiting.far.assert_nothing_left(SWEPT);
    row("sshd killed", "`\"ssh\" exited with status 255`", "end-of-file, and it ends");
}

#[test]
fn a_line_that_is_silent_ends_by_its_keepalive() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let alive = ["ServerAliveInterval=1", "ServerAliveCountMax=2"];
    let waiting = Waiting::over(&sshd, &alive);
    sshd.signal_sessions(Signal::SIGSTOP);
    waiting.ends_with(&["Timeout, server 127.0.0.1 not responding."]);
    assert!(!waiting.far.carriers().is_empty(), "sshd is stopped, and told it nothing");
    sshd.signal_sessions(Signal::SIGCONT);
    waiting.far.assert_nothing_left(SWEPT);
    row(
        "silence, with `ServerAliveInterval`",
        "`\"ssh\" exited with status 255`",
        "end-of-file when sshd hears of it",
    );
}

#[test]
fn a_closed_lid_is_noticed_over_there() {
    let alive = ["ClientAliveInterval 1", "ClientAliveCountMax 2"];
    let Some(sshd) = Sshd::start(&alive) else { return };
    let waiting = Waiting::over(&sshd, &[]);
    waiting.signal_ssh(Signal::SIGSTOP);
    // ssh and its guard carry the mark as an argument.
    let is_here =
        |one: &Left| one.command.starts_with("ssh ") || one.command.starts_with("leash-guard ");
    eventually("the server ends", || waiting.far.carriers().iter().all(is_here));
    waiting.signal_ssh(Signal::SIGCONT);
    waiting.ends_with(&LOST);
    waiting.far.assert_nothing_left(SWEPT);
    row(
        "lid closed for long, with `ClientAliveInterval`",
        "`\"ssh\" exited with status 255` when it opens",
        "end-of-file after that time, and it ends",
    );
}

#[test]
fn a_lid_that_opens_again_goes_on() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let waiting = Waiting::over(&sshd, &[]);
    waiting.signal_ssh(Signal::SIGSTOP);
    let failed = answer(&waiting.connection, Duration::from_millis(300)).unwrap_err();
    assert_eq!(failed.code(), Code::Timeout);
    waiting.signal_ssh(Signal::SIGCONT);
    assert_eq!(answer(&waiting.connection, SOON).unwrap(), "[1]");
    waiting.connection.close(Some(SOON)).unwrap();
    let (events, stderr) = story(&waiting.connection);
    let [open, noise, response, closed] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&**open, &**closed), ("open", "closed with 0: the connection was closed"));
    // The answer that came too late, and the call that never had one.
    assert!(noise.starts_with("Noise: {"), "{noise}");
    assert_eq!(response, "Response: the connection was closed");
    assert!(stderr.is_empty(), "{stderr:?}");
    waiting.far.assert_nothing_left(SWEPT);
    row(
        "lid closed and opened",
        "calls time out, then it goes on; late answers are NOISE",
        "waits",
    );
}

// ---- What cannot be reached

/// What ssh does anyway.
const USUAL: &str = "LogLevel=INFO";

#[test]
fn what_goes_wrong_is_told() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let no_port = format!("Port={}", free_port());
    let wrong = sshd.file("UserKnownHostsFile=", "wrong");
    let nobody = sshd.file("UserKnownHostsFile=", "nobody");
    let stranger = sshd.file("IdentityFile=", "stranger");
    let refused =
        format!("ssh: connect to host 127.0.0.1 port {}: Connection refused", &no_port[5..]);
    let verification = "Host key verification failed.";
    let changed = "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!";
    let unresolved = "ssh: Could not resolve hostname nobody.invalid: ";
    // What went wrong, an option, a command, the status, what stderr has and how it ends.
    let rows = [
        ("another host key", &*wrong, "true", 255, changed, verification),
        ("unknown host key", &nobody, "true", 255, "No ED25519 host key is known", verification),
        ("no key", &stranger, "true", 255, "127.0.0.1: Permission denied", " (publickey)."),
        ("nobody listens", &no_port, "true", 255, "", &refused),
        ("no such name", "HostName=nobody.invalid", "true", 255, unresolved, ""),
        ("no such command", USUAL, "exec sh -c 'exec no-such-server'", 127, "", ": not found"),
        ("the server fails", USUAL, "echo its last words >&2; exit 3", 3, "", "its last words"),
    ];
    for (what, option, command, status, words, last_words) in rows {
        let connection = launch(&sshd.ssh(&[option], command));
        let refused = answer(&connection, SOON).unwrap_err();
        let (events, stderr) = story(&connection);
        let [open, closed] = &events[..] else { panic!("{what}: {events:?}") };
        assert_eq!((&**open, refused.code()), ("open", Code::Closed), "{what}");
        // It "ended", or "has ended" before the call.
        let why = format!(" ended: {}", because(closed, status));
        assert!(refused.text().ends_with(&why), "{what}: {refused}");
        let last = stderr.last().cloned().unwrap_or_default();
        assert!(last.ends_with(last_words), "{what}: {stderr:?}");
        assert!(stderr.join("\n").contains(words), "{what}: {stderr:?}");
        row(what, &format!("status {status}; `{last}`"), "nothing runs");
    }
}

// ---- What else ssh does

#[test]
fn what_a_login_prints_is_noise() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let far_mark = Mark::new();
    let server = far(&far_mark, &misbehave(&["echo-loop"]));
    let connection = launch(&sshd.ssh(&[], &format!("echo Welcome; {server}")));
    assert_eq!(answer(&connection, SOON).unwrap(), "[1]");
    connection.close(Some(SOON)).unwrap();
    let wanted = ["open", "Noise: Welcome", "closed with 0: the connection was closed"];
    assert_eq!(story(&connection).0, wanted);
    far_mark.assert_nothing_left(SWEPT);
    row("the login prints something", "NOISE; calls go on", "nothing");
}

/// A terminal echoes: what we send comes back as if the peer had sent it.
#[test]
fn with_a_terminal_our_requests_come_back() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let far_mark = Mark::new();
    let server = far(&far_mark, &misbehave(&["sleep-forever"]));
    let connection = launch(&sshd.ssh(&["RequestTTY=force"], &server));
    connection.submit("ours", None, None, 7).unwrap();
    loop {
        let event = connection.poll(Some(SOON)).unwrap().expect("it comes soon");
        if event.kind() == Kind::Request {
            assert_eq!(text(&event, TextField::Method), "ours");
            break;
        }
        assert_ne!(event.kind(), Kind::Closed);
    }
    drop(connection);
    far_mark.assert_nothing_left(SWEPT);
    row("a terminal (`-t`)", "our own requests as REQUEST events", "SIGHUP");
}

#[test]
fn a_master_outlives_the_connections_that_share_it() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    // Not in the target folder: a socket's path has about 100 bytes.
    let socket = std::env::temp_dir().join(format!("leash-{}-ssh", std::process::id()));
    let path = format!("ControlPath={}", socket.display());
    let argv = sshd.ssh(&[&path, "ControlMaster=yes", "SessionType=none"], "");
    let mut master = Command::new(&argv[0]);
    master.args(&argv[1..argv.len() - 1]);
    let mut master = Started::new(master);
    eventually("the master listens", || socket.exists());

    let far_mark = Mark::new();
    let server = misbehave(&["echo-loop"]);
    let command = far(&far_mark, &server);
    let ways = [
        ("directly", server),
        ("by ssh", sshd.ssh(&[], &command)),
        ("by a master", sshd.ssh(&[&path, "ControlMaster=no"], &command)),
    ];
    for (name, argv) in ways {
        let (mut connects, mut calls) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let began = Instant::now();
            let connection = launch(&argv);
            assert_eq!(answer(&connection, SOON).unwrap(), "[1]");
            connects.push(began.elapsed());
            for _ in 0..100 {
                let began = Instant::now();
                assert_eq!(answer(&connection, SOON).unwrap(), "[1]");
                calls.push(began.elapsed());
            }
        }
        println!("{name}: first answer {:.1?}, call {:.0?}", median(connects), median(calls));
    }
    far_mark.assert_nothing_left(SWEPT);
    assert!(master.child.try_wait().unwrap().is_none(), "the master is gone");
    row("`ControlMaster`, started outside", "as alone, and the master stays", "as alone");
}

// ---- helpers

#[track_caller]
fn launch(argv: &[String]) -> Connection {
    let argv: Vec<_> = argv.iter().map(String::as_str).collect();
    Connection::launch(&argv, &Options::default(), Some(SOON)).unwrap()
}

/// The answer to a call with params `[1]`.
fn answer(connection: &Connection, limit: Duration) -> Result<String> {
    let event = connection.call("call", Some(b"[1]"), Some(limit))?;
    event.outcome()?;
    Ok(text(&event, TextField::Json))
}

fn text(event: &Event, field: TextField) -> String {
    let bytes = event.text(field).map(|text| text.bytes().to_vec());
    String::from_utf8(bytes.unwrap_or_default()).expect("UTF-8")
}

/// All events up to CLOSED in their order, and the lines of stderr in theirs:
/// they come by another pipe.
#[track_caller]
fn story(connection: &Connection) -> (Vec<String>, Vec<String>) {
    let (mut events, mut lines) = (Vec::new(), Vec::new());
    loop {
        let event = connection.poll(Some(SOON)).unwrap().expect("it ends soon");
        let said = text(&event, TextField::Text);
        match event.kind() {
            Kind::Stderr => lines.push(said),
            Kind::Open => events.push("open".to_owned()),
            Kind::Closed => {
                let status = event.int(IntField::ExitCode).unwrap_or_default();
                events.push(format!("closed with {status}: {said}"));
                return (events, lines);
            }
            kind => events.push(format!("{kind:?}: {said}")),
        }
    }
}

/// The reason in the story's end, which must be ssh's exit status. The end of
/// its stdout comes before, on a busy machine so long that it is the reason.
#[track_caller]
fn because(closed: &str, status: i64) -> &str {
    let why = closed
        .strip_prefix(&format!("closed with {status}: "))
        .unwrap_or_else(|| panic!("{closed}"));
    let exited = format!("\"ssh\" exited with status {status}");
    assert!(why == exited || why == "\"ssh\" closed its stdout", "{why}");
    why
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, here: &str, there: &str) {
    println!("| {what} | {here} | {there} |");
}
