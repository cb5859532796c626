//! Launching a server so that nothing of it can be left.
//!
//! The rest of the library does not know how a server is contained. It gets
//! three pipes, and a [`Server`] whose descriptor becomes readable when there
//! is a [`Report`].

//!
//! Linux only as yet. Another system needs another `launch` and `Server`, with
//! what it has instead of the guard: kqueue and process groups on macOS,
//! procctl(2) on FreeBSD, a job object on Windows.

mod launch;
mod path;
mod reaper;
mod report;
mod server;
mod sweep;

use std::ffi::CString;
use std::time::Duration;

use crate::error::Error;
use crate::sys::Fd;

pub use launch::launch;
pub use reaper::Adopted;
pub use server::Server;

/// What to launch.
pub struct Command {
    /// The program and its arguments; never empty.
    pub argv: Vec<CString>,
    /// The whole environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// The working directory; `None` is the host's.
    pub cwd: Option<CString>,
    /// What becomes of the server's stderr.
    pub stderr: Stderr,
    /// From the beginning of a teardown to SIGTERM.
    pub exit_after: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,
}

/// What becomes of the server's stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// It goes to `/dev/null`.
    Discard,
    /// It is a pipe of ours.
    Pipe,
    /// It is the host's.
    Inherit,
}

/// Our ends of the server's pipes; all non-blocking.
pub struct Pipes {
    /// What the server reads.
    pub stdin: Fd,
    /// What the server writes.
    pub stdout: Fd,
    /// `Some` exactly with [`Stderr::Pipe`].
    pub stderr: Option<Fd>,
}

/// How the server itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// How far a teardown had to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No process needed a signal.
    Exited,
    /// Some needed SIGTERM.
    Term,
    /// Some needed SIGKILL.
    Kill,
}

/// How a teardown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teardown {
    /// How the server ended; `None` when nobody can know (the guard was killed).
    pub exit: Option<Exit>,
    /// How far it had to go.
    pub stage: Stage,
    /// Processes that were alive when SIGKILL was sent.
    pub killed: u32,
    /// Processes that could not be killed.
    pub left: u32,
}

/// What a server's guard has to say.
#[derive(Debug)]
pub enum Report {
    /// The program was executed.
    Started {
        /// Of the server; also its process-group id.
        pid: i32,
    },
    /// It could not be executed, and why. Nothing runs. The last report.
    Failed(Error),
    /// The server itself ended; its descendants may live on.
    Exited(Exit),
    /// Everything has ended. The last report.
    Gone(Teardown),
    /// The guard was killed: call `Server::sweep` until it answers.
    Lost,
}

#[cfg(not(target_os = "linux"))]
compile_error!("libleash needs Linux as yet: `process` has no other way to contain a server");
