//! The three ways out of a server and into it.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::Fd;

/// A pipe that the server reads: our end, which never waits, and its end.
pub fn to_server() -> io::Result<(Fd, Fd)> {
    let (reading, writing) = pipe()?;
    Ok((ours(writing)?, reading.into()))
}

/// A pipe that the server writes: our end, which never waits, and its end.
pub fn from_server() -> io::Result<(Fd, Fd)> {
    let (reading, writing) = pipe()?;
    Ok((ours(reading)?, writing.into()))
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: writes two ints.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fresh descriptors that nobody else knows.
    let [reading, writing] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((reading, writing))
}

/// The flag belongs to one end of the pipe: the server's goes on to wait, as
/// programs expect of their stdio.
fn ours(end: OwnedFd) -> io::Result<Fd> {
    // SAFETY: no memory.
    if unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Fd::from(end))
}

/// The host's own stderr: `/dev/null` if it has none ([`super::fill_standard`]).
pub fn stderr() -> io::Result<Fd> {
    super::high_copy(&libc::STDERR_FILENO).map(Fd::from)
}

/// Where nothing arrives.
pub fn null() -> io::Result<Fd> {
    OpenOptions::new().write(true).open("/dev/null").map(|file| Fd::from(OwnedFd::from(file)))
}
