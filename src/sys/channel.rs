//! The control socket: whole messages, never waiting, with a descriptor along.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{Fd, fill_standard};

/// Two connected ends. The first never waits.
pub fn pair() -> io::Result<(Fd, Fd)> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: writes two ints.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fresh descriptors that nobody else knows.
    let [ours, theirs] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((Fd::from(ours), Fd::from(theirs)))
}

/// Send a message without SIGPIPE. A peer that is gone is no error.
pub fn send(socket: &impl AsFd, message: &[u8]) {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: reads the message.
    unsafe { libc::send(fd, message.as_ptr().cast(), message.len(), flags) };
}

/// Receive a message, and a descriptor if one came along. `Ok(0)` is the end,
/// `WouldBlock` that there is none now.
pub fn receive(socket: &impl AsFd, message: &mut [u8]) -> io::Result<(usize, Option<Fd>)> {
    // What the guard says must come in any case.
    let _ = fill_standard();
    let mut slice = libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: message.len() };
    let mut control = [0u64; 8];
    // SAFETY: `msghdr` is plain integers and pointers.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header describes memory that lives here.
    let n = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags) };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel filled the header.
    Ok((n, unsafe { passed(&header) }))
}

/// The beginning of the next message, which stays where it is; its length, or
/// 0 when there is none.
pub fn peek(socket: &impl AsFd, message: &mut [u8]) -> usize {
    let flags = libc::MSG_DONTWAIT | libc::MSG_PEEK;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: writes at most the buffer's length.
    let n = unsafe { libc::recv(fd, message.as_mut_ptr().cast(), message.len(), flags) };
    usize::try_from(n).unwrap_or(0)
}

/// The descriptor that came with a message.
///
/// # Safety
///
/// `recvmsg` has just filled `header`.
unsafe fn passed(header: &libc::msghdr) -> Option<Fd> {
    // SAFETY: the macros walk what the kernel wrote, and the kernel writes a
    // header and its data whole. The descriptor is ours since it was received.
    let fd = unsafe {
        let first = libc::CMSG_FIRSTHDR(header);
        if first.is_null()
            || (*first).cmsg_level != libc::SOL_SOCKET
            || (*first).cmsg_type != libc::SCM_RIGHTS
        {
            return None;
        }
        let data = libc::CMSG_DATA(first).cast::<RawFd>();
        OwnedFd::from_raw_fd(ptr::read_unaligned(data))
    };
    Some(Fd::from(fd))
}
