//! In a host that is PID 1 or a subreaper, a guard's zombie is ours to reap:
//! exactly that one, and never by waiting for anything else.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::{self, Fd, pidfd};

/// Guards that were still running when their `Server` was dropped.
static UNREAPED: Mutex<Vec<Fd>> = Mutex::new(Vec::new());

/// How long a guard takes to end after its last word, unless somebody traces
/// it or it waits for processes that are slow to die.
const ENDING: Duration = Duration::from_millis(50);

/// A guard that becomes this process's zombie.
pub struct Adopted(Option<Fd>);

impl Adopted {
    /// `None` when it has ended and somebody else was faster.
    pub fn new(pid: i32) -> Option<Self> {
        pidfd::open(pid).ok().map(|fd| Self(Some(fd)))
    }

    /// Wait a moment for its end, and reap it.
    pub fn reap(&mut self) {
        self.0.take_if(|guard| ended(guard.as_fd()));
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take().filter(|guard| !pidfd::reap(guard)) {
            let mut unreaped = UNREAPED.lock().unwrap_or_else(PoisonError::into_inner);
            unreaped.push(guard);
        }
        collect();
    }
}

fn ended(guard: BorrowedFd<'_>) -> bool {
    // A pidfd becomes readable when its process has ended. Whatever ends the
    // wait, the system call below has the last word.
    let _ = sys::io::wait_readable([Some(guard)], Some(Instant::now() + ENDING));
    pidfd::reap(&guard)
}

/// Reap what has ended since.
pub fn collect() {
    let mut unreaped = UNREAPED.lock().unwrap_or_else(PoisonError::into_inner);
    unreaped.retain(|guard| !pidfd::reap(guard));
}
