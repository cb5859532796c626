//! System calls, wrapped so that every wrapper is safe for any argument its
//! types allow. The one place that knows the operating system and the processor.

pub mod channel;
mod fd;
pub mod fork;
pub mod io;
pub mod park;
pub mod pidfd;
pub mod pipe;
pub mod poller;
#[cfg(feature = "websocket")]
pub mod socket;
pub mod spawn;
pub mod vectors;
#[path = "../guard/wire.rs"]
pub mod wire;

use std::fs::OpenOptions;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

mod watch;

pub use fd::{Claim, Fd};
pub use watch::{Watched, has_nothing_more, watch};

/// Run `work` and leave the calling thread's errno as it was: for what may run
/// in a signal handler.
pub fn keeping_errno<T>(work: impl FnOnce() -> T) -> T {
    let before = nix::errno::Errno::last_raw();
    let result = work();
    nix::errno::Errno::set_raw(before);
    result
}

/// Whether this program has more rights than whoever started it: then its
/// environment is not to be trusted (getauxval(3), AT_SECURE).
pub fn is_privileged() -> bool {
    // SAFETY: no memory.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Take those of the numbers 0, 1 and 2 that the host has left free, for good:
/// it may print to them all the same, and that must not go into something of
/// ours, or of the runtime's or the resolver's. Who makes a descriptor calls
/// this first.
///
/// To move a descriptor away would not do: the number is taken for a moment,
/// and closing it may close what another thread has just put there. So what is
/// opened here is the host's from now on. It sees `/dev/null`, and its children
/// see nothing.
pub fn fill_standard() -> Result<()> {
    // SAFETY: no memory.
    let is_free = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0;
    while (0..=2).any(is_free) {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        // Above them when another thread was faster.
        if null.as_raw_fd() <= 2 {
            let _ = null.into_raw_fd();
        }
    }
    Ok(())
}

/// The same file by another descriptor, with a number above 2.
fn high_copy(fd: &impl AsRawFd) -> Result<OwnedFd> {
    // SAFETY: no memory.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// 128 random bits as text, for names that nobody else has.
pub fn random_name() -> String {
    let mut bytes = [0u8; 16];
    // SAFETY: writes at most the buffer's length.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if filled != bytes.len() as isize {
        // No such call, or a seccomp filter: unique on this machine is enough.
        bytes = fallback_bits().to_ne_bytes();
    }
    format!("{:032x}", u128::from_ne_bytes(bytes))
}

fn fallback_bits() -> u128 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos());
    (u128::from(std::process::id()) << 96) ^ (u128::from(count) << 72) ^ time
}
