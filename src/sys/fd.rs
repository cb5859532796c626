//! Descriptors that belong to the library.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::fork;

/// A descriptor of the library: close-on-exec by its maker, and closed in a
/// forked copy of the host, where it would keep the peer's pipe open.
#[derive(Debug)]
pub struct Fd(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        fork::own(fd.as_raw_fd());
        Self(ManuallyDrop::new(fd))
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // In a forked copy the handler has closed it, and the number may be the
        // host's: a thread's own bell is dropped there when the thread ends.
        if fork::is_copy() {
            return;
        }
        // Before the close: afterwards the number may be the host's.
        fork::disown(self.0.as_raw_fd());
        // SAFETY: nothing uses it after this, which runs once.
        unsafe { ManuallyDrop::drop(&mut self.0) };
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
