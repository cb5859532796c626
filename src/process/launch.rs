//! A server is launched only under a guard; everything is prepared before.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use super::path::{candidates, value};
use super::report::Label;
use super::{Command, Pipes, Server, Stderr, reaper};
use crate::error::{Code, Error, Result};
use crate::sys::wire::{self, argument};
use crate::sys::{self, Fd, channel, fork, pidfd, pipe, spawn};

/// The variable by which a server's descendants are found when its guard was
/// killed.
const MARKER: &[u8] = b"LEASH_ID";

/// Start a guard that starts the server. Waits for the guard's exec, never for
/// the server's: how that went is the first [`Report`](super::Report).
pub fn launch(command: &Command) -> Result<(Server, Pipes)> {
    let label = Label::new(command);
    reaper::collect();
    let started = prepare(command).and_then(|(parts, pipes)| {
        start(command, &parts)?;
        Ok((parts, pipes))
    });
    let (parts, pipes) = started.map_err(|e| Error::os(Code::Connect, label.text(), &e))?;
    let mut server = Server::new(label, parts.marker, parts.control);
    // Where the guard could not be executed, it has said so by now.
    if let Some(error) = server.early_failure() {
        return Err(error);
    }
    Ok((server, pipes))
}

/// What the server and the guard get, and what we keep of it.
struct Parts {
    marker: CString,
    control: Fd,
    guard_control: Fd,
    stdio: [Fd; 3],
}

fn prepare(command: &Command) -> io::Result<(Parts, Pipes)> {
    fork::watch()?;
    sys::fill_standard()?;
    let inherited = match command.stderr {
        Stderr::Inherit => Some(pipe::stderr()?),
        Stderr::Discard => Some(pipe::null()?),
        Stderr::Pipe => None,
    };
    let (stdin, server_stdin) = pipe::to_server()?;
    let (stdout, server_stdout) = pipe::from_server()?;
    let (stderr, server_stderr) = match inherited {
        Some(fd) => (None, fd),
        None => pipe::from_server().map(|(ours, theirs)| (Some(ours), theirs))?,
    };
    let (control, guard_control) = channel::pair()?;
    let parts = Parts {
        marker: marker(),
        control,
        guard_control,
        stdio: [server_stdin, server_stdout, server_stderr],
    };
    let pipes = Pipes { stdin, stdout, stderr };
    Ok((parts, pipes))
}

fn start(command: &Command, parts: &Parts) -> io::Result<()> {
    // Without pidfds the guard opens one itself, or makes do with the socket.
    let host = pidfd::open(std::process::id() as i32).ok();
    let arguments = arguments(command, host.is_some());
    let argv: Vec<&CStr> = arguments.iter().chain(&command.argv).map(CString::as_c_str).collect();
    spawn::spawn(&spawn::Plan {
        argv: &argv,
        env: &environment(&command.env, &parts.marker),
        stdio: parts.stdio.each_ref().map(AsFd::as_fd),
        control: parts.guard_control.as_fd(),
        host: host.as_ref().map(AsFd::as_fd),
        announce: pidfd::adopts_orphans(),
    })
}

/// The guard's own arguments; the server's follow.
fn arguments(command: &Command, has_host: bool) -> Vec<CString> {
    let candidates =
        command.argv.first().map_or_else(Vec::new, |program| candidates(program, &command.env));
    let mut flags = 0;
    if has_host {
        flags |= wire::HAS_HOST;
    }
    if command.cwd.is_some() {
        flags |= wire::HAS_CWD;
    }
    let mut arguments = vec![CString::default(); argument::REST];
    arguments[0] = c"leash-guard".into();
    arguments[argument::FLAGS] = number(flags);
    arguments[argument::HOST] = number(std::process::id());
    arguments[argument::EXIT_AFTER] = number(milliseconds(command.exit_after));
    arguments[argument::KILL_AFTER] = number(milliseconds(command.kill_after));
    arguments[argument::CWD] = command.cwd.clone().unwrap_or_default();
    arguments[argument::CANDIDATES] = number(candidates.len());
    arguments.extend(candidates);
    arguments
}

fn number(value: impl ToString) -> CString {
    CString::new(value.to_string()).expect("digits hold no NUL")
}

/// In full, rounded up: a grace never ends early.
fn milliseconds(grace: Duration) -> u128 {
    grace.as_nanos().div_ceil(1_000_000)
}

/// `LEASH_ID=` and what nobody else has.
fn marker() -> CString {
    let name = sys::random_name();
    CString::new([MARKER, b"=", name.as_bytes()].concat()).expect("hexadecimal holds no NUL")
}

/// The server's environment: as given, but with our marker instead of the one
/// that the host itself may have from a leash of its own.
fn environment<'a>(given: &'a [CString], marker: &'a CStr) -> Vec<&'a CStr> {
    let ours = |entry: &&CStr| value(entry, MARKER).is_none();
    given.iter().map(CString::as_c_str).filter(ours).chain([marker]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inherited_marker_is_replaced() {
        let given = [c"A=1", c"LEASH_ID=old", c"LEASH_IDS=2"].map(CString::from);
        let expected = [c"A=1", c"LEASH_IDS=2", c"LEASH_ID=new"];
        assert_eq!(environment(&given, c"LEASH_ID=new"), expected);
    }

    #[test]
    fn no_marker_is_used_twice() {
        assert_ne!(marker(), marker());
    }

    #[test]
    fn a_grace_is_rounded_up() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(milliseconds(Duration::from_secs(2)), 2000);
    }
}
