//! A TCP socket that any thread may read and write. Nothing here waits, and
//! nothing raises SIGPIPE.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::Fd;
use super::io::retry;

/// Send as much as there is room for.
pub fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: reads the bytes.
    retry(|| unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Receive what is there, as far as it fits. `Ok(0)` is the end of the stream,
/// if there was room.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: writes at most the buffer's length.
    retry(|| unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) })
}

/// Tell the peer that nothing more will be sent.
pub fn shut_down(socket: &impl AsFd) -> io::Result<()> {
    // SAFETY: no memory.
    match unsafe { libc::shutdown(socket.as_fd().as_raw_fd(), libc::SHUT_WR) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same socket by another descriptor, which is the library's.
pub fn copy(socket: &impl AsFd) -> io::Result<Fd> {
    // SAFETY: no memory.
    let copy = unsafe { libc::fcntl(socket.as_fd().as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else knows.
    Ok(Fd::from(unsafe { OwnedFd::from_raw_fd(copy) }))
}
