//! A set of descriptors that is itself one: epoll(7), level-triggered and one
//! shot, so that interest can be taken back from any thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;

use super::Fd;

/// The set. Its own descriptor is readable while one of it is ready.
#[derive(Debug)]
pub struct Poller(Arc<Fd>);

/// Report once, and then not before it is armed again.
const ONCE: u32 = libc::EPOLLONESHOT as u32;

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(fd)?;
        // SAFETY: a fresh descriptor that nobody else knows.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Arc::new(Fd::from(fd))))
    }

    /// The descriptor of the set.
    pub fn descriptor(&self) -> Arc<Fd> {
        Arc::clone(&self.0)
    }

    /// Add `fd` without interest. It must be removed before it is closed.
    pub fn add(&self, fd: &Fd, token: i64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, ONCE, token)
    }

    /// Report `token` once, when `fd` is readable.
    pub fn arm(&self, fd: &Fd, token: i64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, libc::EPOLLIN as u32 | ONCE, token)
    }

    /// Do not report `token`. The end of a stream may come through all the same.
    pub fn disarm(&self, fd: &Fd, token: i64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, ONCE, token)
    }

    /// Remove `fd`.
    pub fn remove(&self, fd: &Fd) {
        // It can only fail for a descriptor that is not in the set.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    fn control(&self, what: libc::c_int, fd: &Fd, events: u32, token: i64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token.cast_unsigned() };
        // SAFETY: both descriptors are open, and the event is read only.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_raw_fd(), &mut event) })
    }

    /// Give the tokens of what is ready now to `visit`, some at a time. Whether
    /// there may be more.
    pub fn take_ready(&self, mut visit: impl FnMut(i64)) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: the kernel writes at most as many events as there are.
        let found = unsafe {
            libc::epoll_pwait(self.0.as_raw_fd(), events.as_mut_ptr(), 64, 0, ptr::null())
        };
        let found = usize::try_from(found).unwrap_or(0);
        events[..found].iter().for_each(|event| visit(event.u64.cast_signed()));
        found > 0
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
