//! Processes by descriptor, which a stranger cannot take over as it can a pid.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{Fd, fill_standard};

/// A descriptor of the process `pid`.
pub fn open(pid: i32) -> io::Result<Fd> {
    fill_standard()?;
    // SAFETY: no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else knows; close-on-exec always.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    Ok(Fd::from(fd))
}

/// SIGKILL.
pub fn kill(process: &impl AsFd) -> io::Result<()> {
    let fd = process.as_fd().as_raw_fd();
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: no siginfo is given.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, info, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reap a child of ours that has ended. True when there is nothing to reap any
/// more; a process that is not ours counts as that.
pub fn reap(process: &impl AsFd) -> bool {
    // SAFETY: all zeroes is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG;
    let fd = process.as_fd().as_raw_fd() as libc::id_t;
    // SAFETY: writes one `siginfo_t`.
    let done = unsafe { libc::waitid(libc::P_PIDFD, fd, &raw mut info, flags) };
    // SAFETY: zeroed, or filled by waitid.
    done < 0 || unsafe { info.si_pid() } != 0
}

/// Whether orphans of this process's descendants become its children.
pub fn adopts_orphans() -> bool {
    let mut subreaper: libc::c_int = 0;
    // SAFETY: writes one int.
    let known = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut subreaper) } == 0;
    std::process::id() == 1 || (known && subreaper != 0)
}
