//! Run a server on a leash, and carry its bytes: for the far end of a line.
//!
//! ```text
//! ssh -T host leash_run SERVER [ARGUMENT...]
//! ```
//!
//! stdin and stdout go through as they are, stderr is the server's own. When
//! stdin ends (the line was cut, or the host let go), when the server closes its
//! stdout or fails, and when this program is killed, the server and all its
//! descendants are torn down as libleash does it: end-of-file, SIGTERM after 2 s,
//! SIGKILL 2 s later. docs/remote.md says when that is needed.
//!
//! The exit status is the server's; 128 + N if signal N ended it; 127 if it
//! could not be started.

use std::env;
use std::error::Error;
use std::ffi::{CString, NulError, OsString};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use leash::process::{self, Command, Exit, Pipes, Report, Server, Stderr};
use leash::sys::Fd;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() -> ExitCode {
    match run() {
        Ok(Exit::Code(code)) => ExitCode::from(code as u8),
        Ok(Exit::Signal(signal)) => ExitCode::from(128 + signal as u8),
        Err(error) => {
            eprintln!("leash_run: {error}");
            ExitCode::from(127)
        }
    }
}

fn run() -> Result<Exit, Box<dyn Error>> {
    let argv: Vec<_> = env::args_os().skip(1).map(text).collect::<Result<_, _>>()?;
    if argv.is_empty() {
        return Err("which server? leash_run SERVER [ARGUMENT...]".into());
    }
    let variable = |(name, value): (_, _)| text([name, value].join("=".as_ref()));
    let (mut server, Pipes { stdin, stdout, .. }) = process::launch(&Command {
        argv,
        env: env::vars_os().map(variable).collect::<Result<_, _>>()?,
        cwd: None,
        stderr: Stderr::Inherit,
        exit_after: Duration::from_secs(2),
        kill_after: Duration::from_secs(2),
    })?;

    let (ended, over) = io::pipe()?;
    let (requests, answers) = (blocking(stdin)?, blocking(stdout)?);
    carry(io::stdin().as_fd().try_clone_to_owned()?, requests, over.try_clone()?);
    let last_words = carry(answers, io::stdout().as_fd().try_clone_to_owned()?, over);
    let exit = watch(&mut server, ended)?;
    // Nobody has the pipe any more: what is in it is the rest.
    let _ = last_words.join();
    Ok(exit)
}

/// Copy to the end of either side, in a thread, and say so.
fn carry(from: OwnedFd, to: OwnedFd, mut over: PipeWriter) -> JoinHandle<()> {
    thread::spawn(move || {
        let _ = io::copy(&mut File::from(from), &mut File::from(to));
        let _ = over.write_all(b".");
    })
}

/// Tear down when one way has ended or the server has failed, and wait until
/// nothing is left.
fn watch(server: &mut Server, ended: PipeReader) -> Result<Exit, Box<dyn Error>> {
    let mut ended = Some(ended);
    let mut exit = Exit::Code(0);
    loop {
        let mut fds = vec![PollFd::new(server.as_fd(), PollFlags::POLLIN)];
        fds.extend(ended.as_ref().map(|ended| PollFd::new(ended.as_fd(), PollFlags::POLLIN)));
        poll(&mut fds, PollTimeout::NONE)?;
        if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) {
            ended = None;
            server.close();
        }
        match server.next_report() {
            Some(Report::Failed(error)) => return Err(error.into()),
            Some(Report::Exited(how)) => {
                exit = how;
                // A launcher may end well, and leave the work to others.
                if how != Exit::Code(0) {
                    server.close();
                }
            }
            Some(Report::Gone(_)) => return Ok(exit),
            Some(Report::Lost) => return Err("the guard was killed".into()),
            Some(Report::Started { .. }) | None => {}
        }
    }
}

fn text(text: OsString) -> Result<CString, NulError> {
    CString::new(text.into_vec())
}

/// The library's ends of pipes never wait; a thread of ours may.
fn blocking(fd: Fd) -> io::Result<OwnedFd> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::empty()))?;
    fd.as_fd().try_clone_to_owned()
}
