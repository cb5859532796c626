//! Descriptors that belong to the library.

use std::fs::OpenOptions;
use std::io::Result;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::fork;

/// A descriptor of the library: close-on-exec by its maker, and closed in a
/// forked copy of the host, where it would keep the peer's pipe open.
#[derive(Debug)]
pub struct Fd(ManuallyDrop<OwnedFd>);

impl Fd {
    /// Open a file to append to it, and make it if there is none, for its owner
    /// alone. Does not wait for the other end of a pipe, now or later.
    pub fn append(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        Ok(OwnedFd::from(options.open(path)?).into())
    }
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        fork::own(fd.as_raw_fd());
        Self(ManuallyDrop::new(fd))
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // Before the close: afterwards the number may be the host's. In a copy
        // it may be so already: destructors of its thread's locals run there.
        if fork::disown(self.0.as_raw_fd()) {
            // SAFETY: the one place that does it, and nobody uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Says of a descriptor that something else owns (a socket of the runtime) that
/// it is the library's, to be closed in forked copies. Must go before it does.
#[derive(Debug)]
pub struct Claim(RawFd);

impl Claim {
    /// Claim `fd`.
    pub fn new(fd: &impl AsRawFd) -> Self {
        fork::own(fd.as_raw_fd());
        Self(fd.as_raw_fd())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        fork::disown(self.0);
    }
}
