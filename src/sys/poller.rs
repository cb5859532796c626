//! A set of descriptors that is itself one: epoll(7), level-triggered and one
//! shot, so that interest can be taken back from any thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::Fd;

/// The set. Its own descriptor is readable while one of it is ready.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    /// The same descriptor, to be watched.
    fd: Arc<Fd>,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let fd = Arc::new(Fd::from(epoll.0.as_fd().try_clone_to_owned()?));
        Ok(Self { epoll, fd })
    }

    /// The descriptor of the set.
    pub fn descriptor(&self) -> Arc<Fd> {
        Arc::clone(&self.fd)
    }

    /// Add `fd` without interest. It must be removed before it is closed.
    pub fn add(&self, fd: &Fd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLONESHOT, token))?)
    }

    /// Report `token` once, when `fd` is readable.
    pub fn arm(&self, fd: &Fd, token: u64) -> io::Result<()> {
        let once = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(once, token))?)
    }

    /// Do not report `token`. The end of a stream may come through all the same.
    pub fn disarm(&self, fd: &Fd, token: u64) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(EpollFlags::EPOLLONESHOT, token))?)
    }

    /// Remove `fd`.
    pub fn remove(&self, fd: &Fd) {
        // It can only fail for a descriptor that is not in the set.
        let _ = self.epoll.delete(fd);
    }

    /// Give the tokens of what is ready now to `visit`, some at a time. Whether
    /// there may be more.
    pub fn take_ready(&self, mut visit: impl FnMut(u64)) -> bool {
        let mut events = [EpollEvent::empty(); 64];
        let found = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(found) => found,
            Err(Errno::EINTR) => return true,
            Err(_) => 0,
        };
        events[..found].iter().for_each(|event| visit(event.data()));
        found > 0
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}
