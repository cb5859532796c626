//! Executing the server: a session of its own, nothing inherited that it
//! should not have, and the errno when it cannot be.

use crate::sys::{self, Errno, Text, Vector};
use crate::wire::step;

/// What to execute, all of it in the guard's own argument block.
pub struct Program {
    pub cwd: Option<Text>,
    /// The first `candidates` are paths to try, the rest is the server's argv.
    pub rest: Vector,
    pub candidates: usize,
    pub envp: Vector,
}

/// A step that failed, and why.
pub type Failure = (i32, Errno);

/// Fork the server. The result is its pid, and a pipe that ends when it was
/// executed, or holds a [`Failure`]: a file system that hangs in exec does not
/// keep the guard from watching.
pub fn fork(program: &Program) -> Result<(i32, i32), Failure> {
    let guard = sys::getpid();
    let (errors, report) = sys::pipe().map_err(|errno| (step::PREPARE, errno))?;
    let pid = sys::fork().map_err(|errno| (step::FORK, errno))?;
    if pid == 0 {
        let (step, errno) = execute(program, guard, report);
        let mut failure = [0u8; 8];
        failure[..4].copy_from_slice(&step.to_ne_bytes());
        failure[4..].copy_from_slice(&errno.to_ne_bytes());
        // By now the pipe is at `REPORT`, unless that is what failed.
        sys::write(REPORT, &failure);
        sys::exit(127);
    }
    sys::close(report);
    Ok((pid, errors))
}

/// Where the server's process keeps the pipe, until exec closes it.
const REPORT: i32 = 3;

/// Become the server. Returns only when that fails.
fn execute(program: &Program, guard: i32, report: i32) -> Failure {
    sys::setsid();
    // Whoever kills the guard kills the server. If that happened before this
    // took effect, the parent is another one by now.
    sys::die_with_parent();
    if sys::getppid() != guard {
        sys::exit(127);
    }
    if let Err(errno) = sys::dup_cloexec(report, REPORT) {
        sys::exit(errno);
    }
    sys::close_from(REPORT + 1);
    if let Some(Err(errno)) = program.cwd.map(sys::chdir) {
        return (step::CWD, errno);
    }
    sys::unblock_signals();
    (step::EXEC, try_candidates(program))
}

/// As execvp(3): a candidate that is not there or may not be executed gives
/// way to the next, and permission is what is complained of in the end.
fn try_candidates(program: &Program) -> Errno {
    let argv = program.rest.skip(program.candidates);
    let mut complaint = sys::ENOENT;
    for index in 0..program.candidates {
        match sys::execve(program.rest.at(index), argv, program.envp) {
            sys::EACCES => complaint = sys::EACCES,
            sys::ENOENT | sys::ENOTDIR | sys::ESTALE | sys::ENODEV | sys::ETIMEDOUT
                if program.candidates > 1 => {}
            errno => return errno,
        }
    }
    complaint
}
