//! Readiness of descriptors, told by the runtime.

use std::io;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Fd;

/// A descriptor that the runtime watches.
pub type Watched = AsyncFd<Arc<Fd>>;

/// Watch `fd` for `interest`. Needs the runtime's context.
pub fn watch(fd: Arc<Fd>, interest: Interest) -> io::Result<Watched> {
    // SAFETY: the descriptor stays open and keeps its number as long as the
    // `Arc` inside of the registration lives: nothing closes or changes an
    // `Fd` but its own drop.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// There is nothing more to read for now: let it be told anew when there is.
pub fn has_nothing_more(watched: &Watched) {
    let nothing = |_: &Arc<Fd>| -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) };
    let _ = watched.try_io(Interest::READABLE, nothing);
}
