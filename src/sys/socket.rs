//! A TCP socket that any thread may read and write. Nothing here waits, and
//! nothing raises SIGPIPE.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::Fd;
use super::io::retry;

/// Send as much as there is room for.
pub fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the kernel reads `bytes`, which are borrowed, as is the descriptor.
    retry(|| unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Receive what is there, as far as it fits. `Ok(0)` is the end of the stream,
/// if there was room.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`, which is
    // borrowed mutably; the descriptor is borrowed, too.
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
    super::high_copy(&socket.as_fd()).map(Fd::from)
}
