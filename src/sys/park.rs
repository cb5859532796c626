//! Sleeping threads and how to wake them: eventfd(2), so that a sleeper is in
//! poll(2) and a signal handler ends its wait.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Fd;

/// A descriptor that is readable from [`Bell::ring`] until [`Bell::mute`].
/// All of it is async-signal-safe, and neither blocks.
#[derive(Debug)]
pub struct Bell(Fd);

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)?;
        Ok(Self(Fd::from(std::os::fd::OwnedFd::from(event))))
    }

    /// Make it readable.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes eight bytes that live on this stack. The one error
        // that can come, a full counter, still leaves it readable.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Make it unreadable.
    pub fn mute(&self) {
        let mut count = [0u8; 8];
        // SAFETY: reads eight bytes onto this stack. EAGAIN means silent.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

thread_local!(static OWN: OnceCell<Arc<Bell>> = const { OnceCell::new() });

/// The calling thread's own bell. It may ring for a wait that is over: who
/// wakes up must look again.
pub fn parker() -> io::Result<Arc<Bell>> {
    // A thread that is ending has lost its own; it gets one for this wait.
    let own = OWN.try_with(|own| match own.get() {
        Some(bell) => Ok(Arc::clone(bell)),
        None => Bell::new().map(|bell| Arc::clone(own.get_or_init(|| Arc::new(bell)))),
    });
    own.unwrap_or_else(|_| Bell::new().map(Arc::new))
}
