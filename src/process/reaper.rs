//! In a host that is PID 1 or a subreaper, a guard's zombie is ours to reap:
//! exactly that one, and never by waiting for anything else.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::{self, Fd, pidfd};

/// Guards that nobody waits for any more, and that could not be reaped yet.
static UNREAPED: Mutex<Vec<Arc<Fd>>> = Mutex::new(Vec::new());

/// How long a guard takes to end after its last word, unless somebody traces
/// it or it waits for processes that are slow to die.
const ENDING: Duration = Duration::from_millis(50);

/// A guard that becomes this process's zombie. Dropping it reaps it, at once or
/// with a later one.
pub struct Adopted(Arc<Fd>);

impl Adopted {
    /// `None` when it has ended and somebody else was faster.
    pub fn new(pid: i32) -> Option<Self> {
        pidfd::open(pid).ok().map(|fd| Self(Arc::new(fd)))
    }

    /// Readable when it has ended.
    pub fn descriptor(&self) -> Arc<Fd> {
        Arc::clone(&self.0)
    }

    /// Wait a moment for its end.
    pub fn wait(&self) {
        // Whatever ends the wait, the system call that reaps has the last word.
        let _ = sys::io::wait_readable([Some(self.0.as_fd())], Some(Instant::now() + ENDING));
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        unreaped().push(self.descriptor());
        collect();
    }
}

/// Reap what has ended since.
pub fn collect() {
    unreaped().retain(|guard| !pidfd::reap(guard));
}

fn unreaped() -> MutexGuard<'static, Vec<Arc<Fd>>> {
    UNREAPED.lock().unwrap_or_else(PoisonError::into_inner)
}
